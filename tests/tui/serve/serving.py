"""A real server on a free port, over an engine of the test's choice."""

from __future__ import annotations

import http.client
import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.oversight import DefaultOverseer
from agent.settings import Settings
from backends.engine import Engine
from backends.ladder import Ladder
from backends.stepper import Stepper
from backends.types import Event, ForkMap, LadderSpec, LadderStatus, Message, Request, TierSpec
from tui.serve import run
from tui.serve.app import Embed, make_app
from tui.serve.service import Service


@dataclass(slots=True)
class Running:
    """A server that is up."""

    port: int
    service: Service

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = "none", **options: Any) -> Any:
        from openai import OpenAI

        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **options)

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request, byte for byte; returns the status and the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            named.setdefault("content-type", "application/json")
        connection.request(method, path, data, named)
        response = connection.getresponse()
        raw = response.read()
        connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(raw) if is_json else raw.decode()


@contextmanager
def serving(
    engine: Engine, settings: Settings | None = None, *, token: str = "", embed: Embed | None = None, queue: int = 64
) -> Iterator[Running]:
    settings = settings or Settings()
    service = Service(engine, engine.status(), "pocket", settings, DefaultOverseer())
    listening = run.listen("127.0.0.1", 0)
    server = run.server(make_app(service, token=token, embed=embed, longest_queue=queue))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield Running(listening.getsockname()[1], service)
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


class LadderEngine:
    """The Engine port over a Ladder in this process: what the engine host does, without the child."""

    def __init__(self, steppers: dict[str, Stepper], n_parallel: int = 4) -> None:
        specs = tuple(TierSpec(name, Path(name)) for name in steppers)
        self._ladder = Ladder(LadderSpec(specs, n_parallel=n_parallel), lambda tier, _: steppers[tier.name])

    def load(self, ladder: LadderSpec) -> LadderStatus:
        return self.status()

    def status(self) -> LadderStatus:
        return self._ladder.status()

    def run(self, request: Request) -> Iterator[Event]:
        events: queue.Queue[Event | None] = queue.Queue()

        def work() -> None:
            self._ladder.run(request, events.put)
            events.put(None)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield from iter(events.get, None)
        finally:
            self._ladder.cancel()
            thread.join()

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        return self._ladder.score(messages, reply, tier, against)

    def tokenize(self, text: str) -> list[int]:
        return self._ladder.tokenize(text)

    def count(self, messages: Sequence[Message]) -> int:
        return self._ladder.count(messages)

    def cancel(self) -> None:
        self._ladder.cancel()

    def close(self) -> None:
        self._ladder.close()


class Gatekeeper:
    """Lets a scripted engine wait until the test says go on."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def __call__(self, seconds: float) -> None:
        if seconds:
            self.reached.set()
            self.go.wait(30)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another thread brings about."""
    beat = threading.Event()
    for _ in range(3000):
        if condition():
            return
        beat.wait(0.01)
    raise AssertionError("it did not happen within 30 s")
