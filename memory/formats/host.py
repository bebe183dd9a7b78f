"""The parent's side of the reading process: starts it, watches its time and memory, kills and replaces it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from memory import errors
from memory.chunking import Piece
from memory.formats.values import DEFAULT_LIMITS, ReadLimits

_POLL_SECONDS = 0.05
_REQUESTS_A_CHILD = 2000
"""A reader that leaks is replaced before it matters."""
_FAILURES = {
    name: getattr(errors, name)
    for name in (
        "UnsupportedFormatError",
        "DocumentDamagedError",
        "DocumentTooLargeError",
        "DocumentGoneError",
        "FetchError",
    )
}


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document as the child read it; ``same`` means its bytes are known already and nothing was read further."""

    content_hash: str
    size: int
    mtime_ns: int
    same: bool = False
    title: str = ""
    format: str = ""
    mark: str = ""
    pieces: tuple[Piece, ...] = ()


class ReaderHost:
    """Reads documents in one child process, one at a time; use from one thread, ``close`` when done."""

    def __init__(self, limits: ReadLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._served = 0

    def read(self, path: Path, *, name: str = "", known: Sequence[str] = (), declared: str = "") -> ReadDocument:
        """Read and cut one document.

        Args:
            path: The file.
            name: Its name for telling formats apart; the path's own by default.
            known: Content hashes for which reading further is pointless.
            declared: The encoding that its server named.

        Raises:
            IngestError: It cannot be read; the message is the reason in one line.
        """
        request = {
            "path": base64.b64encode(os.fsencode(path)).decode("ascii"),
            "name": (name or path.name).encode("utf-8", "replace").decode("utf-8"),
            "known": list(known),
            "declared": declared,
            "limits": asdict(self.limits),
        }
        message = self._ask(request)
        if "error" in message:
            raise _FAILURES.get(str(message["error"]), errors.DocumentDamagedError)(str(message["reason"]))
        return ReadDocument(
            content_hash=str(message["hash"]),
            size=int(message["size"]),
            mtime_ns=int(message["mtime_ns"]),
            same=bool(message.get("same", False)),
            title=str(message.get("title", "")),
            format=str(message.get("format", "")),
            mark=str(message.get("mark", "")),
            pieces=tuple(Piece(p[0], p[1], p[2], tuple(p[3]), p[4], p[5], p[6]) for p in message.get("pieces", ())),
        )

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin:
            child.stdin.close()
        try:
            child.wait(timeout=2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout:
            child.stdout.close()

    def __enter__(self) -> ReaderHost:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is None and self._served < _REQUESTS_A_CHILD:
            return self._child
        self.close()
        self._served = 0
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
        environment["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if entry)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "memory.formats.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return self._child

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._started()
        self._served += 1
        watch = _Watch(child, self.limits)
        try:
            if child.stdin is None or child.stdout is None:
                raise errors.DocumentDamagedError("the reading process has no pipes")
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
            size = int.from_bytes(_exactly(child.stdout, 8), "big")
            if size > 8 * self.limits.text_bytes:
                raise EOFError
            body = _exactly(child.stdout, size)
        except (OSError, EOFError):
            self._end(child)
            raise watch.reason(child.returncode) from None
        finally:
            watch.stop()
        answer: dict[str, Any] = json.loads(body)
        return answer

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # the unsent request; the child is gone
        self._child = None


class _Watch:
    """Kills the child when it takes too long or too much; knows afterwards which it was."""

    def __init__(self, child: subprocess.Popen[bytes], limits: ReadLimits) -> None:
        self._child = child
        self._limits = limits
        self._why = ""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reader-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._done.set()
        self._thread.join()

    def reason(self, code: int | None) -> errors.IngestError:
        self.stop()
        if self._why:
            return errors.DocumentTooLargeError(self._why)
        return errors.DocumentDamagedError(f"the reader crashed on it (exit {code})")

    def _run(self) -> None:
        deadline = time.monotonic() + self._limits.seconds
        try:
            process = psutil.Process(self._child.pid)
        except psutil.Error:
            return
        while not self._done.wait(_POLL_SECONDS):
            try:
                resident = process.memory_info().rss
            except psutil.Error:
                return
            if time.monotonic() > deadline:
                self._why = f"takes more than {self._limits.seconds:g} seconds to read"
            elif resident > self._limits.memory_bytes:
                self._why = f"needs more than {self._limits.memory_bytes >> 20} MB of memory to read"
            else:
                continue
            self._child.kill()
            return


def _exactly(stream: Any, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return bytes(data)
