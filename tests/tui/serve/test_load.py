"""Many clients at once over a real ladder, a third of them leaving early: nothing may be left behind."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from backends.types import FOUR, SIXTEEN
from tests.backends.toy_stepper import ToyStepper
from tests.tui.serve.serving import LadderEngine, Running, serving, until
from tests.tui.serve.test_serve import receive, send

CLIENTS, ROUNDS = 16, 6


def body(client: int, turn: int) -> dict[str, Any]:
    """Every kind of request: streamed or not, plain, gated, speculative, several at once, at the high tier."""
    kinds: list[dict[str, Any]] = [
        {},
        {"fovea": {"policy": "auto", "budget": 1}},
        {"fovea": {"policy": "auto", "budget": 1, "faithful": True}},
        {"n": 3},
        {"model": f"pocket:{SIXTEEN}"},
    ]
    text = "abc" * (1 + (client * 7 + turn) % 9)
    messages = [{"role": "user", "content": text}]
    return {"messages": messages, "max_tokens": 40, "stream": (client + turn) % 2 == 0, **kinds[(client + turn) % 5]}


def talk(server: Running, client: int, problems: list[str]) -> None:
    for turn in range(ROUNDS):
        wanted = body(client, turn)
        connection = send(server, wanted)
        if (client + turn) % 3 == 0:
            if client % 2:
                connection.recv(50)
            connection.close()
            continue
        answer = receive(connection)
        if wanted["stream"]:
            good = answer.rstrip(b"0\r\n").endswith(b"data: [DONE]") and b'"error"' not in answer
        else:
            good = bool(json.loads(answer)["choices"])
        if not good:
            problems.append(repr(answer[-300:]))


@pytest.mark.slow
def test_sixteen_clients_leave_nothing_behind() -> None:
    low = ToyStepper(ctx=2048, noise=0.3, tier_seed=1)
    high = ToyStepper(ctx=2048)
    engine = LadderEngine({FOUR: low, SIXTEEN: high})
    threads_before = threading.active_count()
    with serving(engine, queue=2 * CLIENTS) as server:
        problems: list[str] = []
        threads = [threading.Thread(target=talk, args=(server, i, problems)) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems
        metrics = server.service.metrics
        until(lambda: metrics.value("fovea_waiting") == metrics.value("fovea_running") == 0)
        answered = metrics.value("fovea_requests_total", path="/v1/chat/completions", status="200")
        assert answered >= CLIENTS * ROUNDS * 2 / 3
        for stepper in (low, high):
            assert len(stepper._texts) <= 4, "only the few conversations a ladder keeps are still in the cache"
        _, answer = server.raw("POST", "/v1/chat/completions", body(1, 0) | {"stream": False})
        assert answer["choices"]
    engine.close()
    until(lambda: threading.active_count() <= threads_before)
