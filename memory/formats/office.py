"""Word, PowerPoint and Excel files (the XML ones) to markdown."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

from memory.errors import DocumentTooLargeError
from memory.formats.archive import checked_archive
from memory.formats.html import markdown_table
from memory.formats.values import Extracted, ReadLimits

_HEADING = re.compile(r"(?:heading|заголовок|überschrift|titre)\s*([1-6])", re.IGNORECASE)


def read_docx(data: bytes, limits: ReadLimits) -> Extracted:
    """Read paragraphs, headings, lists and tables in document order (python-docx)."""
    checked_archive(data, limits).close()
    import docx
    from docx.table import Table

    document = docx.Document(io.BytesIO(data))
    blocks: list[str] = []
    for item in document.iter_inner_content():
        if isinstance(item, Table):
            rows = [[" ".join(cell.text.split()) for cell in row.cells] for row in item.rows]
            blocks.append(markdown_table(rows))
        else:
            blocks.append(_paragraph(item))
    title = " ".join((document.core_properties.title or "").split())[:200]
    return Extracted("\n\n".join(block for block in blocks if block), "markdown", title)


def _paragraph(paragraph: Any) -> str:
    text = str(paragraph.text).strip()
    if not text:
        return ""
    style = str(paragraph.style.name if paragraph.style is not None else "")
    if style.lower() in ("title", "название"):
        return f"# {' '.join(text.split())}"
    if match := _HEADING.match(style):
        return f"{'#' * int(match.group(1))} {' '.join(text.split())}"
    return f"- {text}" if style.lower().startswith("list") else text


def read_pptx(data: bytes, limits: ReadLimits) -> Extracted:
    """Read slides with their titles, texts, tables and notes (python-pptx); a page is a slide."""
    checked_archive(data, limits).close()
    import pptx

    presentation = pptx.Presentation(io.BytesIO(data))
    parts: list[str] = []
    pages: list[int] = []
    position = 0
    for number, slide in enumerate(presentation.slides, 1):
        text = "\n\n".join(_slide(slide, number))
        pages.append(position)
        parts.append(text)
        position += len(text) + 2
    title = " ".join((presentation.core_properties.title or "").split())[:200]
    return Extracted("\n\n".join(parts), "markdown", title, tuple(pages))


def _slide(slide: Any, number: int) -> Iterator[str]:
    title_shape = slide.shapes.title
    title = " ".join(title_shape.text_frame.text.split()) if title_shape is not None else ""
    yield f"## {title or f'Slide {number}'}"
    for shape in _shapes(slide.shapes):
        if title_shape is not None and shape.shape_id == title_shape.shape_id:
            continue
        if getattr(shape, "has_text_frame", False) and shape.text_frame.text.strip():
            yield str(shape.text_frame.text).replace("\v", "\n").strip()
        elif getattr(shape, "has_table", False):
            yield markdown_table([[" ".join(cell.text.split()) for cell in row.cells] for row in shape.table.rows])
    if slide.has_notes_slide:
        notes = slide.notes_slide.notes_text_frame
        if notes is not None and notes.text.strip():
            yield f"Notes: {notes.text.strip()}"


def _shapes(shapes: Any, depth: int = 0) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes") and depth < 20:
            yield from _shapes(shape.shapes, depth + 1)
        else:
            yield shape


def read_xlsx(data: bytes, limits: ReadLimits) -> Extracted:
    """Read every sheet as a table under its name, values rather than formulas (openpyxl, read-only mode).

    Raises:
        DocumentTooLargeError: More text than the limit.
    """
    checked_archive(data, limits).close()
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    blocks: list[str] = []
    size = 0
    try:
        for sheet in book.worksheets:
            rows: list[list[str]] = []
            for row in sheet.iter_rows(values_only=True):
                cells = ["" if value is None else str(value) for value in row]
                while cells and not cells[-1]:
                    cells.pop()
                size += sum(len(cell) + 3 for cell in cells)
                if size > limits.text_bytes:
                    raise DocumentTooLargeError(f"more than {limits.text_bytes >> 20} MB of cells")
                if any(cells):
                    rows.append(cells)
            if rows:
                blocks += [f"## {' '.join(sheet.title.split())}", markdown_table(rows)]
    finally:
        book.close()
    title = " ".join((book.properties.title or "").split())[:200]
    return Extracted("\n\n".join(blocks), "markdown", title)
