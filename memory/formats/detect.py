"""What kind of document some bytes are: by their first bytes where those are sure, else by the file's name.

A wrong extension does no harm: a PDF named ``.txt`` is read as the PDF it is.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePath

from memory.errors import UnsupportedFormatError

CODE = {
    ".py": "python", ".pyi": "python", ".js": "javascript", ".mjs": "javascript", ".cjs": "javascript",
    ".jsx": "javascript", ".ts": "typescript", ".tsx": "tsx", ".go": "go", ".rs": "rust", ".java": "java",
    ".c": "c", ".h": "c", ".cc": "cpp", ".cpp": "cpp", ".cxx": "cpp", ".hpp": "cpp", ".hh": "cpp", ".cs": "c_sharp",
    ".rb": "ruby", ".sh": "bash", ".bash": "bash", ".zsh": "bash",
    # Languages without a grammar here are cut by their indentation.
    ".kt": "code", ".kts": "code", ".scala": "code", ".swift": "code", ".php": "code", ".pl": "code", ".pm": "code",
    ".lua": "code", ".r": "code", ".jl": "code", ".hs": "code", ".ml": "code", ".ex": "code", ".exs": "code",
    ".erl": "code", ".clj": "code", ".dart": "code", ".m": "code", ".mm": "code", ".vue": "code", ".svelte": "code",
    ".sql": "code", ".ps1": "code", ".bat": "code", ".cmake": "code", ".gradle": "code", ".proto": "code",
    ".css": "code", ".scss": "code", ".less": "code", ".tf": "code", ".nix": "code", ".zig": "code", ".vim": "code",
    ".yaml": "code", ".yml": "code", ".toml": "code", ".ini": "code", ".cfg": "code", ".conf": "code",
    ".xml": "xml", ".svg": "xml", ".xsd": "xml", ".xsl": "xml", ".plist": "xml",
}  # fmt: skip
"""Source code by extension; the value is the name of its structure reader."""

TEXT = {
    ".md": "markdown", ".markdown": "markdown", ".mdx": "markdown", ".qmd": "markdown", ".rmd": "markdown",
    ".txt": "text", ".text": "text", ".rst": "text", ".org": "text", ".adoc": "text", ".tex": "text", ".log": "text",
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json", ".geojson": "json",
    ".ipynb": "notebook", ".html": "html", ".htm": "html", ".xhtml": "html", ".eml": "email",
    ".srt": "text", ".vtt": "text",
}  # fmt: skip
BINARY = {".pdf": "pdf", ".docx": "docx", ".pptx": "pptx", ".xlsx": "xlsx", ".epub": "epub"}
NAMES = {"makefile": "code", "dockerfile": "code", "readme": "text", "license": "text", "cmakelists.txt": "code"}

KNOWN = frozenset(CODE) | frozenset(TEXT) | frozenset(BINARY)
"""Extensions that a folder is searched for; a file named directly is tried whatever its name."""

_OFFICE = {"word/document.xml": "docx", "ppt/presentation.xml": "pptx", "xl/workbook.xml": "xlsx"}
_REFUSED = (
    (b"\x7fELF", "a program"), (b"MZ", "a Windows program"), (b"\x89PNG", "an image"), (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"), (b"\x1f\x8b", "a gzip archive"), (b"7z\xbc\xaf", "a 7z archive"), (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"), (b"\xfd7zXZ", "an xz archive"), (b"SQLite format 3", "a database"),
    (b"RIFF", "audio or video"), (b"ID3", "audio"), (b"OggS", "audio"), (b"\x00\x00\x00\x18ftyp", "a video"),
    (b"\x00asm", "a program"), (b"\xca\xfe\xba\xbe", "a program"), (b"GGUF", "a model file"),
)  # fmt: skip


def wanted(name: str) -> bool:
    """Whether a file found in a folder is worth opening, judged by its name alone."""
    path = PurePath(name.lower())
    return path.suffix in KNOWN or path.name in NAMES


def detect(name: str, data: bytes) -> str:
    """Return the format of a document.

    Args:
        name: Its file name, for the cases that bytes do not decide.
        data: Its bytes (all of them: the directory of a zip archive is at the end).

    Raises:
        UnsupportedFormatError: No reader for it; the text says what it is.
    """
    if data[:1024].lstrip()[:5] == b"%PDF-":
        return "pdf"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zipped(data)
    if data[:8] == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        raise UnsupportedFormatError(
            "an old Office file (.doc, .xls, .ppt) or an encrypted one; save it as .docx, .xlsx or .pptx"
        )
    for magic, what in _REFUSED:
        if data.startswith(magic):
            raise UnsupportedFormatError(f"{what}, not a document")
    suffix = PurePath(name.lower()).suffix
    if suffix in BINARY:
        raise UnsupportedFormatError(f"named {suffix}, but its bytes are not a {suffix[1:].upper()}")
    if looks_binary(data[:65536]):
        raise UnsupportedFormatError("binary data, not a document")
    known = TEXT.get(suffix) or CODE.get(suffix) or NAMES.get(PurePath(name.lower()).name)
    if known:
        return known
    head = data[:1024].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "html"
    return "text"


def looks_binary(head: bytes) -> bool:
    """Whether bytes cannot be text in any usual encoding: control characters, or NULs outside UTF-16 and UTF-32."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        return False
    if b"\0" in head:
        return not _utf16_without_mark(head)
    controls = sum(head.count(code) for code in range(32) if code not in (9, 10, 12, 13, 27))
    return controls > len(head) // 50


def _utf16_without_mark(head: bytes) -> bool:
    """Whether NULs stand in every other place, as in UTF-16 text of a Latin language."""
    even, odd = head[0::2].count(0), head[1::2].count(0)
    few, many = sorted((even, odd))
    return len(head) >= 4 and many > len(head) * 0.3 and few < len(head) * 0.02


def _zipped(data: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
            if "mimetype" in names and archive.getinfo("mimetype").file_size < 200:
                kind = archive.read("mimetype").strip()
                if kind == b"application/epub+zip":
                    return "epub"
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, KeyError) as error:
        raise UnsupportedFormatError(f"a damaged or encrypted archive ({error})") from error
    for member, kind_name in _OFFICE.items():
        if member in names:
            return kind_name
    if "META-INF/container.xml" in names:
        return "epub"
    raise UnsupportedFormatError("a zip archive; unpack it and add the folder")
