"""What the app costs: first paint, streaming, opening a long conversation, typing in it.

    python -m bench.tui [--repeat 5] [--only paint|stream|long] [--other NAME=COMMAND …] [--json FILE]

Other programs for the first paint, each in an environment of its own:

    python -m venv peer && peer/bin/pip install elia-chat
    python -m bench.tui --only paint --other elia=peer/bin/elia

Everything runs the real program in a pseudo-terminal of 120x40 (``pty``), on a scripted engine, so that no model takes
part. Times of starting are from fork to the first frame that holds the app's own text; the bare app is Textual with one
label, started the same way in turn, so that the ratio survives a busy machine. CPU is user+system time of the app's
process as the kernel counts it, so it does not depend on what else runs.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

COLUMNS, ROWS = 120, 40
LIMIT_S = 60.0
TOK_S = 30.0
PROSE = (
    "Urnes is the oldest of the stave churches that still stand. Its carvings show a lion in a fight with a snake, "
    "and nobody is sure what was meant by it. The wood is pine, the posts are older than the walls around them.\n\n"
)
MIXED = (
    "## Stave churches\n\nThe **oldest** is *Urnes*, built about `1130`:\n\n- pine posts\n- carved portals\n\n"
    "| church | year |\n|---|---|\n| Urnes | 1130 |\n| Borgund | 1180 |\n\n"
    "```python\ndef oldest(churches):\n    return min(churches, key=lambda c: c.year)\n```\n\n"
)


# -- children: what is started in the pseudo-terminal ------------------------------------------------------------------


def child_bare() -> None:
    """A Textual app with one label."""
    from textual.app import App, ComposeResult
    from textual.widgets import Static

    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("READY bare")

    Bare().run()


def child_app(folder: str, kind: str) -> None:
    """The chat on a scripted engine; ``kind`` names what is streamed."""
    from agent.app import Fovea
    from agent.paths import Folders
    from agent.settings import Settings
    from backends.scripted import Script, ScriptedEngine
    from tui.app.run import run_app

    text = {"prose": PROSE, "mixed": MIXED}.get(kind, "") * 40
    engine = ScriptedEngine([Script(text, token_s=1 / TOK_S)], wait=time.sleep)
    settings = Settings().with_values({"screen.tour": False, "policy.mode": "manual", "sampling.max_tokens": 600})
    root = Path(folder)
    with Fovea.open(settings, engine=engine, folders=Folders(root / "data", root / "config", root / "cache")) as fovea:
        run_app(fovea, "long" if kind == "long" else None)


def make_long(folder: Path, messages: int) -> None:
    """A conversation of many messages, replies in markdown."""
    from agent.tree import Tree

    tree = Tree.open(folder / "data" / "conversations.sqlite", folder / "data" / "writer.lock")
    parent: int | None = None
    with tree.transaction():
        for number in range(messages):
            role = "assistant" if number % 2 else "user"
            text = (MIXED if number % 10 == 1 else PROSE) if number % 2 else f"Message {number}?"
            parent = tree.add("long", parent, role, f"{text} NUMBER{number}", author="imported").id
        tree.shelf.set_head("long", parent)
    tree.close()


# -- the terminal --------------------------------------------------------------------------------------------------


class Terminal:
    """A program in a pseudo-terminal, and what it wrote."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.began = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
            os.execvpe(command[0], list(command), env)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.written = b""

    def pump(self, until: Callable[[bytes], bool], limit: float = LIMIT_S) -> float:
        """Read until the output satisfies a condition; seconds since the start. Raises TimeoutError."""
        end = time.perf_counter() + limit
        while time.perf_counter() < end:
            if select.select([self.fd], [], [], 0.01)[0]:
                try:
                    got = os.read(self.fd, 1 << 16)
                except OSError as error:
                    raise TimeoutError(f"the program ended: {self.written[-400:]!r}") from error
                self.written += got
                self._answer(got)
            if until(self.written):
                return time.perf_counter() - self.began
        raise TimeoutError(f"not seen in {limit:g} s: {self.written[-400:]!r}")

    def _answer(self, got: bytes) -> None:
        """What a terminal answers when it is asked what it is; some programs wait for that before they draw."""
        for question, answer in ANSWERS.items():
            if question in got:
                os.write(self.fd, answer)

    def text(self, words: str, limit: float = LIMIT_S) -> float:
        """Wait for words anywhere in the output (escape sequences and spaces taken out)."""
        wanted = words.replace(" ", "").encode()
        return self.pump(lambda written: wanted in plain(written), limit)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self.fd, keys.encode())

    def cpu(self) -> float:
        """CPU seconds of the process so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)


ANSWERS = {
    b"\x1b[c": b"\x1b[?62;22c",
    b"\x1b[16t": b"\x1b[6;20;10t",
    b"\x1b[14t": b"\x1b[4;800;1200t",
}
"""Device attributes, size of a cell, size of the text area (xterm's control sequences)."""
_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b[^\[]")


def plain(written: bytes) -> bytes:
    """What is written without escape sequences and spaces (long outputs: only the end)."""
    return _ESCAPES.sub(b"", written[-400_000:]).replace(b" ", b"")


def child(name: str, *arguments: str) -> list[str]:
    """The command of one of the children above."""
    return [sys.executable, "-m", "bench.tui", "--child", name, *arguments]


# -- measurements --------------------------------------------------------------------------------------------------


def first_paint(repeat: int, others: dict[str, str]) -> dict[str, Any]:
    """Seconds to the first frame, all programs in turn."""
    folder = Path(tempfile.mkdtemp())
    programs: dict[str, tuple[list[str], Callable[[Terminal], float]]] = {
        "bare Textual app": (child("bare"), lambda t: t.text("READY bare")),
        "fovea chat": (
            [sys.executable, "-m", "tui.main", "chat", "--set", "screen.tour=false"],
            lambda t: t.text("Ask something"),
        ),
    }
    for name, command in others.items():
        # Unknown programs: the first frame is the first kilobyte after the alternate screen was entered.
        programs[name] = (shlex.split(command), lambda t: t.pump(lambda w: len(w.partition(b"\x1b[?1049h")[2]) > 1000))
    times: dict[str, list[float]] = {name: [] for name in programs}
    cpus: dict[str, list[float]] = {name: [] for name in programs}
    environment = {f"FOVEA_{kind}": str(folder / kind.lower()) for kind in ("DATA", "CONFIG", "CACHE")}
    environment |= {
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    for _ in range(repeat):
        for name, (command, seen) in programs.items():
            terminal = Terminal(command, **environment)
            try:
                times[name].append(seen(terminal))
                cpus[name].append(terminal.cpu())
            except TimeoutError as error:
                times[name].append(float("nan"))
                print(f"{name}: {error}", file=sys.stderr)
            finally:
                terminal.close()
    shutil.rmtree(folder, ignore_errors=True)
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians["bare Textual app"]
    cpu = {name: statistics.median(values) if values else float("nan") for name, values in cpus.items()}
    return {
        name: {"s": round(v, 3), "ratio": round(v / base, 2), "cpu_s": round(cpu[name], 2), "all": times[name]}
        for name, v in medians.items()
    }


def streaming(kind: str, seconds: float = 15.0) -> dict[str, float]:
    """Share of one core while a reply is streamed at 30 tok/s, less what the idle app uses."""
    folder = tempfile.mkdtemp()
    terminal = Terminal(child("app", folder, kind))
    try:
        terminal.text("ready")
        idle = _share(terminal, 3.0)
        terminal.send("Talk\r")
        terminal.text("writing")
        busy = _share(terminal, seconds)
        return {"idle": round(idle, 4), "streaming": round(busy, 4)}
    finally:
        terminal.close()
        shutil.rmtree(folder, ignore_errors=True)


def _share(terminal: Terminal, seconds: float) -> float:
    cpu, began = terminal.cpu(), time.perf_counter()
    try:
        terminal.pump(lambda _: time.perf_counter() - began >= seconds, limit=seconds + 5)
    except TimeoutError:
        return float("nan")
    return (terminal.cpu() - cpu) / (time.perf_counter() - began)


def long_conversation(messages: int, repeat: int) -> dict[str, Any]:
    """Opening a long conversation beside an empty one, and a key typed in it."""
    folder = Path(tempfile.mkdtemp())
    make_long(folder, messages)
    opened: list[float] = []
    empty: list[float] = []
    keys: list[float] = []
    cpu_empty: list[float] = []
    cpu_opened: list[float] = []
    try:
        for _ in range(repeat):
            terminal = Terminal(child("app", tempfile.mkdtemp(dir=folder), "prose"))
            empty.append(terminal.text("ready"))
            cpu_empty.append(terminal.cpu())
            terminal.close()
            terminal = Terminal(child("app", str(folder), "long"))
            opened.append(terminal.text(f"NUMBER{messages - 1}"))
            cpu_opened.append(terminal.cpu())
            _share(terminal, 1.0)
            for key in "qzvkw":
                before, size = time.perf_counter(), len(terminal.written)
                terminal.send(key)
                terminal.pump(lambda w, key=key, size=size: key.encode() in plain(w[size:]))
                keys.append(time.perf_counter() - before)
            terminal.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "messages": messages,
        "open_s": round(statistics.median(opened), 3),
        "empty_s": round(statistics.median(empty), 3),
        "more_s": round(statistics.median(opened) - statistics.median(empty), 3),
        "more_cpu_s": round(statistics.median(cpu_opened) - statistics.median(cpu_empty), 3),
        "key_ms": round(1000 * statistics.median(keys), 1),
        "slowest_key_ms": round(1000 * max(keys), 1),
    }


def main() -> None:
    """Run everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=("paint", "stream", "long"))
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, *arguments = options.child
        {"bare": child_bare, "app": child_app}[name](*arguments)
        return
    found: dict[str, Any] = {}
    if options.only in (None, "paint"):
        found["first_paint"] = first_paint(options.repeat, dict(other.split("=", 1) for other in options.other))
    if options.only in (None, "stream"):
        found["streaming"] = {kind: streaming(kind) for kind in ("prose", "mixed")}
    if options.only in (None, "long"):
        found["long"] = long_conversation(2000, options.repeat)
    print(json.dumps(found, indent=1))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
