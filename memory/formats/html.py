"""HTML to markdown that keeps headings, lists, tables and code, and leaves out what a reader would not see.

Hidden text is a favourite place for instructions to a model; what a browser would not show is not read.
"""

from __future__ import annotations

import re
from typing import Any

from memory.errors import DocumentDamagedError
from memory.formats.decode import decode
from memory.formats.values import Extracted, ReadLimits

_DROPPED = frozenset(
    ["script", "style", "noscript", "template", "svg", "math", "head", "iframe", "object", "embed", "canvas"]
) | {"video", "audio", "select", "option", "button", "input", "textarea", "nav"}
_BLOCKS = frozenset(
    ["p", "div", "section", "article", "main", "aside", "header", "footer", "blockquote", "figure", "figcaption"]
) | {"form", "address", "dl", "dt", "dd", "ul", "ol", "details", "summary", "fieldset", "center", "body", "html"}
_HIDDEN = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d]*[1-9])|opacity\s*:\s*0(?![.\d])"
)
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_PROLOG = re.compile(r"\A\s*<\?xml[^>]*\?>")
_DEPTH = 200


def read_html(data: bytes, limits: ReadLimits, declared: str = "") -> Extracted:
    """Read an HTML page.

    Raises:
        DocumentDamagedError: Nothing in it can be parsed.
    """
    if not declared and (match := _CHARSET.search(data[:4096])):
        declared = match.group(1).decode("ascii")
    text, marks = decode(data, limits, declared)
    title, body = html_to_markdown(text)
    return Extracted(body, "markdown", title, marks=marks)


def html_to_markdown(source: str) -> tuple[str, str]:
    """Return a page's title and its visible text as markdown.

    Raises:
        DocumentDamagedError: The parser finds nothing at all.
    """
    from lxml import etree, html

    parser = html.HTMLParser(recover=True, no_network=True, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        root = html.document_fromstring(_PROLOG.sub("", source, count=1), parser=parser)
    except (etree.ParserError, etree.LxmlError, ValueError) as error:
        raise DocumentDamagedError(f"not readable as HTML ({error})") from error
    title = " ".join((root.findtext(".//title") or "").split())[:200]
    writer = _Writer()
    body = root.find("body")
    writer.element(root if body is None else body, 0)
    return title, writer.result()


class _Writer:
    """Collects markdown; ``inline`` is the paragraph being written."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self.inline: list[str] = []
        self.lists: list[str] = []

    def result(self) -> str:
        self.flush()
        return "\n\n".join(self.blocks)

    def flush(self, prefix: str = "") -> None:
        line = re.sub(r"[ \t\r\n\f]+", " ", "".join(self.inline)).replace("\0", "\n").strip()
        self.inline.clear()
        if line:
            self.blocks.append(prefix + line)

    def element(self, node: Any, depth: int) -> None:
        tag = node.tag if isinstance(node.tag, str) else ""
        if tag in _DROPPED or not tag or _is_hidden(node):
            return
        if depth > _DEPTH:
            self.inline.append(" ".join(str(part) for part in node.itertext()))
            return
        handler = getattr(self, f"_{tag}", None)
        if handler is not None:
            handler(node, depth)
        elif re.fullmatch(r"h[1-6]", tag):
            self.flush()
            self.inside(node, depth)
            self.flush("#" * int(tag[1]) + " ")
        elif tag in _BLOCKS:
            self.flush()
            self.inside(node, depth)
            self.flush()
        else:
            self.inside(node, depth)

    def inside(self, node: Any, depth: int) -> None:
        self.inline.append(node.text or "")
        for child in node:
            self.element(child, depth + 1)
            self.inline.append(child.tail or "")

    def _br(self, node: Any, depth: int) -> None:
        self.inline.append("\0")

    def _hr(self, node: Any, depth: int) -> None:
        self.flush()

    def _img(self, node: Any, depth: int) -> None:
        alt = node.get("alt", "").strip()
        if alt:
            self.inline.append(f" [image: {alt}] ")

    def _pre(self, node: Any, depth: int) -> None:
        self.flush()
        code = "".join(str(part) for part in node.itertext()).strip("\n")
        if code.strip():
            fence = "```" if "```" not in code else "````"
            self.blocks.append(f"{fence}\n{code}\n{fence}")

    def _li(self, node: Any, depth: int) -> None:
        self.flush()
        self.inside(node, depth)
        self.flush("- ")

    def _table(self, node: Any, depth: int) -> None:
        self.flush()
        rows = [row for row in node.iter("tr") if not _is_hidden(row)]
        nested = any(True for _ in node.iterdescendants("table"))
        if nested or max((len(row) for row in rows), default=0) < 2:
            self.inside(node, depth)  # a table for layout
            self.flush()
            return
        cells = [
            [" ".join("".join(str(part) for part in cell.itertext()).split()) for cell in row.iterchildren("td", "th")]
            for row in rows
        ]
        if text := markdown_table(cells):
            self.blocks.append(text)


def _is_hidden(node: Any) -> bool:
    return (
        node.get("hidden") is not None
        or node.get("aria-hidden") == "true"
        or bool(_HIDDEN.search(node.get("style", "").lower()))
    )


def markdown_table(rows: list[list[str]]) -> str:
    """Lay out rows of cells as a markdown table whose first row is the header; empty rows are left out."""
    kept = [[cell.replace("|", "¦").replace("\n", " ").strip() for cell in row] for row in rows if any(row)]
    if not kept:
        return ""
    width = max(len(row) for row in kept)
    lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in kept]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)
