"""Server-sent events, as far as chat completions use them, from a server that is not trusted.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Bytes may be cut anywhere; a line or an event
that never ends is refused instead of filling the memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from backends.errors import RemoteError

MAX_EVENT = 4_000_000
"""Bytes one event may have."""


class EventReader:
    """Cuts a stream of bytes into the ``data`` of events."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[str]:
        """Data of the events that ``piece`` completes. Raises RemoteError when an event grows too large."""
        # A trailing CR is kept back: it may be the first half of CRLF.
        buffer = self._rest + piece
        held = b"\r" if buffer.endswith(b"\r") else b""
        lines = buffer[: len(buffer) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._rest = lines.pop() + held
        if len(self._rest) + self._size > MAX_EVENT:
            raise RemoteError("it sends a line without end")
        for line in lines:
            yield from self._line(line)

    def end(self) -> Iterator[str]:
        """Data of an event that was not closed by an empty line; many servers leave the last one open."""
        rest, self._rest = self._rest.rstrip(b"\r"), b""
        if rest:
            yield from self._line(rest)
        yield from self._line(b"")

    def _line(self, line: bytes) -> Iterator[str]:
        if not line:
            if self._data:
                yield "\n".join(self._data)
            self._data, self._size = [], 0
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            self._size += len(value)
            if self._size > MAX_EVENT:
                raise RemoteError("it sends an event without end")
            self._data.append(value.removeprefix(b" ").decode("utf-8", "replace"))
