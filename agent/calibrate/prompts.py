"""What a calibration asks: a file of prompts, or the person's own past messages (they never leave the machine)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from agent.context import messages_of
from agent.errors import SettingsError
from agent.tree import Tree
from backends.types import Message

ENOUGH = 12
"""Prompts below this cannot be split into fitting, choosing and holding out."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to reply to."""

    messages: tuple[Message, ...]
    group: str
    """Prompts of one group (one document, one conversation) are never split between fitting and holding out."""
    answer: str = ""
    """What a right reply contains, where that is known."""
    kind: str = ""
    begin: str = ""
    """How the reply begins."""


def from_file(path: Path, system: str = "") -> list[Prompt]:
    """Prompts of a text file (one a line) or of JSON lines.

    A JSON line is an object with ``prompt`` and, if wanted, ``answer``, ``begin``, ``context``, ``group`` and ``kind``.

    Raises:
        SettingsError: the file cannot be read, or a line is not a prompt.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as a list of prompts: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        if path.suffix == ".jsonl":
            found.append(_of_json(path, number, line, system))
        else:
            found.append(Prompt(_messages(line.strip(), system), f"{number}"))
    if not found:
        raise SettingsError(f"{path} holds no prompts")
    return found


def _of_json(path: Path, number: int, line: str, system: str) -> Prompt:
    try:
        raw: Any = json.loads(line)
        text = str(raw["prompt"])
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f'{path}, line {number}: not a JSON object with a "prompt"') from error
    if raw.get("context"):
        text = f"{raw['context']}\n\n{text}"
    group = str(raw.get("group", number))
    answer, kind, begin = (str(raw.get(key, "")) for key in ("answer", "kind", "begin"))
    return Prompt(_messages(text, system), group, answer, kind, begin)


def _messages(text: str, system: str) -> tuple[Message, ...]:
    user = Message("user", text)
    return (Message("system", system), user) if system else (user,)


def from_conversations(tree: Tree, system: str = "", most: int = 80) -> list[Prompt]:
    """The person's latest messages with what stood before them, the latest conversations first.

    Of one conversation not more than a quarter of them: its prompts are never split, and one that holds nearly all
    of them would leave nothing to judge by.
    """
    found: list[Prompt] = []
    for info in tree.shelf.sessions():
        nodes = tree.all_nodes(info.id)
        asked = [node for node in nodes if node.role == "user" and node.text.strip() and not node.deleted]
        for node in asked[::-1][: max(most // 4, 1)]:
            if len(found) == most:
                return found
            path = [one for one in tree.path(node.id, steps=False) if one.role != "summary"]
            found.append(Prompt(messages_of(system, path), info.id))
    return found


class Grouped(Protocol):
    """What belongs to a document or a conversation."""

    @property
    def group(self) -> str:
        """Its name."""


G = TypeVar("G", bound=Grouped)


def split(prompts: Sequence[G], shares: Sequence[float] = (0.5, 0.25, 0.25)) -> list[list[G]]:
    """Parts of about these shares; the same prompts always fall into the same parts, and groups stay together."""
    import hashlib

    def lot(group: str) -> str:
        return hashlib.sha256(group.encode("utf-8", "replace")).hexdigest()

    groups: dict[str, list[G]] = {}
    for prompt in sorted(prompts, key=lambda prompt: lot(prompt.group)):
        groups.setdefault(prompt.group, []).append(prompt)
    parts: list[list[G]] = [[] for _ in shares]
    for members in groups.values():
        # To the part that lacks most: exact shares even for few groups.
        lacking = [share * len(prompts) - len(part) for share, part in zip(shares, parts, strict=True)]
        parts[lacking.index(max(lacking))] += members
    return parts
