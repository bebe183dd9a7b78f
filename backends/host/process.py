"""One engine host as the parent sees it: the child process, the pipe to it, and how it ended."""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from backends.errors import HostDied, HostError
from backends.host import wire
from backends.types import Failed

log = logging.getLogger("fovea.host")

LOG_BYTES = 2_000_000
"""Size at which the host's log is started anew."""

CLOSE_S = 3.0
"""Seconds a host gets to end by itself."""

_CHUNK = 1 << 16

Answer = tuple[int, Any]
"""The number of the order it belongs to (-1: the host died), and the value."""


class HostProcess:
    """A running host and the thread that reads its answers."""

    def __init__(self, log_path: Path | None) -> None:
        """Start it.

        Args:
            log_path: File for everything the host prints; None discards it.

        Raises:
            HostError: it cannot be started.
        """
        self._popen = _popen(log_path)
        self._answers: queue.SimpleQueue[list[Answer]] = queue.SimpleQueue()
        self._ready: list[Answer] = []
        threading.Thread(target=self._read, args=(self._popen.stdout,), name="engine-answers", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._popen.poll() is None

    def send(self, number: int, op: str, value: object = None) -> None:
        """Send one order. Raises HostDied."""
        stdin = self._popen.stdin
        try:
            if stdin is None:
                raise BrokenPipeError
            stdin.write(wire.order(number, op, value))
            stdin.flush()
        except (OSError, ValueError) as error:
            # A pipe breaks a moment before the process counts as ended; without waiting it would pass for alive.
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(CLOSE_S)
            raise HostDied(_how_it_ended(self._popen.poll())) from error

    def receive(self, timeout: float | None = None) -> Answer:
        """The next answer, in order; a ``HostDied`` (not raised) is the last one, again and again.

        Raises:
            queue.Empty: nothing came within ``timeout`` seconds.
        """
        if not self._ready:
            self._ready = self._answers.get(timeout=timeout)[::-1]
        if isinstance(self._ready[0][1], HostDied) and len(self._ready) == 1:
            return self._ready[0]
        return self._ready.pop()

    def kill(self) -> None:
        """End it now, and wait until it counts as ended: whoever asks next must not take it for alive."""
        self._popen.kill()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(CLOSE_S)

    def close(self) -> None:
        """Let it end and wait for it; it is killed when it does not end by itself."""
        with suppress(HostDied):
            self.send(0, "close")
        with suppress(OSError):
            if self._popen.stdin is not None:
                self._popen.stdin.close()
        try:
            self._popen.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    # Inside -------------------------------------------------------------------------------------------------------

    def _read(self, stream: IO[bytes]) -> None:
        """Pass answers on until the host ends, those that came together together; then say how it ended."""
        rest = b""
        with stream:
            while chunk := os.read(stream.fileno(), _CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                if answers := [answer for line in lines for answer in _parsed(line)]:
                    self._answers.put(answers)
        self._popen.wait()
        self._answers.put([(-1, HostDied(_how_it_ended(self._popen.returncode)))])


def _parsed(line: bytes) -> list[Answer]:
    """The answer of a line; none when not even its number can be read."""
    try:
        return [wire.read_answer(line)]
    except HostError as error:
        log.error("%s", error)
        number = wire.number_of(line)
        # Whoever waits for this answer must not wait for ever.
        return [] if number is None else [(number, Failed("HostError", str(error)))]


def _popen(log_path: Path | None) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)}
    sink = subprocess.DEVNULL if log_path is None else _open_log(log_path)
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "backends.host.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=env,
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(f"The engine host could not start: {error}") from error
    finally:
        if log_path is not None:
            os.close(sink)


def _open_log(path: Path) -> int:
    """The host's log, started anew (the old one kept as ``.1``) when it has grown; or nowhere."""
    with suppress(OSError):
        if path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        log.warning("the engine's log cannot be written: %s", error)
        return os.open(os.devnull, os.O_WRONLY)


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "it closed its pipe"
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        hint = ": most likely memory ran out" if name == "SIGKILL" else ""
        return f"killed by {name}{hint}"
    return f"exit code {code}"
