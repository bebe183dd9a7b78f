from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from backends.errors import EngineBusy, HostDied, HostError, LoadError, ModelFileError
from backends.host import EngineHost, wire
from backends.host.process import HostProcess
from backends.host.reply import RESTARTS, Reply
from backends.models.random_gguf import Shape, write_random
from backends.models.tiers import make_quant
from backends.types import (
    Decoder,
    Done,
    Failed,
    Gate,
    LadderSpec,
    Message,
    Notice,
    Request,
    Sampling,
    Step,
    TierSpec,
    Timing,
    Usage,
    Why,
)

TALK = (Message("user", "Tell me of the sea."),)


def spec(tiers, *names):
    return LadderSpec(tuple(TierSpec(name, tiers[name]) for name in names or ("4-bit", "16-bit")), ctx=1024, threads=2)


@pytest.fixture(scope="module")
def shared(tiny_tiers, tmp_path_factory):
    host = EngineHost(tmp_path_factory.mktemp("log") / "engine.log")
    host.load(spec(tiny_tiers))
    yield host
    host.close()


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    """A host whose model never ends a reply by itself and has room for more than any test waits for."""
    folder = tmp_path_factory.mktemp("endless")
    sixteen = write_random(folder / "16.gguf", Shape(layers=3, vocabulary=512, context=16_384), seed=1, endless=True)
    tiers = (TierSpec("4-bit", make_quant(sixteen, "Q4_K_M", folder / "4.gguf")), TierSpec("16-bit", sixteen))
    host = EngineHost()
    host.load(LadderSpec(tiers, ctx=16_384, threads=2))
    yield host
    host.close()


LONG = Request(TALK, "4-bit", max_tokens=16_000, sampling=Sampling(temperature=1.0, seed=3), gate=Gate(0.3))
"""More than an engine writes before a test has done what it does."""


def tokens(events):
    return [event.token for event in events if isinstance(event, Step)]


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.01)


def test_a_reply_and_the_status(shared):
    events = list(shared.run(Request(TALK, "4-bit", max_tokens=10)))
    assert len(tokens(events)) <= 10
    assert isinstance(events[-1], Done)
    status = shared.status()
    assert status.loaded() == ["4-bit", "16-bit"]
    assert status.rss > 0
    assert shared.count(TALK) > 5
    assert len(shared.tokenize("ab")) == 2


@pytest.mark.parametrize("decoder", list(Decoder))
@pytest.mark.parametrize("after", [1, 17, 55])
def test_a_killed_host_is_restarted_and_the_reply_goes_on(endless, decoder, after):
    before = endless.pid
    events: list = []
    notices: list[str] = []
    more = 0
    for event in endless.run(replace(LONG, decoder=decoder, high="16-bit")):
        events.append(event)
        if isinstance(event, Notice):
            notices.append(event.text)
        if isinstance(event, Step):
            more += bool(notices)
            if len(tokens(events)) == after:
                os.kill(before, signal.SIGKILL)
            if more == 20:
                endless.cancel()
    (notice,) = notices
    assert "SIGKILL" in notice and "restarted" in notice
    assert endless.pid != before
    assert more >= 20
    assert events[-1].reason == "cancelled"
    assert events[-1].usage.completion_tokens == len(tokens(events)) >= after + 20


def test_killed_continuations_are_all_finished(endless):
    request = replace(LONG, max_tokens=100, n=3)
    for _ in range(5):  # the host may be done before it is killed: then once more
        events: list = []
        for event in endless.run(request):
            events.append(event)
            if isinstance(event, Step) and len(tokens(events)) == 1:
                os.kill(endless.pid, signal.SIGKILL)
        if any(isinstance(event, Notice) for event in events):
            break
        wait_for(lambda: not endless._alive())
        endless.status()
    assert any(isinstance(event, Notice) and "restarted" in event.text for event in events)
    assert isinstance(events[-1], Done)
    assert [sum(isinstance(e, Step) and e.seq == row for e in events) for row in range(3)] == [100] * 3


def test_a_host_that_always_dies_gives_up_with_the_partial_reply(endless):
    killed: list[int] = []
    events: list = []
    for event in endless.run(LONG):
        events.append(event)
        if isinstance(event, Step) and endless.pid not in killed:
            if len(killed) > RESTARTS:
                endless.cancel()
                continue
            killed.append(endless.pid)
            os.kill(endless.pid, signal.SIGKILL)
    assert len(killed) == RESTARTS + 1
    assert sum(isinstance(event, Notice) for event in events) == RESTARTS
    assert isinstance(events[-1], Failed) and events[-1].kind == "HostDied"
    assert len(tokens(events)) >= RESTARTS + 1
    assert len(tokens(endless.run(replace(LONG, max_tokens=3)))) == 3


def test_a_stop_keeps_what_was_written(shared):
    events: list = []
    for event in shared.run(Request(TALK, "4-bit", max_tokens=900, sampling=Sampling(temperature=1.0, seed=3))):
        events.append(event)
        if len(tokens(events)) == 5:
            shared.cancel()
    assert events[-1].reason == "cancelled"
    assert events[-1].usage.completion_tokens == len(tokens(events)) >= 5


