"""One note: a markdown text with optional front matter, and what can be read off it without any index."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from memory.safety import one_line

FRONT_MATTER_LIMIT = 4096  # characters; a larger block is text, not settings
_NESTED = (list, dict, set, tuple)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_UNCLOSED = re.compile(r"\A---[ \t]*\r?\n(.*?)(?:^[ \t]*\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+(\S.*)$", re.MULTILINE)
_WIKI_LINK = re.compile(r"\[\[([^\[\]\n|#]{1,200})(?:#([^\[\]\n|]{0,200}))?(?:\|([^\[\]\n]{0,200}))?\]\]")
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_PRIVATE_WORD = re.compile(r"^\s*private\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Link:
    """A wiki link as written: ``[[target#heading|label]]``."""

    target: str
    heading: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """A note as it was read; ``digest`` says which version that was."""

    name: str
    """Path inside the notes folder, ``/`` between folders."""
    text: str
    """The whole file as text, front matter included."""
    body: str
    """The text after the front matter."""
    title: str
    tags: tuple[str, ...]
    private: bool
    links: tuple[Link, ...]
    digest: str
    """SHA-256 of the file's bytes, hexadecimal."""
    modified: float
    """Seconds since the epoch."""
    damaged: bool = False
    """The bytes were not UTF-8; what could not be read shows as U+FFFD, and the note is not written over."""


def digest_of(content: bytes) -> str:
    """The fingerprint notes are compared by."""
    return hashlib.sha256(content).hexdigest()


def parse(name: str, content: bytes, modified: float = 0.0) -> Note:
    """Read a note from its bytes.

    Front matter that cannot be understood is left in the body; if it mentions ``private`` the note counts as private,
    because a typing slip must not publish it.

    Args:
        name: path inside the notes folder.
        content: the file's bytes, UTF-8 with or without a byte order mark.
        modified: when the file changed last.

    Returns:
        The note; never raises on content.
    """
    damaged = False
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text, damaged = content.decode("utf-8-sig", errors="replace"), True
    settings, body, broken = _split(text)
    title = one_line(_scalar(settings.get("title")), 120) or _first_heading(body) or _title_from(name)
    return Note(
        name=name,
        text=text,
        body=body,
        title=title,
        tags=_tags(settings.get("tags")),
        private=_is_private(settings.get("private"), broken),
        links=links_in(body),
        digest=digest_of(content),
        modified=modified,
        damaged=damaged,
    )


def links_in(body: str) -> tuple[Link, ...]:
    """The wiki links of a text, each once, code excepted."""
    found = (
        Link(match[1].strip(), (match[2] or "").strip(), (match[3] or "").strip())
        for match in _WIKI_LINK.finditer(_CODE.sub("", body))
        if match[1].strip()
    )
    return tuple(dict.fromkeys(found))


def render(body: str, *, title: str = "", tags: tuple[str, ...] = (), private: bool = False) -> str:
    """A note's file text from its parts; front matter only where there is something to say."""
    settings: dict[str, object] = {}
    if title:
        settings["title"] = title
    if tags:
        settings["tags"] = list(tags)
    if private:
        settings["private"] = True
    body = body.rstrip("\n") + "\n"
    if not settings:
        # A body that begins like front matter would become front matter.
        return "\n" + body if _FRONT_MATTER.match(body) else body
    head = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False, default_flow_style=None)
    return f"---\n{head}---\n\n{body}"


def _split(text: str) -> tuple[dict[str, object], str, str]:
    """Front matter, body, and the front matter's source where it could not be understood."""
    match = _FRONT_MATTER.match(text)
    if not match:  # a line of dashes may just be a rule; what would be settings ends at the first empty line
        unclosed = _UNCLOSED.match(text)
        return {}, text, unclosed[1] if unclosed else ""
    if len(match[1]) > FRONT_MATTER_LIMIT:
        return {}, text, match[1]
    try:
        loaded = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}, text, match[1]
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        return {}, text, match[1]
    return {str(key).lower(): value for key, value in loaded.items()}, text[match.end() :].lstrip("\r\n"), ""


def _scalar(value: object) -> str:
    """A plain value as text; nothing of a nested one, for aliases can make its text larger than any memory."""
    return "" if value is None or isinstance(value, _NESTED) else str(value)


def _tags(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else re.split(r"[,\s]+", value) if isinstance(value, str) else []
    words = (_scalar(item).lstrip("#") for item in items[:50])
    return tuple(dict.fromkeys(one_line(word, 40) for word in words if word.strip("# ")))


def _is_private(value: object, broken: str) -> bool:
    if value is None:
        return bool(broken and _PRIVATE_WORD.search(broken))
    return isinstance(value, _NESTED) or str(value).strip().casefold() not in {"false", "no", "off", "0", "", "нет"}


def _first_heading(body: str) -> str:
    match = _HEADING.search(body)
    # Closing marks are taken off here: a pattern that allows for them can take forever over a line of blanks.
    return one_line(match[1].rstrip().rstrip("#"), 120) if match else ""


def _title_from(name: str) -> str:
    return one_line(PurePosixPath(name).stem.replace("-", " ").replace("_", " "), 120)
