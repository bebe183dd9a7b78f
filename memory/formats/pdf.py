"""PDF through PDFium, the engine of Chrome (pypdfium2): fast, fuzzed for years, and permissively licensed."""

from __future__ import annotations

import re
import unicodedata

from memory.errors import DocumentDamagedError, DocumentTooLargeError
from memory.formats.values import Extracted, ReadLimits

_HYPHEN = re.compile(r"(?<=[^\W\d_])(?:-|\u00ad|\ufffe|\x02)\n(?=[^\W\d_])")
_FORMS = re.compile(r"[\ufb00-\ufdff\ufe70-\ufefc]+")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")


def read_pdf(data: bytes, limits: ReadLimits) -> Extracted:
    """Read the text of every page; ligatures and presentation forms are written as the letters they stand for.

    Raises:
        DocumentDamagedError: Encrypted, broken, or without any text (a scan).
        DocumentTooLargeError: More pages or text than the limits.
    """
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "assword" in str(error):
            raise DocumentDamagedError("encrypted; remove the password first") from error
        raise DocumentDamagedError(f"not a readable PDF ({error})") from error
    try:
        if len(document) > limits.pages:
            raise DocumentTooLargeError(f"{len(document)} pages; the limit is {limits.pages}")
        parts, pages, broken = [], [], 0
        position = 0
        for number in range(len(document)):
            try:
                text = _page(document, number)
            except pdfium.PdfiumError:
                text, broken = "", broken + 1
            pages.append(position)
            parts.append(text)
            position += len(text) + 2
            if position > limits.text_bytes:
                raise DocumentTooLargeError(f"more than {limits.text_bytes >> 20} MB of text")
        title = " ".join((document.get_metadata_value("Title") or "").split())[:200]
    finally:
        document.close()
    if not any(part.strip() for part in parts):
        raise DocumentDamagedError("no text in it: a scan, which would need character recognition, or an empty page")
    marks = (f"{broken} of {len(parts)} pages unreadable",) if broken else ()
    return Extracted("\n\n".join(parts), "text", title, tuple(pages), marks)


def _page(document: object, number: int) -> str:
    page = document[number]  # type: ignore[index]  # the library has no types
    try:
        text_page = page.get_textpage()
        try:
            text = str(text_page.get_text_bounded())
        finally:
            text_page.close()
    finally:
        page.close()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _HYPHEN.sub("", text)
    text = _FORMS.sub(lambda match: unicodedata.normalize("NFKC", match.group()), text)
    return _CONTROLS.sub(" ", text).strip()
