from __future__ import annotations

import gc
import logging
import math
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.errors import RemoteError
from backends.remote.completer import Completer
from backends.remote.options import RemoteOptions
from backends.remote.reply import UNKNOWN
from backends.types import (
    SIXTEEN,
    Decoder,
    Done,
    Event,
    Failed,
    Message,
    Notice,
    Request,
    Sampling,
    Step,
    TierSpec,
)
from tests.backends.remote.server import Handler, Script, ScriptedServer, says, serving

ASK = Request((Message("user", "hi"),), SIXTEEN, max_tokens=20)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving() as server:
        yield server


Opener = Callable[..., Completer]


@pytest.fixture
def opened(server: ScriptedServer) -> Iterator[Opener]:
    """Makes Completers of the scripted server, and closes their connections."""
    with ExitStack() as stack:

        def make(url: str = server.url, **options: Any) -> Completer:
            return stack.enter_context(closing(Completer(RemoteOptions(SIXTEEN, url, "big", **options))))

        yield make


@pytest.fixture
def completer(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> Completer:
    monkeypatch.setenv("FOVEA_REMOTE_KEY", "sk-very-secret")
    return opened(silence_s=10, backoff_s=0)


def play(completer: Completer, server: ScriptedServer, *scripts: Script, request: Request = ASK) -> list[Event]:
    server.scripts = list(scripts)
    return list(completer.run(request))


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Step))


def failure(events: list[Event]) -> str:
    last = events[-1]
    assert isinstance(last, Failed) and last.kind == "RemoteError", events
    assert "\n" not in last.text and "secret" not in last.text
    return last.text


def notices(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


# A reply that goes well ---------------------------------------------------------------------------------------------


def test_a_plain_reply(completer: Completer, server: ScriptedServer) -> None:
    events = play(completer, server, says("Hel", "lo \u2014 \u043f\u0440\u0438\u0432\u0435\u0442"))
    assert text(events) == "Hello \u2014 \u043f\u0440\u0438\u0432\u0435\u0442"
    done = events[-1]
    assert isinstance(done, Done)
    assert (done.reason, done.decoder, done.usage.completion_tokens) == ("end", Decoder.PLAIN, 2)
    assert done.timing.prefill_s >= 0 and done.timing.decode_s >= 0
    steps = [event for event in events if isinstance(event, Step)]
    assert {(step.token, step.tier, step.density) for step in steps} == {(UNKNOWN, SIXTEEN, 0.0)}
    assert any("no log-probabilities" in notice for notice in notices(events))


def test_what_is_asked(completer: Completer, server: ScriptedServer) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, repetition_penalty=1.1, seed=3)
    request = replace(ASK, sampling=sampling, stop=("END",), decoder=Decoder.GATED, high="other")
    play(completer, server, says("x"), request=request)
    body = server.bodies[0]
    assert body["model"] == "big" and body["messages"] == [{"role": "user", "content": "hi"}]
    assert (body["temperature"], body["top_p"], body["seed"], body["max_tokens"]) == (0.7, 0.9, 3, 20)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"], body["stop"]) == (40, 0.05, 1.1, ["END"])
    assert body["stream"] and body["logprobs"] and body["top_logprobs"] == 5
    assert server.paths == ["/v1/chat/completions"]
    assert server.seen_headers[0]["authorization"] == "Bearer sk-very-secret"


def test_filters_that_are_off_are_said_too(completer: Completer, server: ScriptedServer) -> None:
    """Or the server's own defaults would apply."""
    play(completer, server, says("x"))
    body = server.bodies[0]
    assert (body["top_p"], body["top_k"], body["min_p"], body["repeat_penalty"]) == (1.0, 0, 0.0, 1.0)
    assert not {"n", "stop"} & set(body)