def test_a_listener_that_leaves_stops_the_work(endless, monkeypatch):
    answers: list = []
    receive = endless._process.receive
    monkeypatch.setattr(endless._process, "receive", lambda *wait: answers.append(receive(*wait)) or answers[-1])
    for event in endless.run(LONG):
        if isinstance(event, Step):
            break
    assert isinstance(answers[-1][1], Done)
    assert answers[-1][1].reason == "cancelled"
    assert len(tokens(endless.run(replace(LONG, max_tokens=4)))) == 4


def test_asking_inside_the_loop_over_a_reply_is_an_error_and_not_a_wait_for_ever(shared):
    def use():
        reply = shared.run(Request(TALK, "4-bit", max_tokens=5))
        got.append(next(reply))
        for ask in (shared.status, lambda: shared.count(TALK), lambda: shared.tokenize("a")):
            with pytest.raises(EngineBusy, match="in the middle of a reply"):
                ask()
        (refused,) = shared.run(Request(TALK, "4-bit"))
        got.extend([*reply, refused, shared.count(TALK)])

    got: list = []
    asking = threading.Thread(target=use, daemon=True)
    asking.start()
    asking.join(30)
    assert not asking.is_alive()
    done, refused, count = got[-3:]
    assert isinstance(done, Done)
    assert (refused.kind, count > 0) == ("EngineBusy", True)


def test_a_dead_host_is_noticed_between_requests(shared):
    before = shared.pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: gone(before))
    assert tokens(shared.run(Request(TALK, "4-bit", max_tokens=3)))
    assert shared.pid != before


def test_a_broken_model_says_why_and_leaves_no_process(tmp_path):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"not a model")
    host = EngineHost()
    with pytest.raises((LoadError, ModelFileError), match=r"bad\.gguf|GGUF"):
        host.load(LadderSpec((TierSpec("4-bit", bad),)))
    pid = host.pid
    host.close()
    assert gone(pid)


def test_nothing_loaded_is_a_clear_error():
    host = EngineHost()
    with pytest.raises(HostError, match="No model is loaded"):
        host.status()
    assert isinstance(next(iter(host.run(Request(TALK, "4-bit")))), Failed)


def test_requests_from_two_threads_wait_for_their_turn(shared):
    results: list[list[int]] = []

    def write():
        results.append(tokens(shared.run(Request(TALK, "4-bit", max_tokens=15))))

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(result == results[0] for result in results)


