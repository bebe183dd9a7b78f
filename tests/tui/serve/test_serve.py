from __future__ import annotations

import base64
import json
import math
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.errors import TurnError
from agent.oversight import DefaultOverseer
from agent.settings import Settings
from backends.scripted import Script, ScriptedEngine, Word
from backends.types import EIGHT, FOUR, SIXTEEN, Decoder, Failed, LadderSpec, LadderStatus, Message, TierStatus
from tests.tui.serve.serving import Gatekeeper, Running, serving, until
from tui.serve.schema import ChatBody
from tui.serve.service import Service

ASK: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
TIE = Script([Word("All"), Word(" birds", density=0.9, high=" eggs"), Word(" fly.")])


def engine(*scripts: Script | str, **options: Any) -> ScriptedEngine:
    made = ScriptedEngine(list(scripts), **options)
    made.load(LadderSpec(()))
    return made


@pytest.fixture
def scripted() -> ScriptedEngine:
    return engine()


@pytest.fixture
def server(scripted: ScriptedEngine) -> Iterator[Running]:
    with serving(scripted) as running:
        yield running


def load(scripted: ScriptedEngine, *scripts: Script | str) -> None:
    scripted._scripts += [Script(s) if isinstance(s, str) else s for s in scripts]


# Answers ------------------------------------------------------------------------------------------------------------


def test_a_chat_completion(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, "Hello \u2014 \u043f\u0440\u0438\u0432\u0435\u0442!")
    with server.client() as client:
        answer = client.chat.completions.create(model="pocket", messages=ASK, temperature=0, max_tokens=50, seed=7)
    assert answer.choices[0].message.content == "Hello \u2014 \u043f\u0440\u0438\u0432\u0435\u0442!"
    assert answer.choices[0].finish_reason == "stop" and answer.object == "chat.completion"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    request = scripted.requests[0]
    assert (request.sampling.temperature, request.sampling.seed, request.max_tokens) == (0, 7, 50)
    assert (request.tier, request.decoder) == (FOUR, Decoder.PLAIN), "the policy is ask, and nobody can be asked"
    assert answer.fovea["tiers"] == {FOUR: answer.usage.completion_tokens}


def test_streaming_gives_the_same_text(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, "one two three", "one two three")
    with server.client() as client:
        whole = client.chat.completions.create(model="", messages=ASK).choices[0].message.content
        options = {"include_usage": True}
        chunks = list(client.chat.completions.create(model="", messages=ASK, stream=True, stream_options=options))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert "".join(pieces) == whole == "one two three" and len(pieces) == 3
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 3 and not chunks[-1].choices
    assert len({chunk.id for chunk in chunks}) == 1


def test_completions(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, "four", "five six")
    with server.client() as client:
        answer = client.completions.create(model="pocket", prompt="two and two")
        chunks = list(client.completions.create(model="pocket", prompt=["x"], stream=True))
    assert answer.choices[0].text == "four" and answer.object == "text_completion"
    assert "".join(chunk.choices[0].text for chunk in chunks) == "five six"
    assert [m.content for m in scripted.requests[0].messages] == ["two and two"]


def test_several_choices(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, Script("one", continuations=["two", "three"]), Script("one", continuations=["two"]))
    with server.client() as client:
        answer = client.chat.completions.create(
            model="pocket", messages=ASK, n=3, extra_body={"fovea": {"policy": "auto"}}
        )
        chunks = list(client.chat.completions.create(model="pocket", messages=ASK, n=2, stream=True))
    assert [choice.message.content for choice in answer.choices] == ["one", "two", "three"]
    by_index = {0: "", 1: ""}
    for chunk in chunks:
        by_index[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert by_index == {0: "one", 1: "two"}
    assert scripted.requests[0].decoder is Decoder.PLAIN


def test_messages_in_parts_and_developer_role(server: Running, scripted: ScriptedEngine) -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}]
    status, _ = server.raw("POST", "/v1/chat/completions", {"messages": messages})
    assert status == 200
    assert [(m.role, m.content) for m in scripted.requests[0].messages] == [("system", "be brief"), ("user", "one two")]


