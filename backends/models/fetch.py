"""Fetching model files from the Hugging Face hub, or from a mirror named by ``HF_ENDPOINT``.

``huggingface_hub`` does the transfer (resumes where it was interrupted, waits when told to); this module adds what it
leaves out: the disk is checked before, the SHA-256 the hub announces is checked after, the file must be a usable GGUF
model, and every failure is one sentence. Nothing is sent but the requests themselves.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from backends.errors import FetchError, ModelFileError
from backends.models.catalogue import Target, pick
from backends.models.gguf_file import ModelFile, read_model
from backends.models.gguf_header import shown

Progress = Callable[[str, float], None]
"""Called with the file's name and the share done, 0..1."""

_DEFAULT_ENDPOINT = "https://huggingface.co"
_TIMEOUT_S = 20.0
_MARGIN = 256 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a repository."""

    name: str
    size: int
    sha256: str
    """Empty where the hub does not announce one."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A repository at one commit."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]

    def chosen(self, target: Target) -> tuple[RemoteFile, ...]:
        """The file, with all its parts, that a pull is asked for.

        Raises:
            FetchError: there is none; the text names what there is.
        """
        names = [file.name for file in self.files]
        wanted = _with_parts(names, target.file) if target.file else pick(names, target.quantization)
        found = tuple(file for file in self.files if file.name in wanted)
        if found:
            return found
        models = [name for name in names if name.lower().endswith(".gguf")]
        there = ", ".join(models[:6]) + (" …" if len(models) > 6 else "") if models else "no GGUF files at all"
        what = target.file or target.quantization or "model file"
        raise FetchError(f"{self.repo} has no {what!a}; it has {_safe(there)}")


def look_up(target: Target) -> Remote:
    """What the repository holds now.

    Raises:
        FetchError: it does not exist, is gated, or the hub cannot be reached.
    """
    with _plain_errors(target.repo):
        from huggingface_hub import HfApi

        info = HfApi(endpoint=endpoint()).model_info(target.repo, files_metadata=True, timeout=_TIMEOUT_S)
    files = []
    for sibling in info.siblings or []:
        large = sibling.lfs
        digest = str(large.sha256) if large is not None and _SHA256.fullmatch(str(large.sha256)) else ""
        files.append(RemoteFile(sibling.rfilename, int(sibling.size or 0), digest))
    return Remote(target.repo, info.sha or "main", tuple(files))


def fetch(remote: Remote, files: tuple[RemoteFile, ...], folder: Path, progress: Progress | None = None) -> ModelFile:
    """Fetch files into ``folder / owner / repo``, check them, and return the model.

    A file that is already there and whole is not fetched again; a part of one is continued.

    Raises:
        FetchError: the transfer failed, the disk is too small, or what came is not what was announced.
        ModelFileError: it came as announced but is not a model fovea can run.
    """
    place = folder.joinpath(*remote.repo.split("/"))
    _check_space(remote, files, place)
    paths = [_fetch_one(remote, file, place, progress) for file in files]
    return read_model(paths[0])


def endpoint() -> str:
    """The hub, or the mirror named by HF_ENDPOINT."""
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or _DEFAULT_ENDPOINT


def _with_parts(names: list[str], file: str) -> list[str]:
    match = re.fullmatch(r"(.+)-\d{5}-of-(\d{5})\.gguf", file)
    if match is None:
        return [file]
    own = re.compile(re.escape(match[1]) + r"-\d{5}-of-" + match[2] + r"\.gguf")
    return [name for name in names if own.fullmatch(name)]


