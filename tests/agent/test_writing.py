"""What is on disk while a reply is written, by a clock that the test sets."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from agent.checkpoints import CHECKPOINT_S, SHARE, Checkpoints
from agent.errors import StorageError
from agent.tree import Tree
from agent.values import Status
from backends.types import FOUR, Step


@dataclass
class Draft:
    node: int
    steps: list[Step] = field(default_factory=list)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tree():
    tree = Tree.in_memory()
    yield tree
    tree.close()


@pytest.fixture
def draft(tree):
    question = tree.add("s", None, "user", "Q", author="person")
    return Draft(tree.add("s", question.id, "assistant", "", author=FOUR, status=Status.OPEN).id)


def a_step(number):
    return Step(number, f" {number}", FOUR, p=1.0, entropy=0.0, margin=0.0, density=0.0)


def stored(tree, draft):
    return len(tree.node(draft.node).steps)


def test_a_partial_reply_is_at_most_half_a_second_behind(tree, draft, clock):
    checkpoints = Checkpoints(tree, clock)
    came = []
    for number in range(100):
        clock.now = number * 0.03
        checkpoints.add(draft, a_step(number))
        came.append(clock.now)
        assert stored(tree, draft) >= sum(at <= clock.now - 0.5 for at in came)
    assert stored(tree, draft) > 80


def test_what_came_is_stored_although_nothing_follows(tree, draft, clock, monkeypatch):
    saved = threading.Event()
    save = tree.checkpoint
    monkeypatch.setattr(tree, "checkpoint", lambda *args: (save(*args), saved.set()))
    checkpoints = Checkpoints(tree, clock)
    checkpoints.add(draft, a_step(0))
    clock.now = CHECKPOINT_S
    assert saved.wait(30)
    with checkpoints.finishing():
        assert stored(tree, draft) == 1


def test_checkpoints_take_a_small_share_of_the_time(tree, draft, clock, monkeypatch):
    """Each stores the whole reply: where one took long, the next one waits."""
    saves = []

    def slowly(*args):
        clock.now += 0.1
        saves.append(clock.now)

    monkeypatch.setattr(tree, "checkpoint", slowly)
    checkpoints = Checkpoints(tree, clock)
    for number in range(1000):
        clock.now += 0.01
        checkpoints.add(draft, a_step(number))
    assert len(saves) > 2
    assert all(later - earlier >= SHARE * 0.1 for earlier, later in pairwise(saves))


def test_what_the_timer_cannot_save_is_told_with_the_next_token(tree, draft, clock, monkeypatch):
    tried = threading.Event()

    def full(*args):
        tried.set()
        raise StorageError("The disk is full")

    monkeypatch.setattr(tree, "checkpoint", full)
    checkpoints = Checkpoints(tree, clock)
    checkpoints.add(draft, a_step(0))
    clock.now = CHECKPOINT_S
    assert tried.wait(30)
    with pytest.raises(StorageError, match="full"):
        checkpoints.add(draft, a_step(1))


def test_a_finished_reply_is_not_overwritten(tree, draft, clock):
    checkpoints = Checkpoints(tree, clock)
    checkpoints.add(draft, a_step(0))
    with checkpoints.finishing():
        tree.finish(draft.node, "whole", draft.steps, Status.DONE)
    clock.now = 9 * CHECKPOINT_S
    checkpoints._late()
    assert tree.node(draft.node).text == "whole"