def test_log_probabilities(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, Script([Word("yes", p=0.8)]))
    with server.client() as client:
        answer = client.chat.completions.create(model="pocket", messages=ASK, logprobs=True, top_logprobs=3)
    (entry,) = answer.choices[0].logprobs.content
    assert entry.token == "yes" and math.exp(entry.logprob) == pytest.approx(0.8)
    assert bytes(entry.bytes) == b"yes" and entry.top_logprobs[0].token == "yes"


# Precision ----------------------------------------------------------------------------------------------------------


def test_a_request_may_name_a_tier(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, Script("low", by_tier={SIXTEEN: "high"}), Script("low", by_tier={SIXTEEN: "high"}))
    with server.client() as client:
        by_field = client.chat.completions.create(model="pocket", messages=ASK, extra_body={"fovea": {"tier": SIXTEEN}})
        by_name = client.chat.completions.create(model=f"pocket:{SIXTEEN}", messages=ASK)
    for answer in (by_field, by_name):
        assert answer.choices[0].message.content == "high"
        assert answer.fovea["tier"] == SIXTEEN and answer.fovea["tiers"] == {SIXTEEN: 1}


def test_auto_looks_closer_where_meaning_is_dense(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, TIE, TIE)
    wanted = {"fovea": {"policy": "auto", "budget": 0.5, "provenance": True}}
    with server.client() as client:
        answer = client.chat.completions.create(model="pocket", messages=ASK, extra_body=wanted)
        chunks = list(client.chat.completions.create(model="pocket", messages=ASK, stream=True, extra_body=wanted))
    assert answer.choices[0].message.content == "All eggs fly."
    used = answer.fovea
    assert (used["decoder"], used["high_tokens"], used["policy"], used["budget"]) == ("gated", 1, "auto", 0.5)
    assert used["tiers"] == {FOUR: 2, used["high"]: 1}
    assert [origin["why"] for origin in answer.choices[0].fovea] == ["spoke", "overruled", "spoke"]
    assert [c.fovea["why"] for c in chunks if c.choices[0].delta.content] == ["spoke", "overruled", "spoke"]
    assert chunks[-1].fovea["decoder"] == "gated"


def test_the_pair_is_the_one_the_chat_uses_and_a_calibration_is_made_for() -> None:
    tiers = tuple(
        TierStatus(name, Path(name), True, slower_than=SIXTEEN if name == FOUR else "")
        for name in (FOUR, EIGHT, SIXTEEN)
    )
    auto = Settings().with_values({"policy.mode": "auto"})
    for slow, pair in ((False, (FOUR, SIXTEEN)), (True, (EIGHT, SIXTEEN))):
        ladder = LadderStatus(tiers if slow else tuple(replace(t, slower_than="") for t in tiers), 2048, 100, "llama")
        service = Service(engine(), ladder, "pocket", auto, DefaultOverseer())
        planned = service.plan(ChatBody(messages=ASK), [Message("user", "hi")], "")  # type: ignore[arg-type]
        assert (planned.request.tier, planned.request.high) == pair
    with pytest.raises(TurnError, match="1-bit"):
        Service(engine(), ladder, "pocket", auto.with_values({"tier": "1-bit"}), DefaultOverseer())


def test_what_the_policy_has_to_say_is_in_every_answer(
    scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [["The calibration is not used"], [], [], []]
    monkeypatch.setattr(DefaultOverseer, "notices", lambda self: said.pop(0))
    with serving(scripted) as server:
        for _ in range(2):
            _, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK})
            assert answer["fovea"]["notices"] == ["The calibration is not used"]
        assert server.service.notices() == ("The calibration is not used",)


def test_the_budget_is_kept_over_requests(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, TIE, TIE)
    for decoder in ("gated", "plain"):
        body = {"messages": ASK, "fovea": {"policy": "auto", "budget": 0.1}}
        _, answer = server.raw("POST", "/v1/chat/completions", body)
        assert answer["fovea"]["decoder"] == decoder, "a third of all tokens is spent after the first reply"


def test_a_tier_that_was_chosen_to_speak_spends_nothing(scripted: ScriptedEngine) -> None:
    load(scripted, TIE, "Eggs.")
    with serving(scripted, Settings().with_values({"tier": EIGHT, "policy.budget": 0.5})) as server:
        for decoder in ("gated", "gated"):
            _, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK, "fovea": {"policy": "auto"}})
            assert answer["fovea"]["decoder"] == decoder
        assert server.service._spent.high_turns == 0