def _check_space(remote: Remote, files: tuple[RemoteFile, ...], place: Path) -> None:
    missing = sum(file.size for file in files if not _is_there(place / file.name, file))
    partial = sum(path.stat().st_size for path in (place / ".cache").rglob("*.incomplete")) if place.is_dir() else 0
    needed = max(missing - partial, 0)
    at = next(parent for parent in (place, *place.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(at).free
    if needed and free < needed + _MARGIN:
        raise FetchError(
            f"{remote.repo} needs {needed / 1e9:.2f} GB in {shown(place)}, where {free / 1e9:.2f} GB are free; "
            "free some space or name another folder"
        )


def _is_there(path: Path, file: RemoteFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size


def _fetch_one(remote: Remote, file: RemoteFile, place: Path, progress: Progress | None) -> Path:
    with _plain_errors(f"{remote.repo}/{file.name}"):
        from huggingface_hub import hf_hub_download

        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        path = Path(
            hf_hub_download(
                remote.repo,
                file.name,
                revision=remote.commit,
                local_dir=place,
                endpoint=endpoint(),
                etag_timeout=_TIMEOUT_S,
                tqdm_class=_bar(file, progress),
            )
        )
        _verify(path, file, place)
    if progress:
        progress(file.name, 1.0)
    return path


def _verify(path: Path, file: RemoteFile, place: Path) -> None:
    """Compare with what the hub announced; what differs is deleted, so that the next pull starts anew."""
    size = path.stat().st_size
    wrong = f"{size:,} bytes came where {file.size:,} were announced" if file.size and size != file.size else ""
    if not wrong and file.sha256:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        wrong = "" if digest == file.sha256 else "its SHA-256 is not the one announced"
    if not wrong:
        return
    path.unlink(missing_ok=True)
    record = place / ".cache" / "huggingface" / "download" / f"{file.name}.metadata"
    record.unlink(missing_ok=True)
    raise FetchError(f"{_safe(file.name)} came damaged: {wrong}. It was deleted; fetch it again")


def _bar(file: RemoteFile, progress: Progress | None) -> Any:
    """A tqdm class that draws nothing and passes the progress on."""
    base: Any = import_module("tqdm").tqdm

    def start(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("name", None)
        base.__init__(self, *args, **(kwargs | {"file": io.StringIO(), "disable": False, "total": file.size or None}))

    def update(self: Any, n: float | None = 1) -> Any:
        drawn = base.update(self, n)
        if progress and self.total:
            progress(file.name, min(self.n / self.total, 1.0))
        return drawn

    # Made by hand: the package has no types to inherit from.
    return type("Watch", (base,), {"__init__": start, "update": update})


@contextmanager
def _plain_errors(what: str) -> Iterator[None]:
    """Every way a transfer can fail, as one sentence."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub.errors as hub

    name = _safe(what)
    try:
        yield
    except hub.GatedRepoError as error:
        raise FetchError(
            f"{name} is gated: accept its licence on {endpoint()} and give your token in HF_TOKEN"
        ) from error
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError, hub.EntryNotFoundError) as error:
        if not isinstance(error, hub.LocalEntryNotFoundError):
            raise FetchError(f"{name} does not exist on {endpoint()} (or is private)") from error
        raise FetchError(_unreachable(name, error)) from error
    except hub.HfHubHTTPError as error:
        code = error.response.status_code
        said = "asks to wait (too many requests); try again later" if code == 429 else f"answered with error {code}"
        raise FetchError(f"{name} was not fetched: {endpoint()} {said}. What has come is kept") from error
    except (FetchError, ModelFileError):
        raise
    except OSError as error:
        if error.errno is not None and error.filename:
            raise FetchError(f"{shown(Path(error.filename))} cannot be written: {error.strerror}") from error
        raise FetchError(_unreachable(name, error)) from error
    except Exception as error:
        # The transport library's own errors (httpx) share no base with anything above.
        logging.getLogger(__name__).info("fetching %s failed", name, exc_info=True)
        raise FetchError(_unreachable(name, error)) from error


def _unreachable(name: str, error: BaseException) -> str:
    said = _safe(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)[:160]
    return f"{name} was not fetched from {endpoint()}: {said}. What has come is kept; the next pull continues"


def _safe(text: str) -> str:
    return text if text.isprintable() else ascii(text)