def test_log_probabilities_become_signals(completer: Completer, server: ScriptedServer) -> None:
    def entry(token: str, p: float, *others: tuple[str, float], raw: bytes | None = None) -> dict[str, Any]:
        top = [{"token": t, "logprob": math.log(q)} for t, q in ((token, p), *others)]
        data = list(raw) if raw is not None else None
        return {"token": token, "logprob": math.log(p), "bytes": data, "top_logprobs": top}

    def script(handler: Handler) -> None:
        handler.start()
        handler.text("sure", logprobs={"content": [entry("sure", 0.9, ("no", 0.05))]})
        handler.text("?", logprobs={"content": [entry("?", 0.45, ("!", 0.45))]})
        halves = [entry("\ufffd", 0.8, ("a", 0.1), raw=b"\xd0"), entry("\ufffd", 0.8, ("a", 0.1), raw=b"\x9f")]
        handler.text("\u041f", logprobs={"content": halves})
        handler.event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4,
                                                "prompt_tokens_details": {"cached_tokens": 5}}})  # fmt: skip
        handler.text("", "length")
        handler.done()

    events = play(completer, server, script)
    sure, tie, first, second = (event for event in events if isinstance(event, Step))
    assert sure.p == pytest.approx(0.9) and sure.margin == pytest.approx(math.log(18))
    assert sure.density < 1e-6 < 0.5 == pytest.approx(tie.density)
    assert 0 < sure.entropy < tie.entropy
    assert [(a.text, pytest.approx(a.p)) for a in sure.alternatives] == [("sure", 0.9), ("no", 0.05)]
    assert (first.text, second.text) == ("", "\u041f")
    done = events[-1]
    assert isinstance(done, Done) and done.reason == "length"
    assert (done.usage.prompt_tokens, done.usage.cached_tokens, done.usage.completion_tokens) == (7, 5, 4)
    assert not notices(events)


def test_several_continuations(completer: Completer, server: ScriptedServer) -> None:
    def script(handler: Handler) -> None:
        handler.start()
        for index in (0, 1, 0, 1):
            handler.text(f"{index}", index=index)
        handler.text("", "stop", index=0)
        handler.text("", "stop", index=1)
        handler.done()

    events = play(completer, server, script, request=replace(ASK, n=2))
    assert server.bodies[0]["n"] == 2
    assert [event.seq for event in events if isinstance(event, Step)] == [0, 1, 0, 1]
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"])
def test_bytes_may_be_cut_anywhere(completer: Completer, server: ScriptedServer, newline: bytes) -> None:
    lines = [
        b": a comment", b"event: x", b'data: {"choices":[{"delta":{"content":"\xd0\x9f!"}}]}', b"",
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}', b"",
    ]  # fmt: skip

    def script(handler: Handler) -> None:
        handler.start()
        for byte in newline.join([*lines, b"data: [DONE]"]):
            handler.raw(bytes([byte]))
        handler.wfile.write(b"0\r\n\r\n")

    events = play(completer, server, script)
    assert text(events) == "\u041f!" and isinstance(events[-1], Done)


def test_a_server_without_the_optional_fields(completer: Completer, server: ScriptedServer) -> None:
    def refuse(handler: Handler) -> None:
        handler.status(400, {"error": {"message": "logprobs are not supported"}})

    events = play(completer, server, refuse, says("fine"))
    assert text(events) == "fine" and isinstance(events[-1], Done)
    assert "logprobs" in server.bodies[0] and not {"logprobs", "stream_options", "top_k"} & set(server.bodies[1])
    play(completer, server, says("again"))
    assert "logprobs" not in server.bodies[2], "it is not asked a second time"


# Faults -------------------------------------------------------------------------------------------------------------


def test_nobody_there(opened: Opener) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    completer = opened(f"http://127.0.0.1:{port}/v1", backoff_s=0, tries=2)
    events = list(completer.run(ASK))
    assert f"The 16-bit tier at 127.0.0.1:{port}: cannot be reached" in failure(events)
    assert [notice.endswith("trying again (2 of 2).") for notice in notices(events)] == [True]
    with pytest.raises(RemoteError, match="cannot be reached"):
        completer.models()


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_tried_again(completer: Completer, server: ScriptedServer, code: int) -> None:
    def busy(handler: Handler) -> None:
        handler.status(code, {"error": {"message": "too\nbusy\x1b[31m"}}, retry_after="0")

    events = play(completer, server, busy, busy, says("made it"))
    assert text(events) == "made it"
    assert [f"answers {code}: too busy[31m; trying again" in notice for notice in notices(events)[:2]] == [True, True]
    assert f"answers {code}" in failure(play(completer, server, busy, busy, busy))


@pytest.mark.parametrize(
    ("code", "says_"),
    [(401, "refuses the key"), (403, "FOVEA_REMOTE_KEY"), (404, "knows no model 'big'"), (418, "answers 418")],
)
def test_other_refusals_are_final(completer: Completer, server: ScriptedServer, code: int, says_: str) -> None:
    events = play(completer, server, lambda handler: handler.status(code, {"error": "no"}))
    assert says_ in failure(events)
    assert len(server.bodies) == 1


