"""The values of the agent room: nodes of the conversation tree, asks, picks, passages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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
    """``system``, ``user`` or ``assistant``."""
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
