"""What a turn tells the screens: one stream of values, whoever is listening.

The agent's stream of a turn is: ``Started``, then ``Reading``*, ``Wrote``* and ``Said``* mixed, then exactly one of
``Finished`` or ``Stopped``. An ``Asked`` may come just before ``Finished``: it never blocks; unanswered, it stays low.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.values import Ask, Node, Passage
from backends.types import Step


@dataclass(frozen=True, slots=True)
class Started:
    """The person's message (``user``) is committed; the replies that follow will be children of it."""

    user: Node
    prompt_tokens: int
    left_out: int
    """Oldest messages that did not fit into the context and are not part of the prompt."""
    passages: tuple[Passage, ...] = ()
    """Recalled passages in the prompt, in citation order [1], [2] …"""


@dataclass(frozen=True, slots=True)
class Reading:
    """Prefill progress in tokens."""

    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class Wrote:
    """One token of continuation ``step.seq``."""

    step: Step


@dataclass(frozen=True, slots=True)
class Said:
    """One line for the person (a host was restarted, a tier dropped, turns left out)."""

    text: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The policy proposes a closer look at a reply that is being finished. Answer with ``Session.answer``."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class Finished:
    """All replies are committed (several when continuations were asked for)."""

    replies: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """The turn ended early; ``replies`` hold the partial text, committed too. ``problem`` is empty on a stop."""

    replies: tuple[Node, ...]
    problem: str = ""


TurnEvent = Started | Reading | Wrote | Said | Asked | Finished | Stopped
