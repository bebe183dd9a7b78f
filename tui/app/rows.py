"""From the tree of a conversation to the rows of the transcript, made only when they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from agent.values import Node


@dataclass(frozen=True, slots=True)
class Row:
    """One place of the conversation: a message of the person, or all versions of a reply."""

    nodes: tuple[Node, ...]
    current: int
    """Index of the version on the path."""

    @property
    def node(self) -> Node:
        """The node on the path."""
        return self.nodes[self.current]


class Rows(Sequence[Row]):
    """The rows of a path. Siblings are asked for row by row: a conversation of thousands of messages opens at once.

    Where the path ends at a message of the person that has replies already (continuations nobody picked yet), those
    replies follow as a last row.
    """

    def __init__(self, path: Sequence[Node], children: Callable[[int | None], Sequence[Node]]) -> None:
        """Prepare the rows.

        Args:
            path: root to head.
            children: the not deleted children of a node, oldest first.
        """
        self._path = [node for node in path if node.role != "system"]
        self._children = children
        self._waiting: tuple[Node, ...] = ()
        if self._path and self._path[-1].role == "user":
            replies = children(self._path[-1].id)
            self._waiting = tuple(node for node in replies if node.role == "assistant")

    def __len__(self) -> int:
        return len(self._path) + bool(self._waiting)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index == len(self._path):
            return Row(self._waiting, len(self._waiting) - 1)
        return _row(self._path[index], self._children)

    @property
    def undecided(self) -> bool:
        """Whether several replies wait for a pick at the end."""
        return len(self._waiting) > 1


def _row(node: Node, children: Callable[[int | None], Sequence[Node]]) -> Row:
    same = [sibling for sibling in children(node.parent) if sibling.role == node.role]
    ids = [sibling.id for sibling in same]
    if node.id not in ids:
        same, ids = [*same, node], [*ids, node.id]
    return Row(tuple(same), ids.index(node.id))