def test_faithful_is_speculative(server: Running, scripted: ScriptedEngine) -> None:
    body = {"messages": ASK, "fovea": {"policy": "auto", "faithful": True}}
    server.raw("POST", "/v1/chat/completions", body)
    assert scripted.requests[0].decoder is Decoder.SPECULATIVE


def test_what_was_ignored_is_said(server: Running) -> None:
    body = {"messages": ASK, "presence_penalty": 0.5, "frequency_penalty": 0, "user": "me", "zzz": 1}
    _, answer = server.raw("POST", "/v1/chat/completions", body)
    assert answer["fovea"]["ignored"] == ["presence_penalty", "zzz"]
    status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK, "half \ud800": 1})
    assert status == 200 and answer["fovea"]["ignored"] == ["half ?"]


# Refusals and failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": 7}]}, "content"),
        (
            {"messages": [{"role": "user", "content": "\ud800"}]},
            "messages.0.content: Input should be a valid string, unable",
        ),
        ({"messages": ASK, "temperature": math.nan}, "temperature"),
        ({"messages": ASK, "n": 99}, "n"),
        ({"messages": ASK, "n": 5}, "At most 4 choices"),
        ({"messages": ASK, "n": 5, "stream": True}, "At most 4 choices"),
        ({"messages": ASK, "temperature": 3}, "temperature"),
        ({"messages": ASK, "repetition_penalty": 1e-9}, "repetition_penalty"),
        ({"messages": ASK, "max_tokens": 0}, "max_tokens"),
        ({"messages": ASK, "stop": ["a"] * 17}, "stop"),
        ({"messages": ASK, "tools": [{"type": "function"}]}, "tools cannot be used here"),
        ({"messages": ASK, "response_format": {"type": "json_object"}}, "forced formats"),
        ({"messages": ASK, "fovea": {"tear": "x"}}, "fovea.tear"),
        ({"messages": ASK, "fovea": {"budget": 2}}, "fovea.budget"),
        ([], "object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_bad_bodies(server: Running, scripted: ScriptedEngine, body: Any, says: str) -> None:
    status, answer = server.raw("POST", "/v1/chat/completions", body)
    assert status == 400 and says in answer["error"]["message"], answer
    assert "Value error" not in answer["error"]["message"]
    assert answer["error"]["type"] == "invalid_request_error" and not scripted.requests


@pytest.mark.parametrize("model", ["gpt-4", "pocket:3-bit", "other:4-bit"])
def test_unknown_models(server: Running, model: str) -> None:
    status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK, "model": model})
    assert status == 404 and answer["error"]["code"] == "model_not_found"
    assert "pocket" in answer["error"]["message"]


def test_too_long_a_prompt() -> None:
    with serving(engine(ctx=40)) as server:
        messages = [{"role": "user", "content": "word " * 100}]
        for stream in (False, True):
            status, answer = server.raw("POST", "/v1/chat/completions", {"messages": messages, "stream": stream})
            error = answer["error"] if not stream else json.loads(answer.split("data: ")[2].strip())["error"]
            assert error["code"] == "context_length_exceeded" and status == (200 if stream else 400)


def test_the_reply_gets_the_room_that_is_left() -> None:
    scripted = engine("one two three four five six", ctx=20)
    with serving(scripted) as server:
        _, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK, "max_tokens": 4000})
    assert scripted.requests[0].max_tokens < 20
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_an_engine_that_fails(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, Script("a b c", fail_after=1), Script("a b c", fail_after=1, failure=Failed("BackendError", "odd")))
    status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK})
    assert status == 503 and "host was killed" in answer["error"]["message"]
    status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK, "stream": True})
    assert status == 200 and '"a"' in answer and '"odd"' in answer and answer.endswith("data: [DONE]\n\n")
    load(scripted, "fine again")
    status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK})
    assert answer["choices"][0]["message"]["content"] == "fine again"


