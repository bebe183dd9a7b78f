"""Versions of a reply: closer looks, resumed and edited replies, picks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from agent.desk import Desk, State
from agent.errors import TurnError
from agent.events import TurnEvent
from agent.oversight import Plan
from agent.turn import Spec
from agent.values import Ask, Node, Scope, Status
from agent.writing import EDITED, Stage
from backends.types import Step

Run = Callable[[Spec], Iterator[TurnEvent]]


def look_closer(  # noqa: PLR0913  # the contract of the screens, plus what it works on
    desk: Desk,
    state: State,
    run: Run,
    reply: Node,
    scope: Scope,
    span: tuple[int, int | None],
    tier: str,
    ask: Ask | int | None,
    *,
    move_head: bool = True,
) -> Iterator[TurnEvent]:
    """Stream a closer look at ``reply``; what can be refused is refused before anything is written."""
    ladder = desk.ladder()
    own = reply.tier if reply.tier in ladder.loaded() else desk.speaking_tier(ladder)
    wanted = desk.usable(ladder, tier) if tier else desk.next_higher(ladder, own)
    if not wanted:
        only = "only one tier is loaded" if len(ladder.loaded()) == 1 else f"{own} is the highest tier"
        raise TurnError(f"There is nothing to look closer with: {only}")
    if desk.tree.read_only:
        raise TurnError(f"Nothing can be saved: {desk.tree.why_read_only}")
    speaking = desk.speaking_tier(ladder)
    situation = desk.situation(state, ladder, speaking)
    longest = desk.settings.sampling.max_tokens
    if scope is Scope.TURN:
        stages: Sequence[Stage] = [Stage(desk.overseer.closer(situation, wanted), longest)]
        kept: Sequence[Step] = ()
    elif ladder.remote(wanted):
        raise TurnError(f"{wanted} is a server, which can write the whole reply again but no part of it")
    else:
        steps = steps_of(desk, reply)
        start, end = span[0], len(steps) if span[1] is None else span[1]
        if not 0 <= start < end <= len(steps):
            raise TurnError(f"The span {start}..{end} is not in the reply, which has {len(steps)} tokens")
        start = _unit_start(steps, start)
        kept = steps[:start]
        if foreign(desk, reply):
            kept = _typed(desk, _text(kept))
        rest = max(longest, len(steps)) - end
        stages = [Stage(Plan(wanted), end - start), Stage(Plan(speaking), max(rest, 1))]
    kind = "approved" if ask is not None else "manual"
    what = "the whole reply" if scope is Scope.TURN else _tokens(*span)
    predicted = ask.seconds if isinstance(ask, Ask) else None
    decision = desk.tree.ledger.note(
        state.id, kind, f"looked closer at {what} with {wanted}", node=reply.id, predicted_s=predicted
    )
    yield from run(
        Spec(
            reply.parent,
            stages=stages,
            kept=kept,
            recall=False,
            review=False,
            decision=decision,
            move_head=move_head,
        )
    )


def span_around(steps: Sequence[Step], at: int) -> tuple[int, int]:
    """The span a repair rewrites: from a doubtful token to the end of its sentence (at most 32 tokens)."""
    for end in range(at, min(at + 32, len(steps))):
        if steps[end].text.rstrip().endswith((".", "!", "?", ":")) or "\n" in steps[end].text:
            return at, end + 1
    return at, min(at + 32, len(steps))


def resume_spec(desk: Desk, reply: Node) -> Spec:
    """Go on with a partial reply in its own node; with that of another model in a version beside it."""
    if reply.status is Status.DONE:
        raise TurnError("The reply is complete; regenerate it, or edit it and continue from there")
    ladder = desk.ladder()
    tier = reply.tier if reply.tier in ladder.loaded() else desk.speaking_tier(ladder)
    if foreign(desk, reply):
        kept = _typed(desk, reply.text)
        return Spec(reply.parent, tier=tier, kept=kept, recall=False, log=_handed_over(desk, reply))
    return Spec(reply.parent, tier=tier, kept=steps_of(desk, reply), resume=reply.id, recall=False)


def continue_spec(desk: Desk, reply: Node, text: str) -> Spec:
    """A version of ``reply`` that starts with ``text``; the tokens both begin with keep their provenance."""
    if not text:
        raise TurnError("The text to continue from is empty; regenerate the reply instead")
    desk.ladder()
    kept: list[Step] = []
    at = 0
    other = foreign(desk, reply)
    for unit in [] if other else _units(reply.steps):
        said = _text(unit)
        if not said or not text.startswith(said, at):
            break
        kept += unit
        at += len(said)
    return Spec(
        reply.parent,
        kept=[*kept, *_typed(desk, text[at:])],
        author=EDITED,
        recall=False,
        review=False,
        log=_handed_over(desk, reply) if other else "",
    )


def foreign(desk: Desk, reply: Node) -> bool:
    """Whether the tokens of a reply mean other words to the model in use (another model's), or none (a server's)."""
    return bool(reply.steps) and (reply.model != desk.model or _by_server(reply))


def _by_server(reply: Node) -> bool:
    return any(step.token < 0 for step in reply.steps)


def refuse_foreign(desk: Desk, reply: Node) -> None:
    """Raise TurnError where a reply's tokens would have to be judged by a model that has others."""
    if foreign(desk, reply):
        raise TurnError(
            f"The reply was written by {_writer(reply)}, and its tokens mean nothing to {desk.model}: "
            f"{'' if _by_server(reply) else 'look with the model that wrote it, or '}let this one write the reply again"
        )


