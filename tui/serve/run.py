"""Starts the server: the address, the token, the socket, and uvicorn."""

from __future__ import annotations

import errno
import secrets
import socket
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.types import ASGIApp

from agent.errors import AgentError
from backends.remote.options import is_loopback

SHORTEST_TOKEN = 16
GRACE_S = 3
"""Seconds running answers get when the server is stopped."""


class ServeError(AgentError):
    """The server cannot be started as asked."""


def check_token(host: str, token: str) -> str:
    """The token to use; ``auto`` makes one.

    Raises:
        ServeError: other machines could reach the server without one, or it is too short to mean anything.
    """
    if token == "auto":  # noqa: S105  # a word, not a password
        return secrets.token_urlsafe(24)
    if token and len(token) < SHORTEST_TOKEN:
        raise ServeError(
            f"The token is too short: at least {SHORTEST_TOKEN} characters, or `--token auto` for a new one"
        )
    if not token and not is_loopback(host):
        raise ServeError(
            f"{host} can be reached by other machines: set FOVEA_SERVE_TOKEN, or `--token auto` for a new one"
        )
    return token


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ServeError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ServeError(f"{host} is no address of this machine ({error.strerror or error})") from error
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(128)
    except OSError as error:
        found.close()
        if error.errno == errno.EADDRINUSE:
            raise ServeError(f"Port {port} is in use; choose another one with --port, or 0 for any") from error
        raise ServeError(f"Cannot listen at {host} port {port}: {error.strerror or error}") from error
    return found


def address_of(listening: socket.socket) -> str:
    """``http://127.0.0.1:8033`` of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    server(app).run(sockets=[listening])


def server(app: ASGIApp) -> Any:
    """The uvicorn server: quiet, and impatient at the end."""
    import uvicorn

    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=GRACE_S, lifespan="on"
    )
    return uvicorn.Server(config)


class LazyEmbedder:
    """The knowledge base's embedding model, loaded when it is first asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._embedder: Any = None

    def __call__(self, texts: Sequence[str]) -> np.typing.NDArray[np.float32]:
        """Vectors, shape ``[texts, dim]``. Raises EmbeddingError."""
        with self._lock:
            if self._embedder is None:
                from memory.embed import SentenceEmbedder

                self._embedder = SentenceEmbedder()
            vectors: np.typing.NDArray[np.float32] = self._embedder.encode(texts)
            return vectors