def test_an_engine_that_raises(server: Running, scripted: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(request: Any) -> Any:
        raise RuntimeError("engine bug")

    monkeypatch.setattr(scripted, "run", broken)
    status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK})
    assert status == 500 and "engine bug" in answer["error"]["message"]
    monkeypatch.undo()
    assert server.raw("POST", "/v1/chat/completions", {"messages": ASK})[0] == 200


def test_the_openai_client_understands_refusals(server: Running) -> None:
    import openai

    with server.client() as client, pytest.raises(openai.NotFoundError, match="There is no model"):
        client.chat.completions.create(model="gpt-4", messages=ASK)


def test_paths_and_methods(server: Running) -> None:
    assert server.raw("GET", "/nowhere")[0] == 404
    assert server.raw("GET", "/v1/chat/completions")[0] == 405
    status, answer = server.raw("POST", "/v1/chat/completions", b"{}", content_type="text/plain")
    assert status == 415 and "application/json" in answer["error"]["message"]


def test_a_huge_body(server: Running) -> None:
    status, answer = server.raw("POST", "/v1/chat/completions", b" " * 9_000_000)
    assert status == 413 and "8 MB" in answer["error"]["message"]


# Who may talk -------------------------------------------------------------------------------------------------------


def test_a_token() -> None:
    token = "a-long-enough-token"
    with serving(engine(), token=token) as server:
        for headers in (
            {},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {token}"},
            {"authorization": token},
        ):
            status, answer = server.raw("GET", "/v1/models", **headers)
            assert status == 401 and answer["error"]["type"] == "authentication_error"
        assert server.raw("GET", "/metrics")[0] == 401
        assert server.raw("GET", "/health")[0] == 200
        with server.client(key=token) as client:
            assert client.models.list().data[0].id == "pocket"


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"origin": "https://evil.example"}, {"origin": "null"}, {"host": "[::1"}],
)
def test_web_pages_and_rebound_names_are_refused(server: Running, headers: dict[str, str]) -> None:
    status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK}, **headers)
    assert status == 403, answer


@pytest.mark.parametrize("headers", [{"host": "localhost:99"}, {"origin": "http://localhost:3000"}, {"host": "[::1]"}])
def test_local_names_are_fine(server: Running, headers: dict[str, str]) -> None:
    assert server.raw("GET", "/v1/models", **headers)[0] == 200


# The rest -----------------------------------------------------------------------------------------------------------


def test_models(server: Running) -> None:
    with server.client() as client:
        names = [model.id for model in client.models.list()]
        assert names == ["pocket", "pocket:4-bit", "pocket:8-bit", "pocket:16-bit"]
        assert client.models.retrieve("pocket:8-bit").id == "pocket:8-bit"
    assert server.raw("GET", "/v1/models/other")[0] == 404


def test_embeddings() -> None:
    def embed(texts: Any) -> Any:
        return np.array([[len(text), 0.5] for text in texts], np.float32)

    with serving(engine(), embed=embed) as server:
        with server.client() as client:
            for encoding in ("float", "base64"):
                found = client.embeddings.create(model="x", input=["ab", "abc"], encoding_format=encoding)
                vectors = [d.embedding for d in found.data]
                if encoding == "base64":
                    vectors = [np.frombuffer(base64.b64decode(v), "<f4").tolist() for v in vectors]
                assert vectors == [[2.0, 0.5], [3.0, 0.5]]
            assert client.embeddings.create(model="x", input="a").data[0].embedding == [1.0, 0.5]
        assert server.raw("POST", "/v1/embeddings", {"input": []})[0] == 400


def test_embeddings_without_a_model(server: Running) -> None:
    assert server.raw("POST", "/v1/embeddings", {"input": "x"})[0] == 501

    def broken(texts: Any) -> Any:
        raise RuntimeError("no\nweights")

    with serving(engine(), embed=broken) as other:
        status, answer = other.raw("POST", "/v1/embeddings", {"input": "x"})
        assert status == 503 and "no weights" in answer["error"]["message"]


