"""The slash commands in the line mode: a table from the registry's keys to functions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import TurnError
from agent.values import Node, Policy
from tui import registry
from tui.render.harmless import one_line

if TYPE_CHECKING:
    from tui.plain import LineMode

ALIASES = {
    "resume": "sessions",
    "search": "sessions",
    "n": "several",
    "regen": "again",
    "why": "density",
    "exit": "quit",
    "q": "quit",
}
"""Other names for commands; an exact name of the registry wins."""
DOUBT = 0.25
"""Tokens at least this dense are listed by /density."""


def handle(mode: LineMode, line: str) -> None:
    """Carry out one typed command."""
    name, argument = registry.split(line)
    command = next((c for c in registry.COMMANDS if c.name == name), None)
    command = command or registry.find(ALIASES.get(name, name))
    if command is None:
        mode.line(f"! There is no command /{name}; /help lists them (// begins a message with a slash)")
        return
    action = ACTIONS.get(command.key)
    if action is None:
        mode.line(f"! /{command.name} needs the full screen (fovea chat)")
        return
    action(mode, argument)


def _help(mode: LineMode, argument: str) -> None:
    for command in registry.COMMANDS:
        if command.key in ACTIONS:
            mode.line(f"{command.usage:34} {command.help}")


def _new(mode: LineMode, argument: str) -> None:
    mode.session, mode.versions = mode.fovea.session(), []
    mode.line("[a new conversation]")


def _sessions(mode: LineMode, argument: str) -> None:
    """List, or open the one conversation that is meant."""
    from agent.errors import NotFoundError

    if argument:
        try:
            mode.session, mode.versions = mode.fovea.session(argument), []
        except NotFoundError:
            pass
        else:
            mode.line(f"[{one_line(mode.session.title, 80)}]")
            for node in mode.session.path(steps=False)[-4:]:
                mode.line(f"{'you' if node.role == 'user' else 'fovea'}: {node.text}")
            return
    found = mode.fovea.sessions(argument)
    for info in found[:20]:
        mode.line(f"{info.id}  {info.messages:4d}  {one_line(info.title, 80)}")
    mode.line("[/sessions ID opens one]" if found else "[none found]")


def _rename(mode: LineMode, argument: str) -> None:
    mode.session.rename(argument)


def _archive(mode: LineMode, argument: str) -> None:
    mode.session.archive()
    _new(mode, "")


def _delete(mode: LineMode, argument: str) -> None:
    mode.session.delete_session()
    mode.line("[deleted; /undo brings it back]")


def _undo(mode: LineMode, argument: str) -> None:
    mode.line("[brought back]" if mode.session.undo() else "[there is nothing to bring back]")


def _export(mode: LineMode, argument: str) -> None:
    from agent.paths import write_atomically

    words = argument.split(maxsplit=1)
    json = bool(words) and words[0] == "json"
    if words and words[0] in ("json", "markdown"):
        words = words[1:]
    text = mode.session.export("json" if json else "markdown")
    if not words:
        mode.line(text)
        return
    target = Path(words[0]).expanduser()
    write_atomically(target, text)
    mode.line(f"[written to {target}]")


def _import(mode: LineMode, argument: str) -> None:
    from agent.importing import import_file

    _sessions(mode, import_file(mode.fovea.tree, Path(argument).expanduser()))


def _closer(mode: LineMode, argument: str) -> None:
    reply = _last_reply(mode)
    mode.follow(mode.session.look_closer(reply.id, tier=argument))
    mode.versions = [node.id for node in mode.session.children(reply.parent)]


def _again(mode: LineMode, argument: str) -> None:
    reply = _last_reply(mode)
    mode.follow(mode.session.regenerate(reply.id, tier=mode.tier))
    mode.versions = [node.id for node in mode.session.children(reply.parent)]


def _several(mode: LineMode, argument: str) -> None:
    count = int(argument) if argument.isdigit() else 3
    path = mode.session.path(steps=False)
    if path and path[-1].role == "assistant":
        mode.follow(mode.session.regenerate(path[-1].id, n=count, tier=mode.tier), stream=False)
    else:
        mode.follow(mode.session.reply(n=count, tier=mode.tier), stream=False)


def _compare(mode: LineMode, argument: str) -> None:
    tiers = argument.split() or mode.fovea.ladder().loaded()
    mode.follow(mode.session.regenerate(_last_reply(mode).id, tiers=tiers), stream=False)


def _blind(mode: LineMode, argument: str) -> None:
    mode.blind = argument != "off"
    mode.line("[the tiers are hidden until you pick]" if mode.blind else "[the tiers are shown]")


def _pick(mode: LineMode, argument: str) -> None:
    if not argument.isdigit() or not 1 <= int(argument) <= len(mode.versions):
        raise TurnError(f"There are {len(mode.versions)} versions to pick from; /pick NUMBER")
    chosen = mode.versions[int(argument) - 1]
    mode.session.pick(chosen, mode.versions, blind=mode.blind)
    mode.line(f"[picked {argument}: {mode.session.node(chosen).tier}]")


def _continue(mode: LineMode, argument: str) -> None:
    mode.follow(mode.session.resume(_last_reply(mode).id))


def _edit(mode: LineMode, argument: str) -> None:
    mine = next((node for node in reversed(mode.session.path(steps=False)) if node.role == "user"), None)
    if mine is None or not argument:
        raise TurnError("/edit NEW TEXT puts other words in place of your last message")
    mode.session.edit(mine.id, argument)
    mode.follow(mode.session.reply(tier=mode.tier))


def _density(mode: LineMode, argument: str) -> None:
    """Where the last reply was in doubt, and what was done about it."""
    reply = mode.session.node(_last_reply(mode).id)
    doubtful = [(at, s) for at, s in enumerate(reply.steps) if s.density >= DOUBT or s.why != "spoke"]
    for at, step in doubtful:
        others = ", ".join(f"{_quoted(a.text)} {a.p:.0%} at {a.tier}" for a in step.alternatives[:4])
        mode.line(f"{at:4d}  {_quoted(step.text)}  density {step.density:.2f}, {step.why}: {others}")
    mode.line(f"[{len(doubtful)} of {len(reply.steps)} tokens were dense]")


def _forks(mode: LineMode, argument: str) -> None:
    found = mode.session.forks(_last_reply(mode).id, argument)
    for at in found.forks()[:20]:
        j = found.judgements[at]
        mode.line(f"{at:4d}  {_quoted(j.text)} {j.p:.0%}  {found.tier}: {_quoted(j.best_text)} {j.best_p:.0%}")
    mode.line(f"[{len(found.forks())} forks in {len(found.judgements)} tokens, judged by {found.tier}]")


def _tree(mode: LineMode, argument: str) -> None:
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


def _bookmark(mode: LineMode, argument: str) -> None:
    if mode.session.head is None:
        raise TurnError("There is no message yet")
    mode.session.bookmark(mode.session.head, argument)


def _memory(mode: LineMode, argument: str) -> None:
    mine = next((node for node in reversed(mode.session.path(steps=False)) if node.role == "user"), None)
    for passage in mode.session.passages(mine.id) if mine else ():
        off = "" if passage.enabled else " (off)"
        mode.line(f"[{passage.number}] {passage.source}{off}: {one_line(passage.text, 200)}")
    notes = mode.fovea.memory.standing_notes(mode.fovea.settings.memory.notes_tokens)
    mode.line(notes.strip() or "[no standing notes]")


def _note(mode: LineMode, argument: str) -> None:
    proposal = mode.fovea.memory.propose_note(argument) if argument else None
    if proposal is None:
        mode.line("[nothing to note: it is there already, or no notes are kept]")
        return
    mode.line(proposal.diff)
    if mode.interactive and mode.read("Write it? [y/N] ").strip().lower() in ("y", "yes"):
        mode.line(f"[written to {mode.fovea.memory.accept_note(proposal)}]")
    else:
        mode.line("[not written]")


def _ladder(mode: LineMode, argument: str) -> None:
    status = mode.fovea.ladder()
    for tier in status.tiers:
        speed = mode.session.speed(tier.name)
        decode = f"{speed.decode_tok_s:.0f} tok/s" if speed.decode_tok_s else "not measured yet"
        state = f"{tier.bytes / 1e6:,.0f} MB, {decode}" if tier.loaded else f"not loaded: {tier.problem}"
        mode.line(f"{tier.name:8} {state}")
    mode.line(f"[context {status.ctx} tokens, {status.architecture}, host {status.rss / 1e6:,.0f} MB]")


def _tier(mode: LineMode, argument: str) -> None:
    loaded = mode.fovea.ladder().loaded()
    if argument and argument not in loaded:
        raise TurnError(f"There is no tier `{argument}`; there is: {', '.join(loaded)}")
    mode.tier = argument or mode.tier
    mode.line(f"[{mode.tier or loaded[0]} speaks]")


def _policy(mode: LineMode, argument: str) -> None:
    if argument:
        if argument not in list(Policy):
            raise TurnError(f"`{argument}` is not a policy; there is: {', '.join(Policy)}")
        mode.session.set_policy(mode=Policy(argument))
    mode.line(f"[policy {mode.session.policy.mode}, scope {mode.session.policy.scope}]")


def _budget(mode: LineMode, argument: str) -> None:
    from tui.commands.common import share

    if argument:
        mode.session.set_policy(budget=share(argument))
    spent = mode.session.spending()
    mode.line(f"[spent {spent.high} of {spent.all} tokens, {spent.share:.0%}; the budget is {spent.budget:.0%}]")


def _log(mode: LineMode, argument: str) -> None:
    for decision in mode.session.decisions():
        cost = f" ({decision.actual_s:.1f} s)" if decision.actual_s is not None else ""
        mode.line(f"{decision.kind}: {decision.text}{cost}")
    mode.line(f"[{len(mode.session.decisions())} decisions]")


def _prompt(mode: LineMode, argument: str) -> None:
    for message in mode.session.prompt():
        mode.line(f"--- {message.role} ---\n{message.content}")


def _context(mode: LineMode, argument: str) -> None:
    meter = mode.session.meter()
    about = "about " if meter.estimated else ""
    mode.line(f"[{about}{meter.used} of {meter.available} tokens used, {meter.reserved} kept for the reply]")


def _compact(mode: LineMode, argument: str) -> None:
    mode.follow(mode.session.compact())


def _quit(mode: LineMode, argument: str) -> None:
    mode.done = True


def _quoted(token: str) -> str:
    """One token between quotes; white space alone is spelt out."""
    return f"“{one_line(token)}”" if token.strip() else ascii(token)


def _last_reply(mode: LineMode) -> Node:
    reply = next((node for node in reversed(mode.session.path(steps=False)) if node.role == "assistant"), None)
    if reply is None:
        raise TurnError("There is no reply yet")
    return reply


ACTIONS: dict[str, Callable[[LineMode, str], None]] = {
    "help": _help,
    "new": _new,
    "sessions": _sessions,
    "rename": _rename,
    "archive": _archive,
    "delete": _delete,
    "undo": _undo,
    "export": _export,
    "import": _import,
    "closer": _closer,
    "again": _again,
    "several": _several,
    "compare": _compare,
    "blind": _blind,
    "pick": _pick,
    "continue": _continue,
    "edit": _edit,
    "density": _density,
    "forks": _forks,
    "tree": _tree,
    "bookmark": _bookmark,
    "memory": _memory,
    "note": _note,
    "ladder": _ladder,
    "tier": _tier,
    "policy": _policy,
    "budget": _budget,
    "log": _log,
    "prompt": _prompt,
    "context": _context,
    "compact": _compact,
    "quit": _quit,
}
"""Key of the registry -> what the line mode does."""
