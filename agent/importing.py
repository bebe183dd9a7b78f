"""Reading a conversation from a file: fovea's own JSON export, or markdown with a heading for every message.

The file is foreign data: everything is checked, nothing in it is run or trusted, and it is added in one transaction or
not at all.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.errors import ConversationFileError
from agent.export import FORMAT, VERSION
from agent.text import new_session_id, title_of
from agent.tree import Tree
from agent.values import Status
from backends.types import Alternative, Step, Why

LIMIT_BYTES = 64_000_000
CLOCKS_DIFFER_S = 86_400.0
"""How far ahead of ours the clock of the machine that wrote a file may be."""
HEADING = re.compile(r"^#{1,3}[ \t]+(.+?)[ \t]*$", re.MULTILINE)
PERSON = re.compile(r"^(you|user|human|person|me|ich|du|вы|я)\b", re.IGNORECASE)
OTHER = re.compile(r"^(fovea|assistant|ai|model|edited reply|reply|chatgpt|claude|gemini|llama)\b", re.IGNORECASE)
PROVENANCE = re.compile(r"\n+> [^\n]*\s*\Z")


Number = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What SQLite can hold."""


class StepRow(BaseModel):
    """One token as exported."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
    token: Number
    text: str
    tier: str
    p: float
    entropy: float
    margin: float
    density: float
    why: Literal["spoke", "confirmed", "overruled", "verified"] = "spoke"
    alternatives: list[dict[str, Any]] = []


class NodeRow(BaseModel):
    """One message as exported."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
    id: Number
    parent: Number | None
    role: Literal["user", "assistant", "summary"]
    text: str
    author: str = "imported"
    created: Any = None
    """Seconds since 1970; what cannot be one counts as unknown."""
    model: str = ""
    tier: str = ""
    bookmark: str = ""
    steps: list[StepRow] = []


class FileRow(BaseModel):
    """The whole export."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)
    format: Literal["fovea-conversation"]
    version: Number
    title: str = ""
    private: bool = False
    head: Number | None = None
    nodes: list[NodeRow]


def import_file(tree: Tree, path: Path, told: Callable[[str], None] = lambda _: None) -> str:
    """Add the conversation in ``path``; returns the id of the new conversation.

    Args:
        tree: Where to.
        path: The file.
        told: Given one line where dates in the file could not be true and the time of the import stands for them.

    Raises:
        ConversationFileError: The file is not one of the two forms; nothing was added.
    """
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise ConversationFileError(f"{path} is larger than {LIMIT_BYTES // 1_000_000} MB")
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConversationFileError(f"{path} is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConversationFileError(f"{path} cannot be read: {error.strerror or error}") from error
    if text.lstrip().startswith("{"):
        return _from_json(tree, path, text, told)
    return _from_markdown(tree, path, text)


def _from_json(tree: Tree, path: Path, text: str, told: Callable[[str], None]) -> str:
    try:
        content = FileRow.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or FORMAT
        raise ConversationFileError(f"{path} is not a conversation of fovea: {where}: {problem['msg']}") from error
    if content.version > VERSION:
        raise ConversationFileError(f"{path} was written by a newer fovea; update fovea to read it")
    if not content.nodes:
        raise ConversationFileError(f"{path} holds no messages")
    session, new, now = new_session_id(), dict[int, int](), time.time()
    undated = sum(not _possible(row.created, now) for row in content.nodes)
    with tree.transaction():
        for row in content.nodes:
            if row.parent is not None and row.parent not in new:
                raise ConversationFileError(f"{path}: message {row.id} follows {row.parent}, which is not in the file")
            parent = None if row.parent is None else new[row.parent]
            node = tree.add(
                session,
                parent,
                row.role,
                row.text,
                author=row.author or "imported",
                model=row.model,
                tier=row.tier,
                steps=[_step(step, path) for step in row.steps],
                created=float(row.created) if _possible(row.created, now) else now,
            )
            new[row.id] = node.id
            if row.bookmark:
                tree.bookmark(node.id, row.bookmark)
        last = max(new.values())
        tree.shelf.set_head(session, new.get(content.head, last) if content.head is not None else last)
        if content.title:
            tree.shelf.rename(session, content.title)
        if content.private:
            tree.shelf.set_private(session, True)
    if undated:
        of = "1 message has" if undated == 1 else f"{undated} messages have"
        told(f"{of} no possible date in {path}; the time of this import stands for it")
    return session


def _possible(created: Any, now: float) -> bool:
    """Whether a message can have been written then: a number of seconds after 1970 and not in the future."""
    number = isinstance(created, int | float) and not isinstance(created, bool)
    return number and 0 < created <= now + CLOCKS_DIFFER_S


def _step(row: StepRow, path: Path) -> Step:
    try:
        others = tuple(
            Alternative(int(a["token"]), str(a["text"]), float(a["p"]), str(a["tier"])) for a in row.alternatives
        )
        if not all(math.isfinite(other.p) for other in others):
            raise ValueError("a probability is no number")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ConversationFileError(f"{path} is not a conversation of fovea: alternatives: {error}") from error
    return Step(
        row.token, row.text, row.tier, row.p, row.entropy, row.margin, row.density, Why(row.why), alternatives=others
    )


def _from_markdown(tree: Tree, path: Path, text: str) -> str:
    messages, title = _sections(text)
    if not any(role == "user" for role, _ in messages):
        raise ConversationFileError(
            f"{path} has no headings such as `## You` and `## Assistant`; fovea cannot tell who said what"
        )
    session, parent = new_session_id(), None
    with tree.transaction():
        for role, content in messages:
            author = "person" if role == "user" else "imported"
            parent = tree.add(session, parent, role, content, author=author, status=Status.DONE).id
        tree.shelf.set_head(session, parent)
        if title:
            tree.shelf.rename(session, title_of(title))
    return session


def _sections(text: str) -> tuple[list[tuple[str, str]], str]:
    """(role and text of every message, title)."""
    messages: list[tuple[str, str]] = []
    title, role, start = "", "", 0
    for match in HEADING.finditer(text):
        name = match.group(1)
        found = "user" if PERSON.match(name) else "assistant" if OTHER.match(name) else ""
        # fovea's own export ends with its log, which nobody said.
        ending = name in ("Decisions",) or name.startswith("Summary of the messages")
        if not found and not ending:
            if not role and not title:
                title = name
            continue
        _keep(messages, role, text[start : match.start()])
        role, start = found, match.end()
    _keep(messages, role, text[start:])
    return messages, title


def _keep(messages: list[tuple[str, str]], role: str, content: str) -> None:
    if role == "assistant":
        content = PROVENANCE.sub("", content)
    if role and content.strip():
        messages.append((role, content.strip()))
