"""Which files a person means by a path, a folder or a glob; and how a path becomes the name of a document.

A folder is walked without following links, without what its ``.gitignore`` files exclude, without hidden entries and
the usual folders of tools. A file named directly is taken whatever its name.
"""

from __future__ import annotations

import glob
import os
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from memory.errors import IngestError
from memory.formats.detect import wanted

_TOOL_FOLDERS = frozenset(
    ("node_modules", "__pycache__", "site-packages", "dist-packages", "target", "venv", "bower_components")
)
_BYTES = "bytes:"
_IGNORE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A file to add; ``root`` is the folder it was found under, empty for a file named by itself."""

    path: Path
    root: str = ""
    private: bool = False
    """Never to be recalled, whatever was recorded of it before."""


@dataclass(slots=True)
class Selection:
    """What the given sources stand for."""

    files: list[Found] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """Sources and folders that could not be read: name and reason."""


def uri_of(path: Path) -> str:
    """Return the document name of a path: the absolute path itself, or its escaped bytes where it is not UTF-8."""
    raw = os.fsencode(path)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return _BYTES + urllib.parse.quote_from_bytes(raw)


def path_of(uri: str) -> Path:
    """Return the path of a document name; the inverse of ``uri_of``."""
    if uri.startswith(_BYTES):
        return Path(os.fsdecode(urllib.parse.unquote_to_bytes(uri[len(_BYTES) :])))
    return Path(uri)


def place_of(target: str) -> Path:
    """Return the absolute path of a folder or file, however it was named: by its path or as a document is named."""
    path = path_of(target) if target.startswith(_BYTES) else _at_home(target)
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # links that lead in a circle, or no path at all
        return path.absolute()


def is_folder(path: Path) -> bool:
    """Whether a folder is there; False also where its disk does not answer."""
    try:
        return path.is_dir()
    except OSError:
        return False


def refuse_empty(names: Sequence[str | Path]) -> None:
    """Refuse a name that is empty: as a path it would be the current folder, which nobody meant.

    Raises:
        IngestError: One of the names is the empty text.
    """
    if any(str(name) == "" for name in names):
        raise IngestError("One of the names given is empty. Nothing was done; `.` is the current folder.")


def select(sources: Sequence[str | Path]) -> Selection:
    """Expand files, folders and globs; every file once, in a stable order.

    Raises:
        IngestError: No source was given, or an empty one.
    """
    if not sources:
        raise IngestError("Name at least one file, folder or pattern to add.")
    refuse_empty(sources)
    chosen = Selection()
    seen: set[Path] = set()
    for source in sources:
        for path, from_pattern in _expanded(str(source), chosen):
            if is_folder(path):
                root = path.resolve()
                chosen.roots.append(root)
                found = [Found(file, uri_of(root)) for file in walk(root, chosen.problems)]
            elif from_pattern and not wanted(path.name):
                continue
            else:
                found = [Found(place_of(str(path)))]
            for item in found:
                if item.path not in seen:
                    seen.add(item.path)
                    chosen.files.append(item)
    return chosen


def _expanded(source: str, chosen: Selection) -> list[tuple[Path, bool]]:
    path = _at_home(source)
    if os.path.lexists(path):
        return [(path, False)]
    if glob.has_magic(source):
        matches = sorted(_globbed(str(_at_home(source))))
        if matches:
            return [(Path(match), True) for match in matches]
    chosen.problems.append((source, "no such file or folder"))
    return []


def _globbed(pattern: str) -> set[str]:
    """Expand a pattern; ``**`` does not follow links: a few that lead in a circle would be followed for ever."""
    parts = pattern.split("/")
    if "**" not in parts:
        return set(glob.glob(pattern))  # noqa: PTH207 (absolute patterns)
    at = parts.index("**")
    tail = "".join(f"/{part}" for part in parts[at + 1 :])
    out: set[str] = set()
    for start in glob.glob("/".join(parts[:at]) or ("/" if at else ".")):  # noqa: PTH207
        for folder in _folders_below(start):
            out |= _globbed(glob.escape(folder) + tail)
    return out


def _folders_below(start: str) -> Iterator[str]:
    """A folder and, without hidden ones and links, all those below it."""
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        yield folder
        try:
            with os.scandir(folder) as listing:
                waiting += [
                    one.path for one in listing if not one.name.startswith(".") and one.is_dir(follow_symlinks=False)
                ]
        except OSError:
            continue  # the walk over what was matched reports what cannot be read


def _at_home(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError:  # "~someone" without such a person: then it is a name like any other
        return Path(source)


def walk(root: Path, problems: list[tuple[str, str]]) -> Iterator[Path]:
    """Yield the files of a folder that are worth opening, sorted, outer folders first."""
    waiting: list[tuple[Path, list[tuple[Path, _Spec]]]] = [(root, [])]
    while waiting:  # a stack of our own: folders may lie deeper than calls may
        folder, rules = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            problems.append((uri_of(folder), f"the folder cannot be read: {error.strerror or error}"))
            continue
        rules = rules + _rules_of(folder)
        folders: list[Path] = []
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            try:
                inside = entry.is_dir(follow_symlinks=False)
            except OSError as error:
                problems.append((uri_of(path), f"cannot be looked at: {error.strerror or error}"))
                continue
            if _ignored(path, inside, rules):
                continue
            if inside and not _of_tools(path):
                folders.append(path)
            elif not inside and wanted(entry.name):
                yield path
        waiting += [(path, rules) for path in reversed(folders)]


def _of_tools(folder: Path) -> bool:
    return folder.name in _TOOL_FOLDERS or os.path.lexists(folder / "pyvenv.cfg")


class _Spec(Protocol):
    def check_file(self, file: str) -> _Result: ...


class _Result(Protocol):
    @property
    def include(self) -> bool | None: ...


def _rules_of(folder: Path) -> list[tuple[Path, _Spec]]:
    """Read a folder's ``.gitignore``; one that cannot be read excludes nothing."""
    file = folder / ".gitignore"
    try:
        if not file.is_file() or file.stat().st_size > _IGNORE_LIMIT:
            return []
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    from pathspec import GitIgnoreSpec

    spec: _Spec = GitIgnoreSpec.from_lines(lines)
    return [(folder, spec)]


def _ignored(path: Path, is_folder: bool, rules: list[tuple[Path, _Spec]]) -> bool:
    """Ask the rules from the innermost out, as git does; the first that has an opinion decides."""
    for base, spec in reversed(rules):
        name = path.relative_to(base).as_posix() + ("/" if is_folder else "")
        include = spec.check_file(name).include
        if include is not None:
            return bool(include)
    return False
