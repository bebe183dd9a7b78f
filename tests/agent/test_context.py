"""Packing at its limits: conversations of thousands of messages, and what a summary leaves of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agent.context import Packed, Room, pack
from agent.lengths import Lengths
from agent.values import Node, Status
from backends.types import Message


def node(number: int, role: str, text: str) -> Node:
    return Node(number, "s", number - 1 or None, role, text, Status.DONE, "person", 0.0)


class Counter:
    """One token a word; remembers how much it was asked to count."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self, messages: Sequence[Message]) -> int:
        words = sum(len(message.content.split()) for message in messages)
        self.read += words
        return words


def talk(messages: int) -> list[Node]:
    pairs = [node(n, "assistant" if n % 2 == 0 else "user", f"words of message {n}") for n in range(1, messages)]
    return [*pairs, node(messages + 1, "user", "the newest question")]


def packed(nodes: Sequence[Node], count: Counter, limit: int = 400) -> Packed:
    return pack(nodes, system="be kind", notes="", passages=(), count=count, room=Room(limit + 100, 100))


def test_of_thousands_of_messages_only_about_as_many_are_counted_as_fit() -> None:
    count = Counter()
    found = packed(talk(5001), count)
    assert found.messages[-1].content == "the newest question"
    assert 200 < found.prompt_tokens <= 300  # a quarter is left free
    assert count.read < 10 * 400


@pytest.mark.parametrize("messages", range(3, 200, 8))
def test_as_much_is_packed_as_looking_at_every_start_would_find(messages: int) -> None:
    nodes = talk(messages)
    count = Counter()
    starts = [at for at, one in enumerate(nodes) if one.role == "user"]
    sizes = {at: count([Message("system", "be kind"), *(Message(n.role, n.text) for n in nodes[at:])]) for at in starts}
    whole = sizes[starts[0]] <= 400
    expected = starts[0] if whole else next(at for at in starts if sizes[at] <= 300)
    assert packed(nodes, count).window == nodes[expected].id


def test_after_a_summary_the_oldest_own_words_give_way_and_it_is_said() -> None:
    summary = node(10_000, "summary", "They spoke of birds.")
    found = packed([*talk(2001), summary, node(10_001, "user", "And now?")], Counter())
    system = found.messages[0].content
    assert "They spoke of birds." in system
    assert "are only in the summary" in system
    assert "- the newest question" in system and "message 1\n" not in system
    assert found.prompt_tokens <= 300


def test_each_message_is_counted_once_for_the_search_and_not_again_by_the_next_one() -> None:
    calls: list[int] = []
    words = Counter()

    def count(messages: Sequence[Message]) -> int:
        calls.append(len(messages))
        return words(messages)

    def go(lengths: Lengths) -> Packed:
        room = Room(500, 100)
        return pack(talk(801), system="be kind", notes="", passages=(), count=count, room=room, lengths=lengths)

    lengths = Lengths(count)
    first = go(lengths)
    assert sum(size > 5 for size in calls) <= 2, "the whole prompt: does it fit, and the one that does"
    calls.clear()
    assert go(lengths) == first
    assert len(calls) <= 3