def _handed_over(desk: Desk, reply: Node) -> str:
    return f"{desk.model} went on with a reply of {_writer(reply)}"


def _writer(reply: Node) -> str:
    return f"the server of its {reply.tier} tier" if _by_server(reply) else reply.model or "another model"


def _text(steps: Sequence[Step]) -> str:
    return "".join(step.text for step in steps)


def steps_of(desk: Desk, reply: Node) -> list[Step]:
    """The tokens of a reply, for a model they belong to (see ``foreign``).

    Of text without provenance (typed, imported) they are made by the engine.
    """
    if reply.steps:
        return list(reply.steps)
    desk.ladder()
    return _typed(desk, reply.text)


def _typed(desk: Desk, text: str) -> list[Step]:
    """Steps for text a person wrote, in units of words: the first token of a unit carries its text.

    Tokens alone do not say where they end. Where the words give other tokens than the whole text, it is one unit.
    """
    words = re.findall(r"\s*\S+|\s+", text)
    units = [(word, desk.engine.tokenize(word)) for word in words]
    whole = desk.engine.tokenize(text) if text else []
    if [token for _, tokens in units for token in tokens] != whole:
        units = [(text, whole)]
    return [
        Step(token, word if at == 0 else "", EDITED, p=1.0, entropy=0.0, margin=0.0, density=0.0)
        for word, tokens in units
        for at, token in enumerate(tokens)
    ]


def _units(steps: Sequence[Step]) -> list[list[Step]]:
    """Steps whose text belongs together: a typed word, or the tokens that make up one character."""
    units: list[list[Step]] = []
    halves: list[Step] = []
    for step in steps:
        if step.tier == EDITED:
            if step.text or not units or units[-1][-1].tier != EDITED:
                units.append([step])
            else:
                units[-1].append(step)
            continue
        halves.append(step)
        if step.text:
            units.append(halves)
            halves = []
    return [*units, halves] if halves else units


def _unit_start(steps: Sequence[Step], at: int) -> int:
    """The first step of the unit that step ``at`` belongs to."""
    first = 0
    for unit in _units(steps):
        if first + len(unit) > at:
            return first
        first += len(unit)
    return first


def pick(desk: Desk, state: State, chosen: Node, among: Sequence[Node], *, blind: bool) -> None:
    """Store a choice with the features of every candidate."""
    if chosen.id not in {node.id for node in among}:
        raise TurnError("The chosen reply is not one of the continuations")
    candidates = [
        {"node": node.id, "tier": node.tier, "author": node.author, "features": features(node)} for node in among
    ]
    with desk.tree.transaction():
        desk.tree.ledger.add_pick(state.id, chosen.id, candidates, blind=blind)
        others = ", ".join(node.tier or node.author for node in among if node.id != chosen.id) or "nothing else"
        how = "blind, " if blind else ""
        desk.tree.ledger.note(
            state.id, "pick", f"picked {chosen.tier or chosen.author} ({how}beside {others})", node=chosen.id
        )


def features(node: Node) -> dict[str, float]:
    """Signals of a whole reply, as a calibration uses them: means and extremes over its tokens."""
    if not node.steps:
        return {"tokens": 0.0}
    margins = sorted(step.margin for step in node.steps)
    return {
        "tokens": float(len(node.steps)),
        "margin_mean": fmean(margins),
        "margin_p10": margins[len(margins) // 10],
        "margin_min": margins[0],
        "entropy_mean": fmean(step.entropy for step in node.steps),
        "p_mean": fmean(step.p for step in node.steps),
        "density_mean": fmean(step.density for step in node.steps),
        "density_max": max(step.density for step in node.steps),
    }


def _tokens(start: int, end: int | None) -> str:
    """A span in words, counted from one as people do."""
    if end is None:
        return f"everything from token {start + 1} on"
    return f"token {end}" if end == start + 1 else f"tokens {start + 1} to {end}"
