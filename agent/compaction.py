"""Folding a long conversation into a summary.

The summary is a node of its own; the folded messages stay in the tree and the person's own words stay in the prompt
verbatim (see ``agent.context``). An empty summary is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.context import Room
from agent.desk import Desk, State
from agent.errors import TurnError
from agent.events import Finished, Reading, Said, Started, Stopped, TurnEvent, Wrote
from agent.values import Node, Status
from agent.writing import listening
from backends.types import Decoder, Done, Failed, Message, Notice, Prefill, Request, Step

INSTRUCTION = (
    "Summarise the conversation above for yourself, so that you can go on without it: facts, decisions, open "
    "questions. Do not add anything. At most {words} words."
)
SUMMARY_TOKENS = 256


def events(desk: Desk, state: State) -> Iterator[TurnEvent]:
    """Write the summary and move the head to it."""
    ladder = desk.ladder()
    nodes = desk.tree.path(state.head, steps=False)
    if sum(1 for node in nodes if node.role != "summary" and node.text) < 4:
        raise TurnError("There is not enough conversation to fold yet")
    longest = min(SUMMARY_TOKENS, ladder.ctx // 8)
    instruction = INSTRUCTION.format(words=longest // 2)
    messages, left_out = _that_fit(desk, nodes, instruction, Room(ladder.ctx, longest))
    tier = desk.speaking_tier(ladder)
    request = Request(messages, tier, Decoder.PLAIN, sampling=desk.sampling(), max_tokens=longest, session=state.id)
    yield Started(nodes[-1], desk.engine.count(messages), 0)
    if left_out:
        yield Said(f"The oldest {left_out:,} messages do not fit into the request; the summary will be without them")
    steps: list[Step] = []
    problem, reason = "The engine ended without saying why", ""
    with listening(desk.engine.run(request)) as stream:
        for event in stream:
            if state.cancelled.is_set():
                desk.engine.cancel()
            if isinstance(event, Step):
                steps.append(event)
                yield Wrote(event)
            elif isinstance(event, Prefill):
                yield Reading(event.done, event.total, event.cached)
            elif isinstance(event, Notice):
                yield Said(event.text)
            elif isinstance(event, Failed):
                problem = event.text
            elif isinstance(event, Done):
                problem, reason = "", event.reason
    text = "".join(step.text for step in steps).strip()
    if problem or reason == "cancelled":
        yield Stopped((), problem)
        return
    if not text:
        yield Stopped((), "The model wrote no summary; the conversation stays as it is")
        return
    with desk.tree.transaction():
        node = desk.tree.add(
            state.id,
            state.head,
            "summary",
            text,
            author=tier,
            status=Status.DONE,
            model=desk.model,
            tier=tier,
            steps=steps,
        )
        desk.tree.shelf.set_head(state.id, node.id)
        desk.tree.ledger.note(state.id, "setting", f"{len(nodes)} messages were folded into a summary", node=node.id)
    state.head, state.window = node.id, None
    yield Finished((node,))


def _that_fit(desk: Desk, nodes: Sequence[Node], instruction: str, room: Room) -> tuple[tuple[Message, ...], int]:
    """The newest messages that fit together with the instruction, and how many older ones do not."""
    spoken = [node for node in nodes if node.text]

    def build(newest: int) -> tuple[Message, ...]:
        said = "\n\n".join(f"{_speaker(node)}: {node.text}" for node in spoken[len(spoken) - newest :])
        return (Message("user", f"{said}\n\n{instruction}"),)

    def fits(newest: int) -> bool:
        return desk.engine.count(build(newest)) <= room.limit

    if not fits(1):
        raise TurnError("Not even the newest message fits into the context together with the request for a summary")
    # Doubling, then halving: a conversation of thousands of messages must not be counted whole, let alone repeatedly.
    fit, too_many = 1, 2
    while too_many <= len(spoken) and fits(too_many):
        fit, too_many = too_many, too_many * 2
    too_many = min(too_many, len(spoken) + 1)
    while too_many - fit > 1:
        middle = (fit + too_many) // 2
        fit, too_many = (middle, too_many) if fits(middle) else (fit, middle)
    return build(fit), len(spoken) - fit


def _speaker(node: Node) -> str:
    return {"user": "Person", "assistant": "Assistant"}.get(node.role, "Earlier")
