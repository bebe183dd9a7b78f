"""The prompt of a turn: a path of the tree, packed for the ladder that is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from agent.context import Packed, Room, pack
from agent.desk import Desk, State
from agent.values import Node, Passage
from backends.types import LadderStatus, Message


def pack_prompt(
    desk: Desk,
    state: State,
    ladder: LadderStatus,
    nodes: Sequence[Node],
    passages: Sequence[Passage],
    n: int,
) -> Packed:
    """Pack a path for the loaded ladder."""
    settings = desk.settings
    return pack(
        nodes,
        system=settings.system_prompt,
        notes=desk.memory.standing_notes(settings.memory.notes_tokens) if settings.memory.notes_tokens else "",
        passages=passages,
        count=desk.engine.count,
        room=Room.for_reply(ladder.ctx, settings.sampling.max_tokens, n),
        window=state.window,
        lengths=desk.lengths(),
    )


def prompt_before(desk: Desk, state: State, reply: Node) -> tuple[Message, ...]:
    """The messages a finished reply answers, as they would be packed now."""
    ladder = desk.ladder()
    nodes = desk.tree.path(reply.parent, steps=False)
    passages = desk.tree.passages(reply.parent) if reply.parent is not None else ()
    return pack_prompt(desk, state, ladder, nodes, passages, 1).messages


def left_out(packed: Packed) -> list[str]:
    """What the person should know about a prompt: a sentence for each thing that did not fit."""
    lines = []
    if packed.left_out:
        lines.append(f"The {packed.left_out} oldest messages do not fit into the context and are not read")
    if packed.passages_left_out:
        lines.append(f"{packed.passages_left_out} recalled passages do not fit and are not read")
    return lines
