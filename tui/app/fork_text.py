"""How a fork reads: a line in the list, and both ways of going on as a word diff. Pure: values in, styled text out."""

from __future__ import annotations

from textual.content import Content

from backends.types import ForkMap, Judgement
from tui.app import diff
from tui.app.captions import tier_label
from tui.app.safe import harmless, one_line, token_name
from tui.app.words import percent, plural

CONTEXT = 60
"""Characters of the reply shown before a fork."""
Parts = list[tuple[str, str] | str]


def row(position: int, fork: Judgement) -> Content:
    """One line of the list: how much it matters, where, what was written and what the tier would have written."""
    weight = "█" if fork.margin > 2 else "▅" if fork.margin > 0.7 else "▂"
    return Content.assemble(
        (f"{weight} ", "$tier-high"),
        (f"{position + 1:>4}  ", "$quiet"),
        token_name(fork.text),
        (" → ", "$quiet"),
        (token_name(fork.best_text), "bold $tier-high"),
        (f"  {percent(fork.best_p)}", "$quiet"),
    )


def before(found: ForkMap, position: int) -> str:
    """The reply up to a position."""
    return "".join(judgement.text for judgement in found.judgements[:position])


def after(found: ForkMap, text: str, position: int) -> str:
    """What another version says from a position on, up to which both are the same."""
    return text[len(before(found, position)) :]


def both_ways(found: ForkMap, position: int, tier: str, other: str | None, *, done: bool) -> Content:
    """The place of a fork, both choices, and both continuations where the other one is known.

    Args:
        found: the fork map.
        position: the fork.
        tier: who wrote the reply.
        other: the other way of going on; ``None`` while nobody asked for it.
        done: whether it is finished.
    """
    fork, start = found.judgements[position], before(found, position)
    own = "".join(judgement.text for judgement in found.judgements[position:])
    lead = one_line(start[-CONTEXT:])
    parts: list[Content] = []
    if lead:
        parts += [Content.styled(f"… {lead}" if len(start) > CONTEXT else lead, "$quiet"), Content("")]
    parts += [
        Content.assemble("written ", (token_name(fork.text), "bold reverse"), f" {percent(fork.p)}"),
        Content.assemble(
            tier_label(found.tier),
            " prefers ",
            (token_name(fork.best_text), "bold reverse $tier-high"),
            f" {percent(fork.best_p)}, margin {fork.margin:.2f} nats",
        ),
        Content(""),
    ]
    if other is None:
        hint = "Enter writes it the other way too; r lets the higher tier write the whole sentence."
        parts += [Content(harmless(own)), Content(""), Content.styled(hint, "$quiet")]
    else:
        parts += _compared(tier, own, found.tier, other, done=done)
    return Content("\n").join(parts)


def _compared(tier: str, left: str, high: str, right: str, *, done: bool) -> list[Content]:
    pieces = diff.compare(harmless(left), harmless(right))
    told = f"{plural(diff.changed(pieces), 'word differs', 'words differ')}" if done else "writing …"
    then: list[str | Content] = [", then by ", tier_label(tier)] if tier != high else []
    return [
        tier_label(tier),
        _marked([(piece.same, piece.left) for piece in pieces], "bold $error"),
        Content(""),
        Content.assemble("from here by ", tier_label(high), *then, (f"  {told}", "$quiet")),
        _marked([(piece.same, piece.right) for piece in pieces], "bold $success"),
    ]


def _marked(pieces: list[tuple[bool, str]], style: str) -> Content:
    """Words that differ in brackets and in colour, so that they stand out without colour too."""
    parts: Parts = []
    for same, text in pieces:
        if same:
            parts.append(text)
        elif text:
            words = text.rstrip()
            parts += [("[", "$quiet"), (words, style), ("]", "$quiet"), text[len(words) :]]
    return Content.assemble(*parts)
