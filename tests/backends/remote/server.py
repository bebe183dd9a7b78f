"""A scripted HTTP server: each request is answered by the next script, byte for byte as the script wants it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Script = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        self.server.bodies.append(json.loads(self.rfile.read(size)))
        self._play()

    def do_GET(self) -> None:
        self.server.bodies.append(None)
        self._play()

    def _play(self) -> None:
        self.server.paths.append(self.path)
        self.server.seen_headers.append(dict(self.headers))
        self.close_connection = True
        try:
            self.server.scripts.pop(0)(self)
        except (BrokenPipeError, ConnectionResetError):
            self.server.hung_up.set()

    def log_message(self, format: str, *args: object) -> None:  # the base class names it so
        """Say nothing."""

    # For scripts ------------------------------------------------------------------------------------------------

    def status(self, code: int, body: Any = None, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("connection", "close")  # or the client would try this connection again while it is closing
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def start(self, content_type: str = "text/event-stream") -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()

    def raw(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def event(self, event: Any) -> None:
        self.raw(b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n")

    def text(self, text: str, finish: str | None = None, index: int = 0, **more: Any) -> None:
        self.event({"choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish} | more]})

    def done(self) -> None:
        self.event(b"[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)

    def wait_for_release(self) -> None:
        """Say nothing until the test lets go, or the other side has."""
        self.server.waiting.set()
        self.server.release.wait(60)


class ScriptedServer(ThreadingHTTPServer):
    """Plays ``scripts`` in order and remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scripts: list[Script] = []
        self.bodies: list[Any] = []
        self.paths: list[str] = []
        self.seen_headers: list[dict[str, str]] = []
        self.release = threading.Event()
        self.waiting = threading.Event()
        self.hung_up = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is part of the tests."""


@contextmanager
def serving() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def says(*pieces: str, finish: str = "stop") -> Script:
    """A whole, plain reply."""

    def script(handler: Handler) -> None:
        handler.start()
        for piece in pieces:
            handler.text(piece)
        handler.text("", finish)
        handler.done()

    return script
