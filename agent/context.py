"""Packing a conversation into the context.

Stable things first (system prompt, standing notes, history), changing things last (recalled passages, in the newest
message), so that the cached prefix of the last turn is found again. Nothing is cut silently: messages that do not fit
are left out whole, oldest first, and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.errors import PromptTooLongError
from agent.lengths import Lengths
from agent.values import Node, Passage
from backends.types import Message
from memory.safety import as_quotation, one_line

Count = Callable[[Sequence[Message]], int]
"""Prompt tokens of messages in the model's template."""
MOST_CHARS = 24
"""More characters than tokens have on average in any text: what is longer than this cannot fit and is not counted."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A prompt that fits, and what was left out to make it fit."""

    messages: tuple[Message, ...]
    prompt_tokens: int
    left_out: int
    """Oldest messages that are not part of the prompt."""
    passages: tuple[Passage, ...]
    """Passages that are part of the prompt."""
    passages_left_out: int
    window: int | None
    """Id of the first node that is in the prompt; the next packing starts there again, so the prefix stays cached."""


@dataclass(frozen=True, slots=True)
class Room:
    """How much of the context a prompt may take, in tokens."""

    ctx: int
    reserved: int

    @property
    def limit(self) -> int:
        """Tokens a prompt may have."""
        return self.ctx - self.reserved

    @classmethod
    def for_reply(cls, ctx: int, max_tokens: int, n: int = 1) -> Room:
        """Keep room for ``n`` replies, but never more than half of the context."""
        return cls(ctx, min(max_tokens * n, max(ctx // 4, 1) * min(n, 2)))


def pack(
    nodes: Sequence[Node],
    *,
    system: str,
    notes: str,
    passages: Sequence[Passage],
    count: Count,
    room: Room,
    window: int | None = None,
    lengths: Lengths | None = None,
) -> Packed:
    """The messages to send for a path that ends in a message of the person.

    Args:
        nodes: Root to the newest message.
        system: The system prompt; may be empty.
        notes: Standing notes, appended to the system prompt; may be empty.
        passages: Recalled passages for the newest message; disabled ones are not packed.
        count: Counts prompt tokens.
        room: The context and what is kept free of it.
        window: Node the last prompt started with.
        lengths: Tokens of single messages that are known already, for the search of the oldest one that fits.

    Raises:
        PromptTooLongError: The newest message does not fit even alone.
    """
    folded, rest = _split_at_summary(nodes)
    wanted = [p for p in passages if p.enabled]
    exactly, count = count, _remembering(count)
    kept = list(wanted)
    starts = [i for i, node in enumerate(rest) if node.role == "user"] or [0]
    head = _system_that_fits(system, notes, folded, count, room)

    def build(start: int) -> tuple[Message, ...]:
        return messages_of(head, rest[start:], kept)

    while count(build(starts[-1])) > room.limit and kept:
        kept.pop()
    alone = count(build(starts[-1]))
    if alone > room.limit:
        raise PromptTooLongError(
            f"The message is too long: {alone} tokens with the system prompt, but the context has room for "
            f"{room.limit} ({room.ctx} less {room.reserved} for the reply). Shorten it, or set a larger engine.ctx"
        )
    lengths = lengths or Lengths(exactly)
    start = _first_that_fits(starts, build, count, room, _position(rest, starts, window), lengths, rest)
    messages = build(start)
    return Packed(
        messages=messages,
        prompt_tokens=count(messages),
        left_out=sum(1 for node in rest[:start] if node.text),
        passages=tuple(kept),
        passages_left_out=len(wanted) - len(kept),
        window=rest[start].id if rest else None,
    )


def with_passages(question: str, passages: Sequence[Passage]) -> str:
    """The newest message with its passages, in the form the built-in model is trained on.

    A passage is quoted so that it can pose neither as the next passage nor as the question.
    """
    if not passages:
        return question
    quoted = "\n".join(f"[{p.number}] ({one_line(p.source)}) {as_quotation(p.text)}" for p in passages)
    return f"Passages:\n{quoted}\n\nQuestion: {question}"


def _first_that_fits(
    starts: Sequence[int],
    build: Callable[[int], tuple[Message, ...]],
    count: Count,
    room: Room,
    at: int,
    lengths: Lengths,
    nodes: Sequence[Node],
) -> int:
    """The start to use: the one of the last prompt while it fits, else one that leaves a quarter free again.

    Moving the start by one message every turn would recompute the whole prompt every turn.
    """
    messages = build(starts[at])
    if _may_fit(messages, room) and count(messages) <= room.limit:
        return starts[at]
    comfortable = room.limit - room.limit // 4
    # From the newest message back, by the lengths of single messages: of a conversation of thousands of messages only
    # as much is counted as fits, each message once.
    position, total = len(starts) - 1, count(build(starts[-1]))
    while position > at + 1:
        total += sum(lengths.of(nodes[i].text) for i in range(starts[position - 1], starts[position]) if nodes[i].text)
        if total > comfortable:
            break
        position -= 1
    # Lengths do not add up exactly: the prompt itself decides.
    while position < len(starts) - 1 and count(build(starts[position])) > comfortable:
        position += 1
    return starts[position]


def _remembering(count: Count) -> Count:
    """``count``, asked once for the same messages."""
    known: dict[tuple[Message, ...], int] = {}

    def counted(messages: Sequence[Message]) -> int:
        key = tuple(messages)
        if key not in known:
            known[key] = count(key)
        return known[key]

    return counted


def _first(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The first number from ``low`` on that fits, where everything after it does too; ``high`` when none does."""
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _may_fit(messages: Sequence[Message], room: Room) -> bool:
    """Whether counting is worth it: no tokenizer puts this many characters into one token on average."""
    return sum(len(message.content) for message in messages) <= MOST_CHARS * room.limit


def _position(rest: Sequence[Node], starts: Sequence[int], window: int | None) -> int:
    return next((at for at, start in enumerate(starts) if rest and rest[start].id == window), 0)


def _split_at_summary(nodes: Sequence[Node]) -> tuple[Sequence[Node], Sequence[Node]]:
    """(nodes up to and including the newest summary, nodes after it)."""
    last = max((i for i, node in enumerate(nodes) if node.role == "summary"), default=-1)
    return nodes[: last + 1], nodes[last + 1 :]


def _system_that_fits(system: str, notes: str, folded: Sequence[Node], count: Count, room: Room) -> str:
    """The system message; the person's own words from before the summary take at most half of the room.

    The oldest give way first, and the prompt says how many: the summary stands for them.
    """
    own = [node.text.strip() for node in folded if node.role == "user"]

    def text(first: int) -> str:
        return _system(system, notes, folded, own[first:], first)

    def fits(first: int) -> bool:
        messages = (Message("system", text(first)),)
        return _may_fit(messages, room) and count(messages) <= room.limit // 2

    # Nearly always all of them fit: one count instead of one for each halving.
    return text(0 if not own or fits(0) else _first(1, len(own), fits))


def _system(system: str, notes: str, folded: Sequence[Node], own: Sequence[str], left_out: int) -> str:
    # One line end before the notes: the form the built-in model is trained on.
    parts = [f"{system.strip()}\nNotes:\n{notes.strip()}".lstrip() if notes.strip() else system.strip()]
    if folded:
        parts.append(f"Earlier in this conversation:\n{folded[-1].text.strip()}")
    if own:
        which = f" (the oldest {left_out:,} are only in the summary)" if left_out else ""
        parts.append(f"The person's own words so far{which}:\n" + "\n".join(f"- {said}" for said in own))
    return "\n\n".join(part for part in parts if part)


def messages_of(system: str, nodes: Sequence[Node], passages: Sequence[Passage] = ()) -> tuple[Message, ...]:
    """The messages of a conversation as every template takes them: none that is empty, no role twice in a row."""
    result = [Message("system", system)] if system else []
    for at, node in enumerate(nodes):
        newest = at == len(nodes) - 1 and node.role == "user"
        content = with_passages(node.text, passages) if newest else node.text
        if not content.strip() and not newest:
            continue
        # Two messages of one role in a row (a reply that never began lay between them): many templates refuse them.
        if result and result[-1].role == node.role:
            result[-1] = Message(node.role, f"{result[-1].content}\n\n{content}")
        else:
            result.append(Message(node.role, content))
    return tuple(result)
