"""A small server that speaks the Hugging Face hub's protocol, with faults on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server holds and how it misbehaves."""

    repo: str
    files: dict[str, bytes]
    announced: dict[str, str] = field(default_factory=dict)
    """File -> SHA-256 to announce instead of the true one."""
    sizes: dict[str, int] = field(default_factory=dict)
    """File -> size to announce instead of the true one."""
    cut_after: int = 0
    """Bytes after which the first transfers are cut."""
    cuts: int = 0
    too_many: int = 0
    """Requests for content answered with 429 before it works."""
    lie: int = 0
    """Added to the Content-Length of content."""
    status: int = 0
    """Answer everything with this."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent: int = 0
    """Bytes of content sent."""

    def digest(self, name: str) -> str:
        return self.announced.get(name) or hashlib.sha256(self.files[name]).hexdigest()

    def size(self, name: str) -> int:
        return self.sizes.get(name, len(self.files[name]))


class Handler(BaseHTTPRequestHandler):
    """Answers for the hub of its server."""

    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path, self.headers.get("Range", "")))
        if self.hub.status:
            self._plain(self.hub.status, b"{}")
        elif path.startswith(f"/api/models/{self.hub.repo}"):
            self._plain(200, json.dumps(self._about()).encode())
        elif path.startswith(f"/{self.hub.repo}/resolve/"):
            self._content(path.split("/", 5)[5], body)
        else:
            self._plain(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _about(self) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": name,
                "size": self.hub.size(name),
                "lfs": {"sha256": self.hub.digest(name), "size": self.hub.size(name), "pointerSize": 130},
            }
            for name in self.hub.files
        ]
        return {"id": self.hub.repo, "modelId": self.hub.repo, "sha": COMMIT, "siblings": siblings, "tags": []}

    def _plain(self, status: int, text: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _content(self, name: str, body: bool) -> None:
        if name not in self.hub.files:
            self._plain(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            return
        if body and self.hub.too_many:
            self.hub.too_many -= 1
            self._plain(429, b"{}")
            return
        whole = self.hub.files[name]
        start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if self.headers.get("Range") else 0
        part = whole[start:]
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{self.hub.digest(name)}"')
        self.send_header("X-Linked-Etag", f'"{self.hub.digest(name)}"')
        self.send_header("X-Linked-Size", str(self.hub.size(name)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part) + (self.hub.lie if body else 0)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.end_headers()
        if not body:
            return
        if self.hub.cuts:
            self.hub.cuts -= 1
            part = part[: self.hub.cut_after]
            self.close_connection = True
        if self.hub.lie:
            self.close_connection = True
        self.wfile.write(part)
        self.hub.sent += len(part)


def serve(hub: Hub) -> tuple[ThreadingHTTPServer, str]:
    """Start it on a free port of the loopback. Returns the server and its address."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.hub = hub
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"
