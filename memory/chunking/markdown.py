"""The structure of markdown and of plain text: headings, paragraphs, fenced code, tables, front matter.

A line scanner rather than a full parser: only the block structure matters here, character positions must be exact,
and a document of any shape must be readable in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memory.chunking.blocks import Block

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*$|[^|\n]+(?:\|[^|\n]*){1,}$")
_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+")
_LINE = re.compile(r"[^\n]*(?:\n|$)")
_HEADING_CHARS = 200


def markdown_blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a markdown text in order; every non-blank character belongs to one."""
    return _Reader(text).blocks()


def plain_blocks(text: str) -> Iterator[Block]:
    """Yield the paragraphs of a text without markup."""
    for match in re.finditer(r"\S(?:.|\n(?![ \t\r]*\n))*", text):
        yield Block(match.start(), match.end())


class _Reader:
    """One pass over the lines; ``path`` holds the open headings as (level, title)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = [(match.start(), match.end()) for match in _LINE.finditer(text) if match.end() > match.start()]
        self.at = 0
        self.path: list[tuple[int, str]] = []

    @property
    def heading(self) -> tuple[str, ...]:
        return tuple(title for _, title in self.path)

    def line(self, index: int) -> str:
        start, end = self.lines[index]
        # A longer line is a paragraph in any case, and no pattern needs to see all of it.
        return self.text[start : min(end, start + 2000)].rstrip("\r\n")

    def blocks(self) -> Iterator[Block]:
        if (front := self._front_matter()) is not None:
            yield front
        while self.at < len(self.lines):
            line = self.line(self.at)
            if not line.strip():
                self.at += 1
            elif _FENCE.match(line):
                yield self._fence(line)
            elif (match := _ATX.match(line)) and (match.group(2) or "").strip():
                yield self._heading(len(match.group(1)), match.group(2) or "", 1)
            elif self._is_table(self.at):
                yield self._table()
            else:
                yield from self._paragraph()

    def _front_matter(self) -> Block | None:
        if not self.lines or self.line(0) != "---":
            return None
        for index in range(1, min(len(self.lines), 200)):
            if self.line(index) in ("---", "..."):
                self.at = index + 1
                return Block(0, self.lines[index][1], "code")
        return None

    def _heading(self, level: int, title: str, lines: int) -> Block:
        while self.path and self.path[-1][0] >= level:
            self.path.pop()
        self.path.append((level, _plain(title)))
        start, end = self.lines[self.at][0], self.lines[self.at + lines - 1][1]
        self.at += lines
        return Block(start, end, "heading", self.heading)

    def _fence(self, line: str) -> Block:
        match = _FENCE.match(line)
        mark = match.group(1) if match else "```"
        closing = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
        start = self.lines[self.at][0]
        self.at += 1
        while self.at < len(self.lines) and not closing.match(self.line(self.at)):
            self.at += 1
        self.at = min(self.at + 1, len(self.lines))
        return Block(start, self.lines[self.at - 1][1], "code", self.heading)

    def _is_table(self, index: int) -> bool:
        if index + 1 >= len(self.lines):
            return False
        rule = self.line(index + 1)
        return "|" in self.line(index) and "-" in rule and "|" in rule and bool(_RULE.match(rule))

    def _table(self) -> Block:
        start, header = self.lines[self.at][0], _plain(self.line(self.at).strip().strip("|"))
        self.at += 2
        while self.at < len(self.lines) and "|" in self.line(self.at) and _ROW.match(self.line(self.at)):
            self.at += 1
        return Block(start, self.lines[self.at - 1][1], "table", self.heading, header)

    def _paragraph(self) -> Iterator[Block]:
        """A paragraph or a run of list items, or a heading underlined with = or -."""
        first = self.at
        while self.at < len(self.lines):
            line = self.line(self.at)
            if not line.strip():
                break
            if self.at > first:
                underline = _UNDERLINE.match(line)
                if underline and self.at == first + 1 and not _ITEM.match(self.line(first)):
                    self.at = first
                    yield self._heading(1 if "=" in line else 2, self.line(first), 2)
                    return
                if _FENCE.match(line) or _ATX.match(line) or self._is_table(self.at) or _ITEM.match(line):
                    break
            self.at += 1
        yield Block(self.lines[first][0], self.lines[self.at - 1][1], "text", self.heading)


def _plain(title: str) -> str:
    """A heading as it is read: without emphasis, links and backticks, on one line, bounded."""
    title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title)
    title = re.sub(r"[`*]+|(?<!\w)_+|_+(?!\w)", "", title)
    return " ".join(title.split())[:_HEADING_CHARS]