def test_health_and_metrics(server: Running, scripted: ScriptedEngine) -> None:
    load(scripted, TIE)
    server.raw("POST", "/v1/chat/completions", {"messages": ASK, "fovea": {"policy": "auto"}})
    server.raw("POST", "/v1/chat/completions", {})
    assert server.raw("GET", "/health")[1] == {"status": "ok", "model": "pocket", "tiers": ["4-bit", "8-bit", "16-bit"]}
    for made_up in ("one", "two", "three/four"):
        server.raw("GET", f"/v1/models/{made_up}")
    _, text = server.raw("GET", "/metrics")
    lines = text.splitlines()
    assert 'fovea_requests_total{path="/v1/models/*",status="404"} 3' in lines
    assert 'fovea_requests_total{path="/v1/chat/completions",status="200"} 1' in lines
    assert 'fovea_requests_total{path="/v1/chat/completions",status="400"} 1' in lines
    assert 'fovea_tokens_total{tier="4-bit"} 2' in lines and "fovea_high_tokens_total 1" in lines
    assert "fovea_running 0" in lines and "fovea_waiting 0" in lines


# Waiting and going away ---------------------------------------------------------------------------------------------


def test_requests_wait_their_turn_and_the_queue_is_bounded() -> None:
    gate = Gatekeeper()
    slow = engine(Script("slow", prefill_s=1), "second", wait=gate)
    with serving(slow, queue=1) as server:
        clients = [send(server, {"messages": ASK})]
        assert gate.reached.wait(30)
        clients.append(send(server, {"messages": ASK}))
        until(lambda: server.service.metrics.value("fovea_waiting") == 1)
        status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK})
        assert status == 503 and answer["error"]["type"] == "overloaded_error"
        gate.go.set()
        texts = [json.loads(receive(client))["choices"][0]["message"]["content"] for client in clients]
        assert texts == ["slow", "second"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_stops_its_reply(stream: bool) -> None:
    gate = Gatekeeper()
    scripted = engine(Script("one two three", token_s=1), "next", wait=gate)
    with serving(scripted) as server:
        client = send(server, {"messages": ASK, "stream": stream})
        assert gate.reached.wait(30)
        client.close()
        until(lambda: scripted._cancelled.is_set())
        gate.go.set()
        status, answer = server.raw("POST", "/v1/chat/completions", {"messages": ASK})
        assert status == 200 and answer["choices"][0]["message"]["content"] == "next"
        assert server.service.metrics.value("fovea_disconnects_total") == 1


def test_a_client_that_goes_away_while_waiting_is_skipped() -> None:
    gate = Gatekeeper()
    scripted = engine(Script("first", prefill_s=1), "third", wait=gate)
    with serving(scripted) as server:
        first = send(server, {"messages": ASK})
        assert gate.reached.wait(30)
        second = send(server, {"messages": ASK})
        until(lambda: server.service.metrics.value("fovea_waiting") == 1)
        second.close()
        until(lambda: server.service.metrics.value("fovea_disconnects_total") == 1)
        gate.go.set()
        assert b"first" in receive(first)
        assert (
            server.raw("POST", "/v1/chat/completions", {"messages": ASK})[1]["choices"][0]["message"]["content"]
            == "third"
        )
        assert len(scripted.requests) == 2


def test_a_server_that_stops_ends_a_running_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.serve.run.GRACE_S", 0)
    gate = Gatekeeper()
    scripted = engine(Script("one two three", token_s=1), wait=gate)
    with serving(scripted) as server:
        client = send(server, {"messages": ASK, "stream": True})
        assert gate.reached.wait(30)
        gate.go.set()
    client.close()


def send(server: Running, body: Any) -> socket.socket:
    """A request whose answer is not waited for."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(data)}\r\n"
    )
    connection.sendall(head.encode() + b"content-type: application/json\r\n\r\n" + data)
    return connection


def receive(connection: socket.socket) -> bytes:
    """The body of an answer."""
    with connection, connection.makefile("rb") as file:
        return file.read().partition(b"\r\n\r\n")[2]


def test_settings_are_the_defaults(scripted: ScriptedEngine) -> None:
    settings = Settings().with_values({"sampling.temperature": 0.1, "sampling.max_tokens": 9, "policy.mode": "auto"})
    with serving(scripted, settings) as server:
        server.raw("POST", "/v1/chat/completions", {"messages": ASK})
    request = scripted.requests[0]
    assert (request.sampling.temperature, request.max_tokens, request.decoder) == (0.1, 9, Decoder.GATED)
