"""What makes two model files the same: keys for the cache and full checksums.

The key is fast because it is asked whenever a ladder is loaded: the whole header and three samples of every tensor
(about 10 ms for a model of several gigabytes). Files up to 64 MiB are hashed whole. A full SHA-256 is kept beside its
file's modification time and size, so that it is computed once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

from backends.models.gguf_file import ModelFile

_SMALL = 64 << 20
_SAMPLE = 4096
_CHUNK = 1 << 20


def content_key(model: ModelFile) -> str:
    """Sixteen hexadecimal digits that change when the model's content does.

    Raises:
        OSError: a part cannot be read any more.
    """
    digest = hashlib.sha256(str(model.size).encode())
    if model.size <= _SMALL:
        for part in model.parts:
            digest.update(part.read_bytes())
        return digest.hexdigest()[:16]
    for part in model.parts:
        with part.open("rb") as file:
            digest.update(file.read(model.header.data_offset if part == model.path else _CHUNK))
            file.seek(-min(_CHUNK, part.stat().st_size), os.SEEK_END)
            digest.update(file.read(_CHUNK))
    with model.path.open("rb") as file:
        for tensor in model.tensors if len(model.parts) == 1 else ():
            for at in (0, tensor.bytes // 2, max(tensor.bytes - _SAMPLE, 0)):
                file.seek(tensor.offset + at)
                digest.update(file.read(_SAMPLE))
    return digest.hexdigest()[:16]


def folder_name(model: ModelFile, key: str) -> str:
    """A folder name for what is derived from a model: readable, safe on every file system, unique by content."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", model.path.stem).strip(".-")[:48] or "model"
    return f"{stem}-{key}"


def sha256(path: Path, memory: Path, progress: Callable[[float], None] | None = None) -> str:
    """The full SHA-256 of a file, remembered in the JSON file ``memory`` by path, modification time and size.

    A memory that cannot be read or written is ignored: it only saves time.

    Raises:
        OSError: the file cannot be read.
    """
    state = path.stat()
    entry = [state.st_mtime_ns, state.st_size]
    known = _load(memory)
    key = str(path.resolve())
    if known.get(key, [])[:2] == entry:
        return str(known[key][2])
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress(done / max(state.st_size, 1))
    known[key] = [*entry, digest.hexdigest()]
    _save(memory, known)
    return digest.hexdigest()


def _load(memory: Path) -> dict[str, list[object]]:
    try:
        found = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, list) and len(value) == 3}


def _save(memory: Path, known: dict[str, list[object]]) -> None:
    temporary = memory.with_name(f".{memory.name}.{os.getpid()}")
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(memory)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
