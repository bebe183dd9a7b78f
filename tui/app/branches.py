"""The branches of a conversation as lines of text: a chain stays in one column, only a fork goes one step deeper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.values import Node


@dataclass(frozen=True, slots=True)
class Branch:
    """One line: the guide drawn before it, and the node."""

    guide: str
    node: Node


def lines(nodes: Iterable[Node]) -> list[Branch]:
    """All nodes, depth first, forks oldest first. Without recursion: conversations are thousands of messages deep."""
    below: dict[int | None, list[Node]] = {}
    for node in nodes:
        if node.role != "system":
            below.setdefault(node.parent, []).append(node)
    drawn: list[Branch] = []
    # Each entry: the node, its own guide, and the guide of what follows it.
    todo = _fork(below.get(None, []), "")
    while todo:
        node, guide, rest = todo.pop()
        drawn.append(Branch(guide, node))
        todo.extend(_fork(below.get(node.id, []), rest))
    return drawn


def _fork(children: list[Node], rest: str) -> list[tuple[Node, str, str]]:
    """Children to draw next, last first (they are taken from the end)."""
    if len(children) == 1:
        return [(children[0], rest, rest)]
    last = len(children) - 1
    entries = [
        (child, rest + ("└ " if i == last else "├ "), rest + ("  " if i == last else "│ "))
        for i, child in enumerate(children)
    ]
    return entries[::-1]
