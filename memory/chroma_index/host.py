"""The parent's side of the chromadb process: one request at a time, with a deadline; a dead child is an error."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory.errors import VectorIndexError

_SECONDS = 120.0


class ChromaHost:
    """Speaks with one worker process; thread-safe."""

    def __init__(self) -> None:
        environment = dict(os.environ)
        environment.pop("PYTHONWARNINGS", None)
        environment.update(
            ANONYMIZED_TELEMETRY="False", PYTHONPATH=os.pathsep.join(entry for entry in sys.path if entry)
        )
        self._child = subprocess.Popen(
            [sys.executable, "-m", "memory.chroma_index.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the worker still runs."""
        return self._child.poll() is None

    def call(self, method: str, *, seconds: float = _SECONDS, **arguments: Any) -> dict[str, Any]:
        """Send one request and wait for its answer.

        Raises:
            VectorIndexError: chromadb failed, its process died, or it took longer than ``seconds``.
        """
        body = json.dumps({"do": method, **arguments}).encode()
        with self._lock:
            timer = threading.Timer(seconds, self._child.kill)
            timer.start()
            try:
                if self._child.stdin is None or self._child.stdout is None:
                    raise EOFError
                self._child.stdin.write(len(body).to_bytes(8, "big") + body)
                self._child.stdin.flush()
                head = self._child.stdout.read(8)
                answer_body = self._child.stdout.read(int.from_bytes(head, "big")) if len(head) == 8 else b""
                if not answer_body:
                    raise EOFError
            except (OSError, EOFError, ValueError):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._child.wait(timeout=5)
                code = self._child.poll()
                raise VectorIndexError(f"chromadb's process ended during {method} (exit {code})") from None
            finally:
                timer.cancel()
        answer: dict[str, Any] = json.loads(answer_body)
        if "error" in answer:
            raise VectorIndexError(f"chromadb failed during {method}: {answer['error']}")
        return answer

    def kill(self) -> None:
        """End the worker at once; a request under way fails."""
        self._child.kill()

    def close(self) -> None:
        """End the worker; it has nothing left to write between requests."""
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        try:
            self._child.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()


def packed(rows: Sequence[NDArray[np.float32]] | NDArray[np.float32]) -> str:
    """Return vectors as the worker reads them."""
    return base64.b64encode(np.ascontiguousarray(rows, dtype="<f4").tobytes()).decode("ascii")
