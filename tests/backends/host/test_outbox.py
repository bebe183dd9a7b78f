from __future__ import annotations

import os
import threading
import time

import pytest

from backends.host import outbox
from backends.host.outbox import Outbox


@pytest.fixture
def pipe(monkeypatch):
    monkeypatch.setattr(outbox, "GROUP_S", 0.2)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as stream, os.fdopen(reading, "rb", buffering=0) as reader:
        yield Outbox(stream), reader


def test_the_first_token_goes_at_once_and_those_behind_it_together(pipe):
    box, reader = pipe
    box.now(b"reading\n")
    box.soon(b"a\n")
    assert reader.read(100) == b"reading\na\n"
    box.soon(b"b\n")
    box.soon(b"c\n")
    assert reader.read(100) == b"b\nc\n"  # nothing follows: sent when the time is over


def test_what_is_no_token_waits_for_nobody_and_overtakes_nobody(pipe):
    box, reader = pipe
    box.soon(b"a\n")
    box.soon(b"b\n")
    box.now(b"done\n")
    assert reader.read(100) == b"a\nb\ndone\n"
    box.soon(b"next reply\n")
    assert reader.read(100) == b"next reply\n"


def test_a_late_token_goes_at_once(pipe):
    box, reader = pipe
    box.soon(b"a\n")
    reader.read(100)
    time.sleep(0.25)
    box.soon(b"b\n")
    box.now(b"end\n")
    assert reader.read(100) == b"b\nend\n"


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
        got += reader.read(4096)
    assert sorted(got.split()) == sorted([b"0", b"1", b"2", b"3"] * 50 + [b"end"])