def test_a_redirect_is_not_followed(completer: Completer, server: ScriptedServer) -> None:
    with serving() as elsewhere:
        elsewhere.scripts = [says("stolen")]
        target = f"{elsewhere.url}/chat/completions"
        events = play(completer, server, lambda handler: handler.status(307, {}, location=target))
        assert "points to another address" in failure(events)
        assert not elsewhere.bodies


def cut(handler: Handler) -> None:
    handler.start()
    handler.text("half a ")
    handler.hang_up()


def ends_early(handler: Handler) -> None:
    handler.start()
    handler.text("half a ")
    handler.wfile.write(b"0\r\n\r\n")


@pytest.mark.parametrize("script", [cut, ends_early])
def test_closed_in_the_middle(completer: Completer, server: ScriptedServer, script: Script) -> None:
    events = play(completer, server, script)
    assert text(events) == "half a ", "what came is kept"
    assert "closed the connection in the middle" in failure(events)
    assert len(server.bodies) == 1, "a reply that has begun is not asked for again"


def test_closed_before_anything_is_tried_again(completer: Completer, server: ScriptedServer) -> None:
    events = play(completer, server, lambda handler: handler.hang_up(), says("second"))
    assert text(events) == "second" and isinstance(events[-1], Done)


def garbage(data: bytes, content_type: str = "text/event-stream") -> Script:
    def script(handler: Handler) -> None:
        handler.start(content_type)
        handler.raw(data)
        handler.wfile.write(b"0\r\n\r\n")

    return script


@pytest.mark.parametrize(
    ("script", "says_"),
    [
        (garbage(b"<html>login</html>", "text/html"), "sent no reply"),
        (garbage(b"data: {oops\n\n"), "not JSON"),
        (garbage(b"data: " + b"[" * 50_000 + b"\n\n"), "not JSON"),
        (garbage(b"data: [1, 2]\n\n"), "not a chat completion"),
        (garbage(b'data: {"choices": 7}\n\n'), "not a chat completion"),
        (garbage(b'data: {"choices": [7, {"delta": 3, "index": "x"}]}\n\n'), "sent no reply"),
        (garbage(b'data: {"error": {"message": "out of\\nmemory"}}\n\n'), "reports: out of memory"),
        (garbage(b"\x00\xff\xfe" * 100 + b"\n\n"), "sent no reply"),
        (garbage(b"x" * 5_000_000), "line without end"),
        (garbage(b""), "sent no reply"),
    ],
)
def test_garbage(completer: Completer, server: ScriptedServer, script: Script, says_: str) -> None:
    assert says_ in failure(play(completer, server, script))


def test_strange_values_do_not_break_a_reply(completer: Completer, server: ScriptedServer) -> None:
    def script(handler: Handler) -> None:
        handler.start()
        content = [
            {"token": "a", "logprob": "x", "bytes": [999], "top_logprobs": [{"token": 4}, 5]},
            6,
            {"token": None},
        ]
        handler.text("a", logprobs={"content": content})
        handler.event(b'{"choices":[{"delta":{"content":"b"},"logprobs":{"content":[{"token":"b","logprob":NaN}]}}],'
                      b'"usage":{"prompt_tokens":-4,"completion_tokens":true}}')  # fmt: skip
        handler.text("c", logprobs={"content": [{"token": "c", "logprob": -1e400}]})
        handler.text("", "stop")
        handler.done()

    events = play(completer, server, script)
    assert text(events) == "abc"
    for step in (event for event in events if isinstance(event, Step)):
        assert all(math.isfinite(value) for value in (step.p, step.entropy, step.margin, step.density))
    assert isinstance(events[-1], Done)


def test_a_server_that_hangs(opened: Opener, server: ScriptedServer) -> None:
    completer = opened(silence_s=0.2, tries=2)
    assert "nothing came for 0.2 s" in failure(play(completer, server, Handler.wait_for_release))


def test_a_server_that_hangs_in_the_middle(opened: Opener, server: ScriptedServer) -> None:
    def script(handler: Handler) -> None:
        handler.start()
        handler.text("half")
        handler.wait_for_release()

    completer = opened(silence_s=0.3)
    events = play(completer, server, script)
    assert text(events) == "half" and "nothing came for 0.3 s" in failure(events)


# Stopping -----------------------------------------------------------------------------------------------------------


def endless(handler: Handler) -> None:
    handler.start()
    while True:
        handler.text("more ")


