"""Who may talk to the server: the token, and the tricks of web pages against servers on one's own machine.

Without a token the server listens on loopback only. A web page can still make the browser send requests there, so
requests from other origins, to other host names (DNS rebinding) and with bodies a form could send are refused.
"""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from backends.remote.options import is_loopback
from tui.serve.replies import error_object

OPEN_PATHS = frozenset({"/health"})
"""Paths that need no token: they tell nothing but whether the server lives."""


class Guard:
    """ASGI middleware that answers 401 or 403 before anything else looks at a request.

    Args:
        app: what is guarded.
        token: what clients must send as ``Authorization: Bearer …``; empty for a server on loopback without a token.
    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value for name, value in scope["headers"] if name in {b"authorization", b"host", b"origin"}}
        status, message = self._verdict(scope["path"], headers)
        if status == 200:
            await self._app(scope, receive, send)
            return
        kind = "authentication_error" if status == 401 else "permission_error"
        challenge = {"www-authenticate": "Bearer"} if status == 401 else {}
        await JSONResponse(error_object(message, kind), status, challenge)(scope, receive, send)

    def _verdict(self, path: str, headers: dict[bytes, bytes]) -> tuple[int, str]:
        if self._token:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = hmac.compare_digest(given.strip(), self._token) and scheme.lower() == b"bearer"
            if right or path in OPEN_PATHS:
                return 200, ""
            return 401, "A token is needed: Authorization: Bearer TOKEN"
        if not is_loopback(_host_of(b"//" + headers.get(b"host", b"localhost"))):
            return 403, "This server answers to localhost only; start it with a token for other names"
        origin = headers.get(b"origin")
        if origin is not None and not is_loopback(_host_of(origin)):
            return 403, "Web pages may not use this server"
        return 200, ""


def _host_of(address: bytes) -> str:
    """Host name of an Origin or Host header; empty when there is none to be read."""
    try:
        return urlsplit(address.decode("latin-1")).hostname or ""
    except ValueError:
        return ""
