from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backends.errors import LoadError, RemoteError
from backends.remote.completer import Completer
from backends.remote.engine import MixedEngine
from backends.remote.options import RemoteOptions
from backends.scripted import Script, ScriptedEngine
from backends.types import (
    FOUR,
    SIXTEEN,
    Decoder,
    Done,
    Event,
    Failed,
    LadderSpec,
    Message,
    Notice,
    Request,
    Step,
    TierSpec,
)
from tests.backends.remote.server import Handler, ScriptedServer, says, serving

ASK = Request((Message("user", "hi"),), SIXTEEN, max_tokens=20)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as server:
        yield server


def remote(url: str) -> TierSpec:
    return TierSpec(SIXTEEN, Path(), "openai", options={"url": url, "model": "big"})


def impatient(options: RemoteOptions) -> Completer:
    return Completer(replace(options, backoff_s=0, tries=2))


LOCAL = TierSpec(FOUR, Path("four.gguf"))


@pytest.fixture
def engine(server: ScriptedServer) -> Iterator[MixedEngine]:
    engine = MixedEngine(ScriptedEngine(["local words"], tiers=[FOUR]), impatient)
    engine.load(LadderSpec((LOCAL, remote(server.url))))
    yield engine
    engine.close()


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Step))


def test_the_status_shows_both_and_says_that_text_leaves(engine: MixedEngine, server: ScriptedServer) -> None:
    status = engine.status()
    assert status.loaded() == [FOUR, SIXTEEN] and status.local() == [FOUR]
    host = server.url.split("/")[2]
    assert f"Replies of the 16-bit tier come from {host}: the conversation is sent there." in status.notices
    assert not server.bodies, "loading sends nothing"


def test_a_turn_goes_where_its_tier_is(engine: MixedEngine, server: ScriptedServer) -> None:
    server.scripts = [says("remote words")]
    assert text(list(engine.run(ASK))) == "remote words"
    assert text(list(engine.run(replace(ASK, tier=FOUR)))) == "local words"
    assert len(server.bodies) == 1


def test_a_server_that_writes_needs_nothing_of_the_local_engine(
    engine: MixedEngine, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(ScriptedEngine, "status", lambda self: asked.append(1))
    server.scripts = [says("remote words")]
    assert text(list(engine.run(ASK))) == "remote words" and not asked


def test_unreachable_means_one_line_and_staying_local(engine: MixedEngine, server: ScriptedServer) -> None:
    server.scripts = [lambda handler: handler.status(401)]
    events = list(engine.run(ASK))
    assert text(events) == "local words" and isinstance(events[-1], Done)
    (notice,) = (event.text for event in events if isinstance(event, Notice))
    assert notice.endswith("Staying at 4-bit.") and "refuses the key" in notice


def test_a_reply_lost_in_the_middle_is_not_begun_anew(engine: MixedEngine, server: ScriptedServer) -> None:
    def cut(handler: Handler) -> None:
        handler.start()
        handler.text("half")
        handler.hang_up()

    server.scripts = [cut]
    events = list(engine.run(ASK))
    assert text(events) == "half" and isinstance(events[-1], Failed)


def test_a_remote_high_tier_cannot_gate(engine: MixedEngine) -> None:
    events = list(engine.run(replace(ASK, tier=FOUR, high=SIXTEEN, decoder=Decoder.GATED)))
    assert isinstance(events[0], Notice) and "cannot be asked token by token" in events[0].text
    done = events[-1]
    assert isinstance(done, Done) and done.decoder is Decoder.PLAIN
    with pytest.raises(RemoteError, match="token by token"):
        engine.score(ASK.messages, [1], SIXTEEN)


def test_a_bad_url_drops_that_tier_only() -> None:
    engine = MixedEngine(ScriptedEngine(["fine"], tiers=[FOUR]))
    status = engine.load(LadderSpec((LOCAL, remote("nonsense"))))
    assert status.loaded() == [FOUR]
    assert any("no usable url" in notice for notice in status.notices)
    assert text(list(engine.run(replace(ASK, tier=FOUR)))) == "fine"


def test_only_remote_tiers(server: ScriptedServer) -> None:
    local = ScriptedEngine()
    engine = MixedEngine(local, impatient)
    assert engine.load(LadderSpec((remote(server.url),))).loaded() == [SIXTEEN]
    assert local.loads == 0
    server.scripts = [says("remote words")]
    assert text(list(engine.run(ASK))) == "remote words"
    assert engine.count(ASK.messages) > 0
    with pytest.raises(RemoteError, match="no local vocabulary"):
        engine.tokenize("x")
    server.scripts = [lambda handler: handler.status(500), lambda handler: handler.status(500)]
    assert isinstance(list(engine.run(ASK))[-1], Failed)
    with pytest.raises(RemoteError, match="no usable url"):
        engine.load(LadderSpec((remote(""),)))


def test_local_errors_pass_through(server: ScriptedServer) -> None:
    engine = MixedEngine(ScriptedEngine([Script("x")], tiers=[FOUR], problems={FOUR: "no memory"}))
    with pytest.raises(LoadError, match="no memory"):
        engine.load(LadderSpec((LOCAL, remote(server.url))))


def test_cancel_reaches_the_remote_tier(engine: MixedEngine, server: ScriptedServer) -> None:
    def endless(handler: Handler) -> None:
        handler.start()
        while True:
            handler.text("more ")

    server.scripts = [endless]
    events = []
    for event in engine.run(ASK):
        events.append(event)
        if isinstance(event, Step):
            engine.cancel()
    assert isinstance(events[-1], Done) and events[-1].reason == "cancelled"
