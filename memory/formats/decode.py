"""Bytes to text: byte order marks first, then UTF-8, then detection; every departure from plain UTF-8 is marked."""

from __future__ import annotations

import codecs
import re

from memory.errors import DocumentDamagedError, DocumentTooLargeError
from memory.formats.repair import repair
from memory.formats.values import ReadLimits

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 256 * 1024
_REPAIR_LIMIT = 16 * 1024 * 1024
"""Beyond this many characters a text is data rather than prose, and looking for misread words takes minutes."""
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def decode(data: bytes, limits: ReadLimits, declared: str = "") -> tuple[str, tuple[str, ...]]:
    """Decode a text file.

    Args:
        data: The whole file.
        limits: ``text_bytes`` and ``line_chars`` are kept.
        declared: The encoding that the document itself or its server names.

    Returns:
        The text and its marks.

    Raises:
        DocumentTooLargeError: Over the limits.
        DocumentDamagedError: No encoding makes text of it.
    """
    if len(data) > limits.text_bytes:
        raise DocumentTooLargeError(f"{len(data) >> 20} MB of text; the limit is {limits.text_bytes >> 20} MB")
    text, encoding = _decoded(data, declared)
    marks = [] if encoding in ("utf-8", "ascii") else [f"decoded as {encoding}"]
    longest = max((len(line) for line in text.split("\n")), default=0)
    if longest > limits.line_chars:
        raise DocumentTooLargeError(f"one line of {longest >> 20} million characters: data rather than text")
    if len(text) <= _REPAIR_LIMIT:
        repaired = repair(text)
        text = repaired.text
        if repaired.mark:
            marks.append(repaired.mark)
    if _CONTROLS.search(text):
        # Replaced one for one, so that positions stay those of the file.
        text = _CONTROLS.sub(" ", text)
        marks.append("control characters blanked")
    return text, tuple(marks)


def _decoded(data: bytes, declared: str) -> tuple[str, str]:
    for mark, name in _MARKS:
        if data.startswith(mark):
            try:
                return data[len(mark) :].decode(name), name if name != "utf-8" else "utf-8"
            except UnicodeDecodeError:
                break
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        cut_off = error.reason == "unexpected end of data"
    if declared:
        try:
            return data.decode(declared), declared.lower()
        except (LookupError, UnicodeDecodeError):
            pass  # a wrong declaration is common; detection follows
    almost = _almost_utf8(data, cut_off)
    return _detected(data) if almost is None else (almost, "utf-8 with invalid bytes replaced")


def _almost_utf8(data: bytes, cut_off: bool) -> str | None:
    """UTF-8 with a few broken bytes, or cut in the middle of its last character, keeps its encoding."""
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    sound = sum(1 for char in text[:_SAMPLE] if char > "\x7f" and char != "\ufffd")
    few = broken <= max(2, len(text) // 10_000)
    return text if few and (cut_off or sound > 4 * broken) else None


def _detected(data: bytes) -> tuple[str, str]:
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE]).best()
    for name in (best.encoding if best else "", "cp1252", "latin-1"):
        if not name:
            continue
        try:
            return data.decode(name), name
        except (LookupError, UnicodeDecodeError):
            continue
    raise DocumentDamagedError("no known encoding makes text of its bytes")
