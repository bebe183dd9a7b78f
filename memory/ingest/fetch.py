"""One page from the web, and only one that the person named: bounded in time and size, never leading elsewhere.

Redirects stay on http and https, and one from a public address to a private one (loopback, the local network) is
refused, so that a page cannot make fovea read the router's or another service's pages.
"""

from __future__ import annotations

import ipaddress
import mimetypes
import posixpath
import socket
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from memory.errors import FetchError
from memory.formats.values import MEGABYTE

_EXTENSIONS = {"text/html": ".html", "application/xhtml+xml": ".html", "text/markdown": ".md", "text/plain": ".txt"}
_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds on one page."""

    bytes: int = 32 * MEGABYTE
    seconds: float = 60.0
    socket_seconds: float = 15.0


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page as it lies in a temporary file."""

    path: Path
    name: str
    """A file name whose extension fits the type that the server gave."""
    declared: str
    """The encoding that the server gave."""


def is_url(source: str) -> bool:
    """Whether a source is a web address."""
    return source.lower().startswith(("http://", "https://"))


def page_uri(url: str) -> str:
    """Return a page's document name: its address without a fragment and without a password.

    Raises:
        FetchError: It is not a complete web address.
    """
    try:
        parts = urllib.parse.urlsplit(url.strip())
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise FetchError(f"not a web address ({error})") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise FetchError("not a web address: it must begin with http:// or https:// and name a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return urllib.parse.urlunsplit((parts.scheme.lower(), host + port, parts.path or "/", parts.query, ""))


@contextmanager
def fetched(url: str, folder: Path, limits: FetchLimits | None = None) -> Iterator[Fetched]:
    """Fetch a page into a temporary file that is gone afterwards.

    Args:
        url: The address the person gave.
        folder: Where the temporary file may lie.
        limits: Bounds.

    Raises:
        FetchError: It could not be fetched within the bounds; the message is the reason in one line.
    """
    bounds = limits or FetchLimits()
    url = page_uri(url)
    opener = urllib.request.build_opener(_Redirects(is_private(url)))
    request = urllib.request.Request(url, headers={"User-Agent": "fovea (a person's own knowledge base)"})  # noqa: S310 (page_uri)
    deadline = time.monotonic() + bounds.seconds
    with tempfile.NamedTemporaryFile(dir=folder, prefix="page-", suffix=".part") as file:
        try:
            with opener.open(request, timeout=bounds.socket_seconds) as response:
                headers: Message = response.headers
                # read1 gives what has come; read would wait for a whole block, and a server that drips for hours.
                _copy(response.read1, file, bounds, deadline)
        except urllib.error.HTTPError as error:
            raise FetchError(f"the server answered {error.code} {_line(error.reason)}") from error
        except urllib.error.URLError as error:
            raise FetchError(f"cannot be fetched: {_line(error.reason)}") from error
        except (OSError, ValueError) as error:
            raise FetchError(f"cannot be fetched: {_line(error)}") from error
        file.flush()
        yield Fetched(Path(file.name), _name(url, headers), headers.get_content_charset() or "")


def _line(reason: object) -> str:
    return " ".join(str(reason).split())[:200]


def _copy(read: Callable[[int], bytes], file: IO[bytes], bounds: FetchLimits, deadline: float) -> None:
    size = 0
    while block := read(_BLOCK):
        size += len(block)
        if size > bounds.bytes:
            raise FetchError(f"larger than {bounds.bytes >> 20} MB")
        if time.monotonic() > deadline:
            raise FetchError(f"takes longer than {bounds.seconds:g} seconds")
        file.write(block)


def _name(url: str, headers: Message) -> str:
    name = posixpath.basename(urllib.parse.urlsplit(url).path) or "page"
    kind = headers.get_content_type()
    extension = _EXTENSIONS.get(kind) or mimetypes.guess_extension(kind) or ""
    if kind == "text/plain" and posixpath.splitext(name)[1]:
        return name  # source code and markdown are commonly served as plain text
    return name if not extension or name.endswith(extension) else name + extension


def is_private(url: str) -> bool:
    """Whether an address leads to this machine or its local network; an unknown host counts as public."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:
        return False
    return any(not ipaddress.ip_address(str(entry[4][0]).split("%")[0]).is_global for entry in found)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, to web addresses only, never from outside to inside."""

    max_redirections = 5

    def __init__(self, private: bool) -> None:
        self._private = private

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Check where a redirect leads before following it."""
        if not is_url(newurl):
            raise FetchError("it redirects to something that is not a web page")
        if not self._private and is_private(newurl):
            raise FetchError("it redirects to an address on the local network")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]  # typeshed's older signature