PARENT = """
import signal, sys, time
from pathlib import Path
from backends.host import EngineHost
from backends.types import *
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # `nohup` would be inherited
signal.signal(signal.SIGINT, signal.default_int_handler)  # so would a shell's `&`
host = EngineHost()
host.load(LadderSpec((TierSpec("4-bit", Path(sys.argv[1])),), ctx=1024, threads=2))
print(host.pid, flush=True)
list(host.run(Request((Message("user", "x"),), "4-bit", max_tokens=100000)))
time.sleep(60)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_host_outlives_its_parent(tiny_tiers, how):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tiny_tiers["4-bit"])], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.05)
    parent.send_signal(how)
    parent.wait(20)
    parent.stdout.close()
    wait_for(lambda: gone(pid))


def test_wire_values_survive_the_way_there_and_back():
    request = Request(
        (Message("user", 'Ж "\\ \n 👁'), Message("assistant", "b", (1, 2))),
        "4-bit",
        Decoder.GATED,
        "16-bit",
        gate=Gate(0.2, {"margin": -3.0}),
        sampling=Sampling(temperature=0.7, seed=9),
    )
    number, op, value = wire.read_order(wire.order(7, "run", request))
    assert (number, op, value) == (7, "run", request)
    step = Step(1, "\x1b[31m</b>[/]", "4-bit", 0.5, 1.0, 0.1, 0.2)
    assert wire.read_answer(wire.answer(3, step)) == (3, step)


def test_lone_surrogates_do_not_stop_a_request():
    _, _, value = wire.read_order(wire.order(1, "run", Request((Message("user", "a\udc80👁"),), "4-bit")))
    assert value.messages[0].content == "a?👁"


@pytest.mark.parametrize("line", [b"", b"{}", b"run {}", b"1 run", b"1 run {}", b"x run {}", b"1 \xff {}", b"1 run {"])
def test_garbage_on_the_wire_is_a_host_error(line):
    with pytest.raises(HostError):
        wire.read_order(line)


def test_the_hosts_log_is_bounded(tiny_tiers, tmp_path, monkeypatch):
    monkeypatch.setattr("backends.host.process.LOG_BYTES", 100)
    log = tmp_path / "engine.log"
    log.write_bytes(b"x" * 200)
    host = EngineHost(log)
    host.load(spec(tiny_tiers, "4-bit"))
    host.close()
    assert (tmp_path / "engine.log.1").stat().st_size == 200
    assert log.stat().st_size < 200


def step(token, seq=0, ends=False):
    return Step(token, "x", "4-bit", 1.0, 0.0, 1.0, 0.0, seq=seq, ends=ends)


def test_continuations_that_ended_before_the_host_died_are_left_alone():
    reply = Reply(Request(TALK, "4-bit", max_tokens=10, n=2))
    for event in (step(5), step(6, 1), step(99, ends=True), step(7, 1)):
        list(reply.take(event))
    reply.after_death(HostDied("killed"))
    rest = reply.rest()
    assert (rest.first_seq, rest.prefix) == (1, (6, 7))


def test_a_host_that_dies_between_the_last_token_and_its_end_still_ends_well():
    reply = Reply(Request(TALK, "4-bit", max_tokens=2))
    for event in (step(5), step(6)):
        list(reply.take(event))
    reply.after_death(HostDied("killed"))
    assert reply.written_out()
    assert (reply.done().reason, reply.done().usage.completion_tokens) == ("length", 2)


def test_the_time_and_the_high_tokens_of_a_host_that_died_are_counted():
    times = iter([0.0, 1.0, 3.0, 5.0, 10.0, 11.0])
    reply = Reply(Request(TALK, "4-bit", Decoder.GATED, "16-bit", max_tokens=9), clock=lambda: next(times))
    reply.rest()  # at 1
    for event in (step(5), replace(step(6), why=Why.OVERRULED)):  # the first at 3
        list(reply.take(event))
    reply.after_death(HostDied("killed"))  # at 5
    reply.rest()  # at 10: loading again is no part of the reply
    list(reply.take(replace(step(7), why=Why.CONFIRMED)))  # at 11
    last = Done(Usage(40, 8, 1, high_tokens=1, high_steps=1), Timing(0.5, 1.0, high_s=0.25), "end", Decoder.GATED)
    (done,) = reply.take(last)
    assert done.usage == Usage(40, 8, 3, high_tokens=2, high_steps=1)
    assert done.timing == Timing(prefill_s=2.5, decode_s=3.0, high_s=0.25)


def test_continuations_that_are_finished_one_by_one_take_the_time_of_all():
    reply = Reply(Request(TALK, "4-bit", max_tokens=9, n=2), clock=lambda: 0.0)
    list(reply.take(step(5)))
    list(reply.take(step(6, 1)))
    reply.after_death(HostDied("killed"))
    said = []
    for row in (0, 1):
        assert reply.rest().first_seq == row
        said += reply.take(Done(Usage(40, 40, 0), Timing(0.5, 2.0), "end"))
    assert [done.timing for done in said] == [Timing(1.0, 4.0)]


def test_closing_during_a_reply_starts_no_new_host(tiny_tiers):
    host = EngineHost()
    host.load(spec(tiny_tiers, "4-bit"))
    pid, events = host.pid, []
    for event in host.run(Request(TALK, "4-bit", max_tokens=900)):
        events.append(event)
        if len(tokens(events)) == 3:
            host.close()
    assert isinstance(events[-1], Failed | Done)
    assert host.pid is None
    assert gone(pid)


@pytest.mark.timeout(60)
def test_an_interrupted_load_does_not_hang(tiny_tiers, monkeypatch):
    host = EngineHost()
    host.load(spec(tiny_tiers, "4-bit"))
    stream = host._stream("load", spec(tiny_tiers, "4-bit", "16-bit"))

    def interrupt(*args, **kwargs):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(host._process, "receive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert host.count(TALK) > 0
    host.close()


def test_a_log_that_cannot_be_written_does_not_stop_the_engine(tiny_tiers, tmp_path):
    host = EngineHost(tmp_path)  # a directory
    assert host.load(spec(tiny_tiers, "4-bit")).loaded() == ["4-bit"]
    host.close()


@pytest.mark.timeout(60)
def test_an_answer_that_cannot_be_read_fails_its_request(shared, monkeypatch):
    read = wire.read_answer
    monkeypatch.setattr(wire, "read_answer", lambda line: read(line.replace(b'{"count"', b'{"cou')))
    with pytest.raises(HostError, match="cannot be read"):
        shared.count(TALK)
    monkeypatch.undo()
    assert shared.count(TALK) > 0
    assert wire.number_of(b"garbage") is None


def test_unloading_a_tier_gives_its_memory_back_and_loading_it_goes_on(shared, tiny_tiers):
    whole = spec(tiny_tiers)
    pid = shared.pid
    before = shared.load(whole).rss
    less = shared.load(replace(whole, resting=("16-bit",)))
    assert less.loaded() == ["4-bit"] and less.tiers[1].resting
    assert less.rss < before
    assert isinstance(list(shared.run(Request(TALK, "4-bit", max_tokens=2)))[-1], Done)
    assert shared.load(whole).loaded() == ["4-bit", "16-bit"]
    assert shared.pid == pid, "the same host all the time"


def test_a_host_that_was_ended_is_not_taken_for_alive():
    process = HostProcess(None)
    process.kill()
    assert not process.alive()
    process.close()
