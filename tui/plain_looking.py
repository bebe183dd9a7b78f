"""Slash commands of the line mode that show and change what a conversation works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import TurnError
from agent.values import Node, Policy
from tui.render.harmless import one_line

if TYPE_CHECKING:
    from tui.plain import LineMode


def tree(mode: LineMode, argument: str) -> None:
    """All branches, indented; * marks the path of the conversation."""
    nodes = mode.session.nodes()
    depth: dict[int | None, int] = {None: -1}
    on_path = {node.id for node in mode.session.path(steps=False)}
    below: dict[int | None, list[Node]] = {}
    for node in nodes:
        below.setdefault(node.parent, []).append(node)
    waiting = list(reversed(below.get(None, [])))
    while waiting:
        node = waiting.pop()
        depth[node.id] = depth[node.parent] + 1
        mark = "*" if node.id in on_path else " "
        label = f" #{one_line(node.bookmark, 20)}" if node.bookmark else ""
        indent = "  " * min(depth[node.id], 12)
        mode.line(f"{node.id:5d} {mark} {indent}{node.author}: {one_line(node.text, 60)}{label}")
        waiting += reversed(below.get(node.id, []))


def bookmark(mode: LineMode, argument: str) -> None:
    """Name the newest message."""
    if mode.session.head is None:
        raise TurnError("There is no message yet")
    mode.session.bookmark(mode.session.head, argument)


def memory(mode: LineMode, argument: str) -> None:
    """What was recalled for the last message, and the standing notes."""
    mine = next((node for node in reversed(mode.session.path(steps=False)) if node.role == "user"), None)
    for passage in mode.session.passages(mine.id) if mine else ():
        off = "" if passage.enabled else " (off)"
        mode.line(f"[{passage.number}] {passage.source}{off}: {one_line(passage.text, 200)}")
        mode.line(f"    {passage.place}  {passage.why}")
    notes = mode.fovea.memory.standing_notes(mode.fovea.settings.memory.notes_tokens)
    mode.line(notes.strip() or "[no standing notes]")


def note(mode: LineMode, argument: str) -> None:
    """Propose a note; it is written when agreed to."""
    proposal = mode.fovea.memory.propose_note(argument) if argument else None
    if proposal is None:
        mode.line("[nothing to note: it is there already, or no notes are kept]")
        return
    mode.line(proposal.diff)
    if mode.agreed("Write it?"):
        mode.line(f"[written to {mode.fovea.memory.accept_note(proposal)}]")
    else:
        mode.line("[not written]")


def ladder(mode: LineMode, argument: str) -> None:
    """The tiers, their sizes and speeds; loads or frees one."""
    what, _, name = argument.partition(" ")
    if argument and (what not in ("load", "free") or not name):
        raise TurnError("/ladder shows the tiers; /ladder free TIER and /ladder load TIER change what is in memory")
    status = mode.fovea.rest(_known(mode, name.strip()), what == "free") if argument else mode.fovea.ladder()
    for tier in status.tiers:
        speed = mode.session.speed(tier.name)
        decode = f"{speed.decode_tok_s:.0f} tok/s" if speed.decode_tok_s else "not measured yet"
        state = f"{tier.bytes / 1e6:,.0f} MB, {decode}" if tier.loaded else f"not loaded: {tier.reason}"
        mode.line(f"{tier.name:8} {state}")
    mode.line(f"[context {status.ctx} tokens, {status.architecture}, host {status.rss / 1e6:,.0f} MB]")


def _known(mode: LineMode, name: str) -> str:
    names = [tier.name for tier in mode.fovea.ladder().tiers]
    if name not in names:
        raise TurnError(f"There is no tier `{name}`; there is: {', '.join(names)}")
    return name


def tier(mode: LineMode, argument: str) -> None:
    """Which tier speaks."""
    loaded = mode.fovea.ladder().loaded()
    if argument and argument not in loaded:
        raise TurnError(f"There is no tier `{argument}`; there is: {', '.join(loaded)}")
    mode.tier = argument or mode.tier
    mode.line(f"[{mode.tier or loaded[0]} speaks]")


def policy(mode: LineMode, argument: str) -> None:
    """Who decides a closer look."""
    if argument:
        if argument not in list(Policy):
            raise TurnError(f"`{argument}` is not a policy; there is: {', '.join(Policy)}")
        mode.session.set_policy(mode=Policy(argument))
    mode.line(f"[policy {mode.session.policy.mode}, scope {mode.session.policy.scope}]")


def budget(mode: LineMode, argument: str) -> None:
    """What was spent at higher tiers, against the budget."""
    from agent.settings import share

    if argument:
        try:
            mode.session.set_policy(budget=share(argument))
        except ValueError as error:
            raise TurnError(str(error)) from error
    spent = mode.session.spending()
    mode.line(f"[spent {spent.high} of {spent.all} tokens, {spent.share:.0%}; the budget is {spent.budget:.0%}]")


def log(mode: LineMode, argument: str) -> None:
    """Every decision of the conversation."""
    for decision in mode.session.decisions():
        cost = f" ({decision.actual_s:.1f} s)" if decision.actual_s is not None else ""
        mode.line(f"{decision.kind}: {decision.text}{cost}")
    mode.line(f"[{len(mode.session.decisions())} decisions]")


def prompt(mode: LineMode, argument: str) -> None:
    """Exactly what would be sent."""
    for message in mode.session.prompt():
        mode.line(f"--- {message.role} ---\n{message.content}")


def context(mode: LineMode, argument: str) -> None:
    """How full the context is."""
    meter = mode.session.meter()
    about = "about " if meter.estimated else ""
    mode.line(f"[{about}{meter.used} of {meter.available} tokens used, {meter.reserved} kept for the reply]")


def compact(mode: LineMode, argument: str) -> None:
    """Fold older messages into a summary."""
    mode.follow(mode.session.compact())


def settings(mode: LineMode, argument: str) -> None:
    """All settings, one, or another value for one; written to the file and in force at once."""
    from agent.settings_file import flatten, parse_value, save

    key, _, value = argument.partition(" ")
    values = flatten(mode.fovea.settings)
    if key and key not in values and not value:
        found = [name for name in values if key in name]
        if not found:
            raise TurnError(f"There is no setting `{key}`; /settings shows them all")
    else:
        found = [key] if key else list(values)
    if value:
        save(mode.fovea.folders.settings, {key: parse_value(key, value)})
        mode.fovea.change({key: parse_value(key, value)})
        values = flatten(mode.fovea.settings)
    for name in found:
        mode.line(f"{name:32} {values[name]}")
    if value and not mode.fovea.ladder_current:
        mode.line("[the model is loaded anew with the next message]")


def theme(mode: LineMode, argument: str) -> None:
    """The theme of the full screen; the line mode has no colours."""
    from textual.theme import BUILTIN_THEMES

    from tui.app.themes import themes

    names = [*(theme.name for theme in themes()), *sorted(BUILTIN_THEMES)]
    if argument and argument not in names:
        raise TurnError(f"There is no theme `{argument}`; there is: {', '.join(names)}")
    settings(mode, f"screen.theme {argument}".strip())


def tour(mode: LineMode, argument: str) -> None:
    """What the tour says, on paper."""
    from tui.tour import CARDS

    for heading, text in CARDS:
        mode.line(f"{heading}: {text}")
