from __future__ import annotations

import os
import select
import threading

import pytest

from backends.host import outbox
from backends.host.outbox import Outbox


class Clock:
    """Time for an outbox: it goes on, and its thread goes on sleeping, only as a test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.wakes = threading.Semaphore(0)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, _: float) -> None:
        self.wakes.acquire()


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(outbox, "monotonic", clock.monotonic)
    monkeypatch.setattr(outbox, "sleep", clock.sleep)
    return clock


@pytest.fixture
def pipe(clock):
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        os.set_blocking(reading, False)  # reading gives None where nothing was sent
        yield Outbox(stream), reader


def test_the_first_token_goes_at_once_and_those_behind_it_together(pipe, clock):
    box, reader = pipe
    box.now(b"reading\n")
    box.soon(b"a\n")
    assert reader.read(100) == b"reading\na\n"
    box.soon(b"b\n")
    box.soon(b"c\n")
    assert reader.read(100) is None
    clock.now += 2 * outbox.GROUP_S
    clock.wakes.release()
    assert select.select([reader], [], [], 30)[0], "nothing follows: sent when the time is over"
    assert reader.read(100) == b"b\nc\n"


def test_what_is_no_token_waits_for_nobody_and_overtakes_nobody(pipe):
    box, reader = pipe
    box.soon(b"a\n")
    box.soon(b"b\n")
    box.now(b"done\n")
    assert reader.read(100) == b"a\nb\ndone\n"
    box.soon(b"next reply\n")
    assert reader.read(100) == b"next reply\n"


def test_a_late_token_goes_at_once(pipe, clock):
    box, reader = pipe
    box.soon(b"a\n")
    assert reader.read(100) == b"a\n"
    clock.now += 2 * outbox.GROUP_S
    box.soon(b"b\n")
    assert reader.read(100) == b"b\n"


def test_tokens_of_many_threads_stay_whole(pipe):
    box, reader = pipe
    threads = [threading.Thread(target=lambda i=i: [box.soon(b"%d\n" % i) for _ in range(50)]) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    box.now(b"end\n")
    got = b""
    while not got.endswith(b"end\n"):
        got += reader.read(4096) or b""
    assert sorted(got.split()) == sorted([b"0", b"1", b"2", b"3"] * 50 + [b"end"])
