"""Density on the screen: which mark and tint a token gets, the legend in words, and why the gate fired.

Everything said by a tint is said by a sign as well, so that the view reads without colour. Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.types import Alternative, Judgement, Step, Why
from tui.app.safe import token_name
from tui.app.words import percent

LEVELS = (0.1, 0.25, 0.5)
"""Densities from which a token is somewhat dense, dense, very dense."""
SIGNS = ("", "▂", "▅", "█")
"""Written before a token of each level: a bar that grows with density."""
AFTER = {Why.CONFIRMED: "✓", Why.OVERRULED: "≠", Why.VERIFIED: "", Why.SPOKE: ""}
"""Written after a token that a higher tier looked at."""
MANY = 1 / 3
"""Share of confirmed tokens from which they are only underlined."""


def level(density: float) -> int:
    """0 (plain) to 3 (very dense)."""
    return sum(density >= limit for limit in LEVELS)


@dataclass(frozen=True, slots=True)
class Piece:
    """One drawn run of a line. ``token`` is the index of its step, ``style`` a component class of the view."""

    token: int
    text: str
    style: str


def style_name(step: Step) -> str:
    """The look of a token: density gives the background, a higher tier's word the weight and underline."""
    weight = {Why.OVERRULED: "-overruled", Why.CONFIRMED: "-confirmed", Why.VERIFIED: "-verified"}.get(step.why, "")
    return f"tokens--dense-{level(step.density)}{weight}"


STYLES = frozenset(
    f"tokens--dense-{number}{weight}" for number in range(4) for weight in ("", "-confirmed", "-overruled", "-verified")
)


def pieces(steps: tuple[Step, ...], texts: list[str]) -> list[Piece]:
    """The tokens with their signs.

    Args:
        steps: the reply.
        texts: the harmless text of each step.
    """
    asked = sum(step.why is Why.CONFIRMED for step in steps)
    # Where the higher tier looked at nearly everything, a sign after every word would only hide the text.
    signs = AFTER if asked <= len(steps) * MANY else {**AFTER, Why.CONFIRMED: ""}
    drawn: list[Piece] = []
    for index, (step, text) in enumerate(zip(steps, texts, strict=True)):
        look = style_name(step)
        before, after = SIGNS[level(step.density)], signs[step.why]
        body = text.lstrip(" ")
        if indent := text[: len(text) - len(body)]:
            drawn.append(Piece(index, indent, "tokens--plain"))
        if before:
            drawn.append(Piece(index, before, "tokens--sign"))
        if body or (before or after):
            drawn.append(Piece(index, body, look))
        if after:
            drawn.append(Piece(index, after, "tokens--sign"))
    return drawn


def legend(high: str = "the high tier") -> list[tuple[str, str]]:
    """Sign and meaning, in words."""
    return [
        (SIGNS[1], f"a little dense: {high} may well write another word (10 to 25 %)"),
        (SIGNS[2], "dense (25 to 50 %)"),
        (SIGNS[3], "very dense (over 50 %)"),
        (AFTER[Why.CONFIRMED], f"or underlined: {high} was asked and agreed"),
        (AFTER[Why.OVERRULED], f"{high} was asked and wrote this instead"),
    ]


def explain(step: Step) -> list[str]:
    """Why this token looks as it does, in sentences."""
    said = {
        Why.SPOKE: f"{step.tier} wrote it on its own.",
        Why.CONFIRMED: f"The gate fired and {step.tier} chose the same token.",
        Why.OVERRULED: f"The gate fired and {step.tier} chose this one instead.",
        Why.VERIFIED: f"Drafted low, read and accepted by {step.tier}.",
    }[step.why]
    lines = [said, f"Density {percent(step.density)}: the chance that the high tier would write another token here."]
    ranked = _at_speaking_tier(step)
    if len(ranked) > 1:
        first, second = token_name(ranked[0].text), token_name(ranked[1].text)
        near = "nearly tied" if step.margin < 0.1 else "close" if step.margin < 0.7 else "clearly apart"
        lines.append(f"{first} and {second} are {near}: margin {step.margin:.2f} nats.")
    else:
        lines.append(f"Margin to the second choice {step.margin:.2f} nats.")
    unsure = "sure of itself" if step.entropy < 0.5 else "undecided" if step.entropy < 2 else "unsure among many"
    lines.append(f"The speaking tier was {unsure}: entropy {step.entropy:.2f} nats.")
    return lines


def _at_speaking_tier(step: Step) -> list[Alternative]:
    if not step.alternatives:
        return []
    tier = step.alternatives[0].tier
    return sorted((a for a in step.alternatives if a.tier == tier), key=lambda a: -a.p)


def alternatives(step: Step) -> dict[str, list[Alternative]]:
    """The alternatives of a token by tier, likeliest first, in the order the tiers were asked."""
    tiers: dict[str, list[Alternative]] = {}
    for other in step.alternatives:
        tiers.setdefault(other.tier, []).append(other)
    return {tier: sorted(found, key=lambda a: -a.p) for tier, found in tiers.items()}


def judged(tier: str, judgement: Judgement) -> list[Alternative]:
    """What a tier that read the reply afterwards makes of one token: its own choice and the one written."""
    own = Alternative(judgement.best, judgement.best_text, judgement.best_p, tier)
    if judgement.best == judgement.token:
        return [own]
    return [own, Alternative(judgement.token, judgement.text, judgement.p, tier)]
