"""Documents of many formats to text; the readers run in a child process (``memory.formats.host``)."""

from __future__ import annotations

from memory.errors import DocumentDamagedError, DocumentTooLargeError, IngestError
from memory.formats.detect import KNOWN, detect, wanted
from memory.formats.values import DEFAULT_LIMITS, Extracted, ReadLimits


def extract(name: str, data: bytes, limits: ReadLimits = DEFAULT_LIMITS, declared: str = "") -> Extracted:
    """Read a document from its bytes, in this process.

    Args:
        name: File name, for formats that bytes do not decide.
        data: The whole file.
        limits: Bounds on its text and its archive; time and memory are the caller's to bound.
        declared: The encoding that its server names.

    Raises:
        IngestError: It cannot be read; the message is the reason in one line.
    """
    if not data.strip():
        raise DocumentDamagedError("empty")
    if len(data) > limits.file_bytes:
        raise DocumentTooLargeError(f"{len(data) >> 20} MB; the limit is {limits.file_bytes >> 20} MB")
    format = detect(name, data)
    try:
        found = _read(format, data, limits, declared)
    except (IngestError, MemoryError):
        raise
    except RecursionError as error:
        raise DocumentDamagedError("nested too deeply") from error
    except Exception as error:  # a reader met bytes its authors did not foresee: that is a property of the document
        raise DocumentDamagedError(f"not readable as {format}: {_detail(error)}") from error
    if not found.text.strip():
        raise DocumentDamagedError("no text in it")
    if len(found.text) > limits.text_bytes:
        raise DocumentTooLargeError(f"more than {limits.text_bytes >> 20} MB of text")
    return found


def _detail(error: Exception) -> str:
    """What a library's exception tells a person; one about its own variables tells nothing."""
    if isinstance(error, AttributeError | KeyError | TypeError | IndexError):
        return "its inner structure is broken"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _read(format: str, data: bytes, limits: ReadLimits, declared: str) -> Extracted:
    """Call the reader of a format; each is imported only when first needed."""
    if format == "pdf":
        from memory.formats.pdf import read_pdf

        return read_pdf(data, limits)
    if format in ("docx", "pptx", "xlsx"):
        from memory.formats import office

        reader = {"docx": office.read_docx, "pptx": office.read_pptx, "xlsx": office.read_xlsx}[format]
        return reader(data, limits)
    if format in ("email", "epub"):
        from memory.formats import mail

        return (mail.read_email if format == "email" else mail.read_epub)(data, limits)
    if format == "html":
        from memory.formats.html import read_html

        return read_html(data, limits, declared)
    from memory.formats import text

    if format in ("json", "notebook"):
        return (text.read_json if format == "json" else text.read_notebook)(data, limits)
    return text.read_text(data, format, limits)


__all__ = ["DEFAULT_LIMITS", "KNOWN", "Extracted", "ReadLimits", "detect", "extract", "wanted"]
