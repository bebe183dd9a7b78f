"""The same conversation, locally, through the served ladder, and through a remote tier that is the served ladder."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.settings import Settings
from backends import pocket
from backends.host import EngineHost
from backends.remote.engine import MixedEngine
from backends.types import FOUR, SIXTEEN, Done, Event, LadderSpec, Message, Notice, Request, Sampling, Step, TierSpec
from tests.tui.serve.serving import Running, serving

pytestmark = pytest.mark.skipif(
    not (Path(pocket.__file__).parent / pocket.FILE_NAME).is_file(), reason="the built-in model is not here"
)
CHAT = (Message("system", "You are fovea, a small helpful assistant."), Message("user", "Name three birds."))
ASK = Request(CHAT, SIXTEEN, sampling=Sampling(temperature=0.0), max_tokens=24)
GREEDY = {"sampling.temperature": 0.0, "sampling.repetition_penalty": 1.0, "sampling.top_k": 0, "sampling.min_p": 0.0}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineHost]:
    path = tmp_path_factory.mktemp("model") / pocket.FILE_NAME
    shutil.copy(pocket.path(), path)
    host = EngineHost()
    host.load(LadderSpec((TierSpec(SIXTEEN, path),), ctx=512, threads=1))
    yield host
    host.close()


@pytest.fixture(scope="module")
def server(host: EngineHost) -> Iterator[Running]:
    with serving(host, Settings().with_values({**GREEDY, "sampling.top_p": 1.0})) as running:
        yield running


def text(events: list[Event]) -> str:
    assert isinstance(events[-1], Done), events[-1]
    return "".join(event.text for event in events if isinstance(event, Step))


def test_local_served_and_remote_say_the_same(host: EngineHost, server: Running) -> None:
    local = text(list(host.run(ASK)))
    assert local

    messages = [{"role": m.role, "content": m.content} for m in CHAT]
    with server.client() as client:
        answer = client.chat.completions.create(model="pocket", messages=messages, max_tokens=24)
    assert answer.choices[0].message.content == local
    assert answer.fovea["tiers"] == {SIXTEEN: answer.usage.completion_tokens}

    from backends.scripted import ScriptedEngine

    remote = TierSpec(SIXTEEN, Path(), "openai", options={"url": f"{server.url}/v1", "model": "pocket"})
    mixed = MixedEngine(ScriptedEngine(["local"], tiers=[FOUR]))
    mixed.load(LadderSpec((TierSpec(FOUR, Path("x")), remote)))
    events = list(mixed.run(ASK))
    assert text(events) == local
    assert not [event for event in events if isinstance(event, Notice)], "log-probabilities came along"
    steps = [event for event in events if isinstance(event, Step)]
    assert any(0 < step.p < 1 for step in steps) and all(step.tier == SIXTEEN for step in steps)
    mixed.close()


def test_a_killed_engine_host_does_not_end_the_server(host: EngineHost, server: Running) -> None:
    assert host.pid is not None
    before = host.pid
    os.kill(before, signal.SIGKILL)
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    status, answer = server.raw("POST", "/v1/chat/completions", body)
    assert status == 200 and answer["choices"][0]["message"]["content"], answer
    assert host.pid != before
