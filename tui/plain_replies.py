"""Slash commands of the line mode that write, choose or examine replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.errors import TurnError
from agent.values import Node
from tui.render.harmless import one_line

if TYPE_CHECKING:
    from tui.plain import LineMode

DOUBT = 0.25
"""Tokens at least this dense are listed by /density."""


def closer(mode: LineMode, argument: str) -> None:
    """The same turn at a higher tier."""
    reply = last_reply(mode)
    mode.follow(mode.session.look_closer(reply.id, tier=argument))
    mode.versions = [node.id for node in mode.session.children(reply.parent)]


def again(mode: LineMode, argument: str) -> None:
    """Another version of the last reply."""
    reply = last_reply(mode)
    mode.follow(mode.session.regenerate(reply.id, tier=mode.tier))
    mode.versions = [node.id for node in mode.session.children(reply.parent)]


def several(mode: LineMode, argument: str) -> None:
    """Several continuations from the tier that speaks."""
    count = int(argument) if argument.isdecimal() else 3
    path = mode.session.path(steps=False)
    if path and path[-1].role == "assistant":
        mode.follow(mode.session.regenerate(path[-1].id, n=count, tier=mode.tier), stream=False)
    else:
        mode.follow(mode.session.reply(n=count, tier=mode.tier), stream=False)


def compare(mode: LineMode, argument: str) -> None:
    """One reply from each of some tiers."""
    tiers = argument.split() or mode.fovea.ladder().loaded()
    mode.follow(mode.session.regenerate(last_reply(mode).id, tiers=tiers), stream=False)


def blind(mode: LineMode, argument: str) -> None:
    """Whether tiers are hidden until one is picked."""
    mode.blind = argument != "off"
    mode.line("[the tiers are hidden until you pick]" if mode.blind else "[the tiers are shown]")


def pick(mode: LineMode, argument: str) -> None:
    """Choose one of the versions shown last."""
    if not argument.isdecimal() or not 1 <= int(argument) <= len(mode.versions):
        raise TurnError(f"There are {len(mode.versions)} versions to pick from; /pick NUMBER")
    chosen = mode.versions[int(argument) - 1]
    mode.session.pick(chosen, mode.versions, blind=mode.blind)
    mode.line(f"[picked {argument}: {mode.session.node(chosen).tier}]")


def continue_(mode: LineMode, argument: str) -> None:
    """Finish a stopped reply."""
    mode.follow(mode.session.resume(last_reply(mode).id))


def edit(mode: LineMode, argument: str) -> None:
    """Other words in place of the last message, and a new reply."""
    mine = next((node for node in reversed(mode.session.path(steps=False)) if node.role == "user"), None)
    if mine is None or not argument:
        raise TurnError("/edit NEW TEXT puts other words in place of your last message")
    mode.session.edit(mine.id, argument)
    mode.follow(mode.session.reply(tier=mode.tier))


def density(mode: LineMode, argument: str) -> None:
    """Where the last reply was in doubt, and what was done about it."""
    reply = mode.session.node(last_reply(mode).id)
    doubtful = [(at, s) for at, s in enumerate(reply.steps) if s.density >= DOUBT or s.why != "spoke"]
    for at, step in doubtful:
        others = ", ".join(f"{quoted(a.text)} {a.p:.0%} at {a.tier}" for a in step.alternatives[:4])
        mode.line(f"{at:4d}  {quoted(step.text)}  density {step.density:.2f}, {step.why}: {others}")
    mode.line(f"[{len(doubtful)} of {len(reply.steps)} tokens were dense]")


def forks(mode: LineMode, argument: str) -> None:
    """Where a higher tier would have written something else."""
    found = mode.session.forks(last_reply(mode).id, argument)
    for at in found.forks()[:20]:
        j = found.judgements[at]
        mode.line(f"{at:4d}  {quoted(j.text)} {j.p:.0%}  {found.tier}: {quoted(j.best_text)} {j.best_p:.0%}")
    mode.line(f"[{len(found.forks())} forks in {len(found.judgements)} tokens, judged by {found.tier}]")


def copy(mode: LineMode, argument: str) -> None:
    """The last reply to the clipboard."""
    mode.line(f"[{_copied(mode, mode.session.node(last_reply(mode).id).text)}]")


def code(mode: LineMode, argument: str) -> None:
    """A code block of the last reply to the clipboard; which one is asked for when there are several."""
    from tui.app import clipboard

    blocks = clipboard.code_blocks(mode.session.node(last_reply(mode).id).text)
    if not blocks:
        raise TurnError("There is no code block in the last reply")
    if len(blocks) > 1 and not (argument.isdecimal() and 1 <= int(argument) <= len(blocks)):
        for number, block in enumerate(blocks, start=1):
            mode.line(f"{number:3d}  {one_line(block, 70)}")
        mode.line(f"[/code 1 … /code {len(blocks)}]")
        return
    mode.line(f"[{_copied(mode, blocks[int(argument) - 1 if len(blocks) > 1 else 0])}]")


def _copied(mode: LineMode, text: str) -> str:
    import base64

    from tui.app import clipboard

    def osc52(text: str) -> None:
        if mode.interactive:  # into a pipe it would be nothing but noise
            mode.write(f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07")

    return clipboard.copy(text, osc52)


def quoted(token: str) -> str:
    """One token between quotes; white space alone is spelt out."""
    return f"“{one_line(token)}”" if token.strip() else ascii(token)


def last_reply(mode: LineMode) -> Node:
    """The newest reply of the conversation. Raises TurnError when there is none."""
    reply = next((node for node in reversed(mode.session.path(steps=False)) if node.role == "assistant"), None)
    if reply is None:
        raise TurnError("There is no reply yet")
    return reply
