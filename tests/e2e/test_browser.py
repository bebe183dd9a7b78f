"""`fovea chat --listen` in a real browser: type, send, see the reply. Skipped where no Chromium is installed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sqlite3
import time
from contextlib import closing

import pytest

from tests.e2e import browser

CHROMIUM = browser.find()
PATIENCE = 90.0


def replies(program) -> list[tuple[str, str, str]]:
    with contextlib.suppress(sqlite3.Error):
        address = f"file:{program.data}/conversations.sqlite?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as connection:
            return connection.execute("SELECT role, text, status FROM nodes ORDER BY id").fetchall()
    return []


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def until(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not await condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.1)


async def talk(program, port: int, folder) -> tuple[bytes, bytes]:
    async with browser.opened(CHROMIUM, folder / "profile", f"http://127.0.0.1:{port}/") as page:
        await page.call("Emulation.setFocusEmulationEnabled", enabled=True)

        async def has_keys() -> bool:
            return bool(await page.evaluate("document.activeElement.className === 'xterm-helper-textarea'"))

        async def app_is_there() -> bool:
            return bool(await page.evaluate("document.body.classList.contains('-first-byte')"))

        await until(has_keys, "the focus of the keyboard")
        await until(app_is_there, "the first paint")
        before = await page.picture(folder / "before.png")
        await page.type("Hello there")
        await page.press("Enter")

        async def answered() -> bool:
            return len(replies(program)) == 2 and replies(program)[1][2] == "done"

        await until(answered, "the reply")
        await asyncio.sleep(1)
        return before, await page.picture(folder / "after.png")


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed (Debian: apt-get install chromium)")
def test_a_message_is_sent_from_a_browser(program, tmp_path):
    port = free_port()
    server = program.start("chat", "--listen", str(port), *program.options(8), "--set", "screen.tour=false")
    try:
        end = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert server.poll() is None, server.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.1)
        before, after = asyncio.run(talk(program, port, tmp_path))
    finally:
        server.terminate()
        server.communicate(timeout=60)
    said, reply = replies(program)
    assert said[:2] == ("user", "Hello there")
    assert reply[2] == "done", "the flags of --listen reached the app: the model of this test answered"
    assert before.startswith(b"\x89PNG") and after.startswith(b"\x89PNG") and before != after
    for host in program.hosts():
        host.wait(30)