def test_cancel_keeps_the_text(completer: Completer, server: ScriptedServer) -> None:
    server.scripts = [endless]
    events: list[Event] = []
    for event in completer.run(ASK):
        events.append(event)
        if len(events) == 6:
            completer.cancel()
    done = events[-1]
    assert isinstance(done, Done) and done.reason == "cancelled" and text(events).startswith("more more ")
    assert server.hung_up.wait(10), "the connection is let go"


def test_cancel_while_nothing_comes(completer: Completer, server: ScriptedServer) -> None:
    server.scripts = [Handler.wait_for_release]
    canceller = threading.Thread(target=lambda: (server.waiting.wait(), completer.cancel()))
    canceller.start()
    events = list(completer.run(ASK))
    canceller.join()
    assert isinstance(events[-1], Done) and events[-1].reason == "cancelled"


def test_cancel_during_a_wait_between_tries(opened: Opener, server: ScriptedServer) -> None:
    completer = opened(backoff_s=30)
    server.scripts = [lambda handler: handler.status(503)]
    events = []
    for event in completer.run(ASK):
        events.append(event)
        if isinstance(event, Notice):
            completer.cancel()
    assert isinstance(events[-1], Done) and events[-1].reason == "cancelled"


def test_closing_the_iterator_lets_go(completer: Completer, server: ScriptedServer) -> None:
    server.scripts = [endless]
    run = completer.run(ASK)
    next(run)
    del run
    gc.collect()
    assert server.hung_up.wait(10)


def test_tokens_of_a_local_engine_cannot_be_continued(completer: Completer, server: ScriptedServer) -> None:
    assert "cannot go on from the tokens" in failure(play(completer, server, request=replace(ASK, prefix=(1, 2))))
    assert not server.bodies


# Keys and settings --------------------------------------------------------------------------------------------------


def test_the_key_is_nowhere_but_in_the_header(
    completer: Completer, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        play(completer, server, says("x"))
        failure(play(completer, server, lambda handler: handler.status(401, {"error": "bad key sk-very-secret"})))
    assert "secret" not in repr(completer.options)
    fovea = [record for record in caplog.records if "fovea" in record.name or "backends" in record.name]
    assert "secret" not in "".join(record.getMessage() for record in fovea)
    assert "very-secret" not in caplog.text


def test_the_clients_own_environment_is_not_sent(
    opened: Opener, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FOVEA_REMOTE_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-x")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-x")
    play(opened(key_env="NOT_SET"), server, says("x"))
    sent = " ".join(f"{name} {value}" for name, value in server.seen_headers[0].items())
    assert not any(secret in sent for secret in ("sk-openai", "org-x", "proj-x"))


def test_models(completer: Completer, server: ScriptedServer) -> None:
    server.scripts = [
        lambda handler: handler.status(200, {"object": "list", "data": [{"id": "big"}, {"id": "bi\x1bg"}]})
    ]
    assert completer.models() == ["big", "big"]
    server.scripts = [lambda handler: handler.status(200, b"<html>")]
    with pytest.raises(RemoteError):
        completer.models()


def tier(**options: str) -> TierSpec:
    return TierSpec(SIXTEEN, Path(), backend="openai", options=options)


def test_options_from_a_tier() -> None:
    options = RemoteOptions.of(tier(url="https://host:8000/v1/", model="m", silence_s="3", tries="0", logprobs="99"))
    assert (options.url, options.host, options.model) == ("https://host:8000/v1", "host:8000", "m")
    assert (options.silence_s, options.tries, options.logprobs, options.connect_s) == (3.0, 1, 20, 5.0)


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://x/v1", "http://", "http://x:99999/", "http://[::1/v1", "file:///etc"]
)
def test_unusable_urls(url: str) -> None:
    with pytest.raises(RemoteError, match=r"no usable url; it looks like http://localhost:8000/v1"):
        RemoteOptions.of(tier(url=url))


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(RemoteError, match="user name or password") as caught:
        RemoteOptions.of(tier(url="https://me:hunter2@host/v1"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_unusable_numbers(value: str) -> None:
    with pytest.raises(RemoteError, match="silence_s"):
        RemoteOptions.of(tier(url="http://x/v1", silence_s=value))


@pytest.mark.parametrize(
    ("url", "safe"),
    [("http://localhost:1/v1", True), ("http://127.0.0.9/v1", True), ("http://[::1]/v1", True),
     ("https://example.com/v1", True), ("http://example.com/v1", False), ("http://10.0.0.1/v1", False)],
)  # fmt: skip
def test_encrypted_or_local(url: str, safe: bool) -> None:
    assert RemoteOptions(SIXTEEN, url, "m").encrypted_or_local is safe
