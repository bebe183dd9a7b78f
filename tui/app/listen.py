"""The app in a browser: textual-serve on this machine only, unless the person really means otherwise.

Whoever opens the page types into this machine's conversations. So another address than the loopback needs an explicit
flag, and then every page needs a token, which is made here and shown once. The token travels in the address of the
first visit and in a cookie afterwards; traffic is not encrypted, so use a tunnel across networks you do not own.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import re
import secrets
import shlex
import socket
import sys
from collections.abc import Sequence
from typing import Any

from agent.errors import AgentError

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 7860
COOKIE = "fovea-token"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'"
)
"""What the page may load: nothing from elsewhere."""
FOCUS = (
    "<script>const waiting = setInterval(() => { const keys = document.querySelector('.xterm-helper-textarea'); "
    "if (keys) { keys.focus(); clearInterval(waiting); } }, 100);</script>"
)
"""The keyboard belongs to the app as soon as it is there: without this the first words typed would be lost."""
_OUTSIDE = re.compile(r"<link[^>]+https?://fonts\.[^>]*>")
"""textual-serve's page asks a font server for a font; that would tell it about every visit, and offline it hangs."""


class ListenError(AgentError):
    """The app cannot be served as asked."""


def address(text: str) -> tuple[str, int]:
    """Split ``[HOST:]PORT``.

    Args:
        text: ``7860``, ``127.0.0.1:7860``, ``[::1]:7860``, or empty for the default.

    Raises:
        ListenError: it is neither.
    """
    if not text.strip():
        return DEFAULT_HOST, DEFAULT_PORT
    host, _, port = text.strip().rpartition(":")
    host = host.strip("[]") or DEFAULT_HOST
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ListenError(f"`{text}` is not an address: say a port, or host:port, for example 127.0.0.1:7860")
    return host, int(port)


def is_local(host: str) -> bool:
    """Whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(where: str = "", *, public: bool = False, token: str = "", arguments: Sequence[str] = ()) -> int:
    """Serve ``fovea chat`` until stopped.

    Args:
        where: ``[HOST:]PORT``.
        public: the person allowed another address than the loopback.
        token: needed for other addresses; made here when empty.
        arguments: options handed to the ``fovea chat`` of every visitor.

    Returns:
        The exit code.

    Raises:
        ListenError: another address without ``public``, a wrong address, or one that is in use.
    """
    host, port = address(where)
    if not is_local(host):
        if not public:
            raise ListenError(
                f"{host} can be reached by others, who could then read and write your conversations. "
                "If that is meant, say --public; a token will be needed to open the page"
            )
        token = token or secrets.token_urlsafe(24)
    _check_free(host, port)
    server = make_server(host, port, token=token, arguments=arguments)
    suffix = f"/?token={token}" if token else "/"
    shown = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"fovea is at http://{shown}:{port}{suffix}  (Ctrl+C ends it)\n")
    server.serve()
    return 0


def _check_free(host: str, port: int) -> None:
    """Raises ListenError where the address cannot be listened at, before anything is promised."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself will
        try:
            trial.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ListenError(f"Port {port} is in use; say another one: --listen {port + 1}") from error
            raise ListenError(f"{host}:{port} cannot be listened at: {error.strerror or error}") from error


def make_server(host: str, port: int, *, token: str = "", arguments: Sequence[str] = ()) -> Any:
    """A textual-serve server, with a guard in front when there is a token."""
    from aiohttp import web
    from textual_serve.server import Server

    command = shlex.join([sys.executable, "-m", "tui.main", "chat", *arguments])

    class Guarded(Server):  # type: ignore[misc]  # textual-serve has no type information
        async def _make_app(self) -> Any:
            application = await super()._make_app()
            application.middlewares.append(web.middleware(_same_origin))
            application.middlewares.append(_guard(token) if token else web.middleware(_only_here))
            return application

        async def on_startup(self, app: Any) -> None:
            """Say nothing: the address was told already."""

        async def handle_index(self, request: Any) -> Any:
            """The page, with the address the visitor used: the one listened on may be 0.0.0.0 or have another name."""
            self.public_url = f"http://{request.host}"  # read before the next await
            return await super().handle_index(request)

    return Guarded(command, host=host, port=port, title="fovea")


def plain_host(host: str) -> str:
    """The Host header without its port and brackets; empty when it is none."""
    found = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([\w.-]+)(?::\d+)?", host)
    return (found.group(1) or found.group(2)) if found else ""


async def _only_here(request: Any, handler: Any) -> Any:
    """Without a token the page must be asked for by a name of this machine.

    Another name may be a foreign page whose address was pointed here after it was loaded (DNS rebinding).
    """
    from aiohttp import web

    if not is_local(plain_host(request.headers.get("Host", ""))):
        return web.Response(status=403, text="Open fovea by the address it showed when it was started.\n")
    return await handler(request)


def same_origin(origin: str, host: str) -> bool:
    """Whether a request comes from our own page.

    Without this, any web page open in the same browser could connect to the loopback address and type.

    Args:
        origin: the Origin header, empty when there is none.
        host: the Host header.
    """
    return not origin or origin.partition("://")[2].lower() == host.lower()


async def _same_origin(request: Any, handler: Any) -> Any:
    from aiohttp import web  # comes with textual-serve

    host = request.headers.get("Host", "")
    if not plain_host(host) or not same_origin(request.headers.get("Origin", ""), host):
        return web.Response(status=403, text="Another page may not use fovea.\n")
    response = await handler(request)
    if isinstance(response, web.Response) and response.content_type == "text/html" and response.text:
        response.text = _OUTSIDE.sub("", response.text).replace("</body>", f"{FOCUS}</body>")
    if not response.prepared:
        response.headers["Content-Security-Policy"] = POLICY
    return response


def _guard(token: str) -> Any:
    """A middleware that lets only holders of the token in."""
    from aiohttp import web

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        given = request.query.get("token", "") or request.cookies.get(COOKIE, "")
        if not hmac.compare_digest(given.encode(), token.encode()):
            return web.Response(status=403, text="This page needs the token that fovea showed when it was started.\n")
        response: web.StreamResponse = await handler(request)
        if not response.prepared and request.query.get("token"):
            response.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
        return response

    return guard
