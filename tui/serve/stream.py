"""A streamed answer that notices at once when its reader has gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

BEAT_S = 15.0
"""A comment is sent after this much silence, so that proxies and clients do not give up while a request waits."""
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class EventStream(Response):
    """Server-sent events from an asynchronous iterator of JSON objects.

    The iterator is closed when the client goes away, which lets the job behind it be cancelled.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[Any]) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client is gone."""
        pump = asyncio.create_task(self._pump(send))
        gone = asyncio.create_task(disconnected(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pump, gone):
                task.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await pump
            with suppress(asyncio.CancelledError):
                await gone

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for event in _with_beats(self._events):
                await send({"type": "http.response.body", "body": _encode(event), "more_body": True})
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": False})
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(request: HttpRequest, work: asyncio.Task[Any]) -> bool:
    """Wait for a task; False, with the task cancelled, when the client goes away first."""
    gone = asyncio.create_task(disconnected(request.receive))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return True
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work
        return False
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


def _encode(event: Any) -> bytes:
    """One event; None is a beat."""
    return b": waiting\n\n" if event is None else b"data: " + json.dumps(event).encode() + b"\n\n"


async def _with_beats(events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The events, with None wherever nothing came for ``BEAT_S``."""
    pending: asyncio.Task[Any] | None = None
    try:
        while True:
            pending = pending or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait({pending}, timeout=BEAT_S)
            if not done:
                yield None
                continue
            try:
                event = pending.result()
            except StopAsyncIteration:
                return
            pending = None
            yield event
    finally:
        if pending is not None and not pending.done():
            pending.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await pending
