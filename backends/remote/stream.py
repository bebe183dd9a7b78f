"""A reply being received by a thread of its own, so that a server that hangs does not hang its reader."""

from __future__ import annotations

import queue
import socket
import threading
from contextlib import suppress
from typing import Any

from backends.errors import RemoteError
from backends.remote.chunks import Chunk, parse_event
from backends.remote.options import RemoteOptions
from backends.remote.refusal import Refused, refusal
from backends.remote.sse import EventReader

POLL_S = 0.2
NOTHING = object()
"""What ``Stream.next`` gives when nothing came in time."""


class Stream:
    """One request and the chunks of its reply."""

    def __init__(self, client: Any, body: dict[str, Any], options: RemoteOptions) -> None:
        self._queue: queue.Queue[Chunk | Refused | None] = queue.Queue(maxsize=1024)
        self._closed = threading.Event()
        self._response: Any = None
        self._options = options
        self._thread = threading.Thread(target=self._receive, args=(client, body), daemon=True)
        self._thread.start()

    def next(self, seconds: float) -> Any:
        """The next chunk, a refusal, None at the end, or ``NOTHING`` when nothing came within ``seconds``."""
        try:
            return self._queue.get(timeout=seconds)
        except queue.Empty:
            return NOTHING

    def close(self) -> None:
        """Let go of the connection; a thread blocked in reading is woken by shutting its socket down."""
        self._closed.set()
        response = self._response
        if response is None or not self._thread.is_alive():
            return
        with suppress(Exception):  # how deep the socket lies depends on the client's version; a timeout ends it as well
            stream = response.http_response.extensions["network_stream"]
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _receive(self, client: Any, body: dict[str, Any]) -> None:
        try:
            with client.chat.completions.with_streaming_response.create(**body) as response:
                self._response = response
                if 300 <= response.status_code < 400:
                    self._put(
                        Refused("it points to another address, which is not followed; correct the url", again=False)
                    )
                    return
                self._read(response)
        except RemoteError as error:
            self._put(Refused(str(error), again=False))
        except Exception as error:  # the client lets many kinds through: its own, the transport's, the parser's
            self._put(refusal(error, self._options))

    def _read(self, response: Any) -> None:
        reader = EventReader()
        for piece in response.iter_bytes():
            for data in reader.feed(piece):
                if self._pass_on(data):
                    return
            if self._closed.is_set():
                return
        for data in reader.end():
            if self._pass_on(data):
                return
        self._put(None)

    def _pass_on(self, data: str) -> bool:
        """Queue what one event holds; True at the end of the stream."""
        if data.strip() == "[DONE]":
            self._put(None)
            return True
        for chunk in parse_event(data):
            self._put(chunk)
        return self._closed.is_set()

    def _put(self, item: Chunk | Refused | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=POLL_S)
                return
