"""The values of the agent room: nodes of the conversation tree, asks, picks, passages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Any

from backends.types import Step, Timing, Usage


class Policy(StrEnum):
    """Who decides an escalation."""

    AUTO = "auto"
    ASK = "ask"
    MANUAL = "manual"
    OFF = "off"


class Scope(StrEnum):
    """What an escalation covers."""

    TURN = "turn"
    SPAN = "span"


class Status(StrEnum):
    """State of a node."""

    OPEN = "open"
    """Being written; after a crash this is a partial reply that can be resumed."""
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Node:
    """One message of the conversation tree."""

    id: int
    session: str
    parent: int | None
    role: str
    """``user``, ``assistant`` or ``summary`` (what a compaction left of the messages above it)."""
    text: str
    status: Status
    author: str
    """``person``, a tier name, ``edited`` (the person changed a reply) or ``imported``."""
    created: float
    """Unix time, seconds."""
    model: str = ""
    tier: str = ""
    steps: tuple[Step, ...] = ()
    """Per-token provenance; empty for messages of the person."""
    usage: Usage | None = None
    timing: Timing | None = None
    bookmark: str = ""
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One row of the list of conversations."""

    id: str
    title: str
    created: float
    updated: float
    messages: int
    archived: bool = False
    private: bool = False
    """Never recalled in another conversation."""


CONVERSATION = "conversation"
"""Kind of a passage from a past conversation; its ``uri`` is the conversation's id."""


@dataclass(frozen=True, slots=True)
class Passage:
    """One recalled quotation, as shown to the person and packed into the prompt."""

    number: int
    source: str
    """Readable name: file name, note title, conversation title."""
    uri: str
    text: str
    start: int
    end: int
    score: float
    why: str
    page: int | None = None
    heading: str = ""
    enabled: bool = True
    kind: str = ""
    """What it is from: ``file``, ``url``, ``note``, ``lesson`` or ``conversation``; empty where nobody said."""
    line: int = 0
    """Line of the document's text it begins in, from 1; 0 where that means nothing."""
    root: str = ""
    """Folder that ``uri`` counts from, where it is not absolute."""

    @property
    def place(self) -> str:
        """Where it stands, in the form that editors open: ``path:line``, or ``path, page 3``. Foreign text."""
        if self.kind == "conversation":
            return f"conversation {self.uri}"
        if self.kind == "url":
            return self.uri
        name = self.uri.partition("#")[0] if self.kind == "lesson" else self.uri
        path = str(PurePath(self.root) / name) if self.root else name
        if self.page:
            return f"{path}, page {self.page}"
        return f"{path}:{self.line}" if self.line else path


@dataclass(frozen=True, slots=True)
class Ask:
    """A proposed closer look, waiting for the person. Serialisable; unanswered it stays at the low tier."""

    id: int
    node: int
    """The reply in question."""
    scope: Scope
    tier: str
    """The tier that would look closer."""
    why: str
    """The signals in words."""
    start: int
    end: int
    """Token span of the reply (the whole reply for ``Scope.TURN``)."""
    seconds: float
    """Predicted from this machine's measured speeds."""
    memory: int
    """Predicted extra bytes (0 when the tier is loaded)."""
    spent: float
    """Share of tokens spent at the high tier in this session so far (0..1)."""
    budget: float
    """The share the person is willing to spend (0..1)."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the provenance log."""

    id: int
    session: str
    node: int | None
    at: float
    kind: str
    """``auto``, ``approved``, ``refused``, ``asked``, ``pick``, ``manual``, ``lost-tier``, ``setting``."""
    text: str
    predicted_s: float | None = None
    actual_s: float | None = None


@dataclass(frozen=True, slots=True)
class Pick:
    """A stored choice among continuations, usable as a label."""

    id: int
    session: str
    chosen: int
    at: float
    blind: bool
    """Whether the tiers were hidden from the person until after the choice."""
    candidates: tuple[Mapping[str, Any], ...]
    """For each candidate: ``node``, ``tier``, ``author`` and ``features`` (signal name -> value)."""


@dataclass(frozen=True, slots=True)
class PickStats:
    """How often a tier was preferred where it stood beside another one."""

    tier: str
    offered: int
    won: int

    def interval(self) -> tuple[float, float]:
        """95 % Wilson score interval of the share of wins (0, 1 when nothing was offered)."""
        if not self.offered:
            return 0.0, 1.0
        z, n, p = 1.959964, self.offered, self.won / self.offered
        centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (centre - spread) / (1 + z * z / n)), min(1.0, (centre + spread) / (1 + z * z / n))


@dataclass(frozen=True, slots=True)
class Spending:
    """What a conversation has spent at high tiers."""

    high: int
    """Tokens chosen, confirmed or verified above the tier that speaks."""
    all: int
    """Tokens written in all."""
    high_turns: int
    """Replies written wholly above the tier that speaks."""
    turns: int
    budget: float
    """The share the person is willing to spend (0..1)."""

    @property
    def share(self) -> float:
        """Share of tokens spent at high tiers (0..1)."""
        return self.high / self.all if self.all else 0.0


@dataclass(frozen=True, slots=True)
class Speed:
    """Measured tokens per second of a tier on this machine; 0 where nothing was measured yet."""

    prefill_tok_s: float = 0.0
    decode_tok_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Meter:
    """How full the context is, in tokens."""

    used: int
    """The prompt as it would be sent now, with the draft."""
    available: int
    """The whole context."""
    reserved: int
    """Kept free for the reply."""
    left_out: int = 0
    """Oldest messages that would not fit."""
    estimated: bool = False
    """True before a model is loaded: counted from characters."""
