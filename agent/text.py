"""Small things done to text before it is stored: made storable, cut to a title, made a search query."""

from __future__ import annotations

import re
import secrets

SURROGATES = re.compile("[\ud800-\udfff]")
TITLE_CHARS = 70


def new_session_id() -> str:
    """A short random name that is easy to type."""
    return secrets.token_hex(4)


def storable(text: str) -> str:
    """Text without lone surrogates, which SQLite refuses; they become U+FFFD."""
    return text if text.isascii() else SURROGATES.sub("\ufffd", text)


def title_of(text: str) -> str:
    """A title from a first message: its first line, cut at a word."""
    line = next((part.strip() for part in text.splitlines() if part.strip()), "")
    if len(line) <= TITLE_CHARS:
        return line
    cut = line[:TITLE_CHARS].rsplit(" ", 1)[0]
    return f"{cut or line[:TITLE_CHARS]}…"


def fts_query(text: str) -> str:
    """Words as an FTS5 query that means "all of these, the last one may go on"; operators in them stay words."""
    words = ['"' + word.replace('"', '""').replace("\0", "") + '"' for word in storable(text).split()]
    return " ".join(words) + "*" if words else '""'
