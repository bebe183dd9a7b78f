"""The line above a reply: tier first, then what it cost. Pure: values in, styled text out."""

from __future__ import annotations

from textual.content import Content

from agent.values import Node, Status
from backends.types import EIGHT, SIXTEEN, Step, Why
from tui.app.safe import one_line
from tui.app.words import percent, plural

_QUIET = "$quiet"
_STATUS = {
    Status.OPEN: "unfinished, c continues it",
    Status.STOPPED: "stopped, c continues it",
    Status.FAILED: "broken off, c continues it",
    Status.DONE: "",
}


def tier_colour(tier: str) -> str:
    """The theme variable of a tier."""
    return {EIGHT: "$tier-mid", SIXTEEN: "$tier-high"}.get(tier, "$tier-low")


def tier_label(tier: str) -> Content:
    """A tier's name in its colour."""
    return Content.styled(one_line(tier, 24) or "reply", f"bold {tier_colour(tier)}")


def high_share(steps: tuple[Step, ...]) -> float:
    """Part of the tokens that a higher tier chose, confirmed or verified (0..1)."""
    return sum(step.why is not Why.SPOKE for step in steps) / len(steps) if steps else 0.0


def _line(label: Content, facts: list[str]) -> Content:
    told = [fact for fact in facts if fact]
    return Content.assemble(label, ("  " + " · ".join(told), _QUIET)) if told else label


def finished(node: Node, *, version: tuple[int, int] = (1, 1), letter: str = "", blind: bool = False) -> Content:
    """The caption of a committed reply.

    Args:
        node: the reply.
        version: its number among its siblings, and how many there are.
        letter: its name in a comparison (A, B, …).
        blind: hide everything that would betray the tier.
    """
    if blind:
        return Content.styled(f" {letter} ", "bold reverse")
    tokens = node.usage.completion_tokens if node.usage else len(node.steps)
    speed = node.timing.tok_s(tokens) if node.timing and tokens else 0.0
    high = high_share(node.steps)
    facts = [
        "edited by you" if node.author == "edited" else "imported" if node.author == "imported" and node.tier else "",
        f"{speed:.0f} tok/s" if speed else "",
        plural(tokens, "token") if tokens else "",
        f"{percent(high)} looked at closer" if high else "",
        f"version {version[0]} of {version[1]}" if version[1] > 1 else "",
        _STATUS[node.status],
        f"★ {one_line(node.bookmark, 30)}" if node.bookmark else "",
    ]
    label = tier_label(node.tier or node.author)
    if letter:
        label = Content.assemble((f" {letter} ", "bold reverse"), " ", label)
    return _line(label, facts)


def reading(tier: str, done: int, total: int, cached: int, letter: str = "") -> Content:
    """The caption while the prompt is read."""
    part = done / total if total else 0.0
    bar = "━" * round(part * 12) + "─" * (12 - round(part * 12))
    known = f", {cached:,} known already" if cached else ""
    return _line(_named(tier, letter), [f"reading {bar} {done:,} of {total:,} tokens{known}"])


def waiting(tier: str, words: str, letter: str = "") -> Content:
    """The caption before anything is read or written."""
    return _line(_named(tier, letter), [words])


def writing(tier: str, tokens: int, tok_s: float, high: float, letter: str = "") -> Content:
    """The caption while tokens come."""
    facts = ["writing", f"{tok_s:.0f} tok/s" if tok_s else "", plural(tokens, "token")]
    return _line(_named(tier, letter), [*facts, f"{percent(high)} looked at closer" if high else ""])


def _named(tier: str, letter: str) -> Content:
    label = tier_label(tier)
    return Content.assemble((f" {letter} ", "bold reverse"), " ", label) if letter else label
