"""Web pages: only what was named, within bounds, never led elsewhere. The servers are this test's own."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from memory.errors import FetchError
from memory.ingest import fetch
from memory.ingest.fetch import FetchLimits, fetched, page_uri
from memory.kb import KnowledgeBase

PAGE = b"<html><head><title>A page</title></head><body><h1>Gate</h1><p>unmistakable words</p></body></html>"


class Site(BaseHTTPRequestHandler):
    """Pages by path; ``served`` counts requests."""

    served: list[str]

    def do_GET(self) -> None:
        self.served.append(self.path)
        if self.path == "/drip":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"a")
                    time.sleep(0.02)
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        kind, body = {
            "/page": ("text/html; charset=utf-8", PAGE),
            "/latin": ("text/html; charset=iso-8859-1", "<p>Straße über Ähren</p>".encode("iso-8859-1")),
            "/code.py": ("text/plain", b"def gate():\n    return 1\n"),
            "/big": ("text/plain", b"x " * 400_000),
        }.get(self.path, ("text/plain", b""))
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def site() -> Iterator[str]:
    handler = type("Handler", (Site,), {"served": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_is_added_shown_found_and_removed(base: KnowledgeBase, site: str) -> None:
    outcome = base.add([f"{site}/page#part"])
    assert outcome.added == 1 and not outcome.failed
    assert base.search("unmistakable")[0][0].chunk.sources[0].document.uri == f"{site}/page"
    document, _ = base.show(f"{site}/page") or pytest.fail("not there")
    assert document.title == "A page"
    assert base.refresh(pages=True).unchanged == 1
    assert base.remove([f"{site}/page"]).removed == 1


def test_types_and_encodings_come_from_the_server(base: KnowledgeBase, site: str) -> None:
    base.add([f"{site}/latin", f"{site}/code.py"])
    documents = {document.uri.rsplit("/", 1)[1]: document for document in base.documents()}
    assert documents["code.py"].format == "python"
    assert base.search("Straße")[0][0].chunk.text == "Straße über Ähren"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/missing", "the server answered 404"),
        ("/to/file:///etc/passwd", "not allowed"),
        ("/to/ftp://127.0.0.1/x", "not a web page"),
        ("/to//to//to//to//to//to//to//page", "infinite loop|302"),
    ],
)
def test_what_cannot_be_had_is_one_line(base: KnowledgeBase, site: str, path: str, reason: str) -> None:
    target = site + path.replace("/to//", "/to/" + site + "/") if path.startswith("/to//") else site + path
    outcome = base.add([target])
    assert len(outcome.failed) == 1
    assert re.search(reason, outcome.failed[0][1]) and "\n" not in outcome.failed[0][1]


def test_a_page_that_fails_today_keeps_what_it_held(
    base: KnowledgeBase, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.add([f"{site}/page"])

    def away(*arguments: object, **names: object) -> object:
        raise FetchError("the server answered 503")

    monkeypatch.setattr("memory.ingest.operations.fetched", away)
    assert base.refresh(pages=True).failed == [(f"{site}/page", "the server answered 503")]
    assert base.search("unmistakable")[0]


def test_size_is_bounded_and_nothing_stays_behind(site: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="larger than"), fetched(f"{site}/big", tmp_path, FetchLimits(bytes=100_000)):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_comes_letter_by_letter_is_given_up(site: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="longer than"), fetched(f"{site}/drip", tmp_path, FetchLimits(seconds=0.3)):
        pass


def test_a_public_page_may_not_lead_inside(site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "is_private", lambda url: url == f"{site}/page")
    with pytest.raises(FetchError, match="local network"), fetched(f"{site}/to/{site}/page", tmp_path):
        pass


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://", "http://[bad", "ftp://x/y", "https://:80/"])
def test_only_complete_web_addresses_count(url: str) -> None:
    with pytest.raises(FetchError):
        page_uri(url)


def test_passwords_and_fragments_are_not_stored() -> None:
    assert page_uri("HTTPS://ann:secret@Example.org:8443/a?b=c#d") == "https://example.org:8443/a?b=c"
