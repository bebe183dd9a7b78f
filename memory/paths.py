"""Names from people, models and documents, kept inside the folder they are meant for.

Contract: ``confined(root, name)`` returns a path below ``root`` or raises; it never creates anything. What is checked
is each component and the resolved result, by components and not by string prefix: two published escapes of file servers
came from exactly these two shortcuts (CVE-2025-53109, CVE-2025-53110). ``read_confined`` opens without following a link
in the last component and reads regular files only.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from pathlib import Path

from memory.errors import PathRefusedError
from memory.safety import clean, one_line

MAX_COMPONENT_BYTES = 200  # file systems stop at 255; room is left for temporary and conflict suffixes
MAX_DEPTH = 8
# Names that Windows maps to devices, with any extension. Refused everywhere: notes folders travel between machines.
_DEVICE = re.compile(r"^(?:con|prn|aux|nul|conin\$|conout\$|clock\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?$", re.IGNORECASE)
_FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')  # what Windows forbids; the colon also opens NTFS streams
_SLUG_DROP = re.compile(r"[^\w\- ]+")


def confined(root: Path, name: str) -> Path:
    """A path inside a folder from a name that is not trusted.

    Args:
        root: the folder; it need not exist yet.
        name: a relative name, ``/`` between folders.

    Returns:
        The path, inside ``root`` after resolving every link.

    Raises:
        PathRefusedError: the name is absolute, leads out, is hidden, is a device, differs from an existing name only by
            case, or holds characters no file name should.
    """
    parts = _components(name)
    path = root
    for part in parts:
        _check_component(part, name)
        _check_case(path, part, name)
        path = path / part
    try:
        base, resolved = root.resolve(), path.resolve()
    except (OSError, RuntimeError) as error:  # a circle of links
        raise PathRefusedError(f"“{one_line(name)}” cannot be resolved: {error}.") from error
    if resolved == base or not resolved.is_relative_to(base):
        raise PathRefusedError(f"“{one_line(name)}” leads out of {root}; choose a name inside it.")
    if path.is_symlink() and not resolved.exists():
        raise PathRefusedError(f"“{one_line(name)}” is a link to nothing; remove the link or choose another name.")
    return path


def read_confined(root: Path, name: str, limit: int) -> bytes:
    """Read a regular file inside a folder.

    Args:
        root: the folder.
        name: a relative name, not trusted.
        limit: most bytes accepted.

    Returns:
        The whole content.

    Raises:
        PathRefusedError: the name leads out, or is not a regular file, or is larger than ``limit``.
        OSError: the file is missing or may not be read.
    """
    path = confined(root, name)
    # Resolved once, then opened without following: a link swapped in between is refused by the system itself.
    target = path.resolve()
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(target, flags)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PathRefusedError(f"“{one_line(name)}” is not a regular file.")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise PathRefusedError(f"“{one_line(name)}” is larger than {limit:,} bytes; split it into smaller notes.")
    return content


def slug(title: str, fallback: str = "note") -> str:
    """A file name without extension from a title; letters of any script stay.

    Args:
        title: any text.
        fallback: used when nothing of the title can stay.

    Returns:
        A name that ``confined`` accepts.
    """
    text = unicodedata.normalize("NFC", clean(title).text)
    text = "-".join(_SLUG_DROP.sub(" ", text.casefold()).split()).strip("-_.")
    text = text.encode()[:80].decode(errors="ignore").strip("-_.")
    return f"{text}-{fallback}" if text and _DEVICE.match(text) else text or fallback


def _components(name: str) -> list[str]:
    if not name or "\x00" in name:
        raise PathRefusedError("A name must not be empty or contain a zero byte.")
    if clean(name).count:
        raise PathRefusedError(f"“{one_line(name)}” holds invisible characters; type the name again.")
    unified = name.replace("\\", "/")
    if unified.startswith(("/", "~")) or re.match(r"^[A-Za-z]:", unified):
        raise PathRefusedError(f"“{one_line(name)}” is an absolute path; give a name inside the folder.")
    parts = unified.split("/")
    if len(parts) > MAX_DEPTH:
        raise PathRefusedError(f"“{one_line(name)}” is nested more than {MAX_DEPTH} folders deep.")
    return parts


def _check_component(part: str, name: str) -> None:
    shown = one_line(name)
    if part in {"", ".", ".."} or part.startswith("."):
        raise PathRefusedError(f"“{shown}” has an empty, hidden or upward part; give a plain name.")
    if part != part.rstrip(". ") or part != part.lstrip(" "):
        raise PathRefusedError(f"“{shown}” begins or ends with a blank or a dot, which some systems drop silently.")
    if _FORBIDDEN.search(part):
        raise PathRefusedError(
            f'“{shown}” holds a character that file names must not have (one of <>:"|?* or a control).'
        )
    if _DEVICE.match(part) or _DEVICE.match(unicodedata.normalize("NFKC", part)):
        raise PathRefusedError(f"“{shown}” is the name of a device on some systems; choose another.")
    if any(char in "/\\.:" for char in unicodedata.normalize("NFKC", part) if char not in part):
        raise PathRefusedError(f"“{shown}” holds a look-alike of a path separator.")
    if len(part.encode(errors="surrogatepass")) > MAX_COMPONENT_BYTES:
        raise PathRefusedError(f"“{shown}” is longer than {MAX_COMPONENT_BYTES} bytes; choose a shorter name.")


def _check_case(folder: Path, part: str, name: str) -> None:
    """Refuse a second spelling of an existing name: one file on some systems, two on others."""
    if not folder.is_dir():
        return
    wanted = _same_file_key(part)
    spellings = [entry.name for entry in folder.iterdir() if _same_file_key(entry.name) == wanted]
    if spellings and part not in spellings:
        raise PathRefusedError(f"“{one_line(name)}” already exists, spelled “{one_line(spellings[0])}”; use that.")


def _same_file_key(part: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", part).casefold())
