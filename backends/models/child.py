"""Runs a program of fovea's own as a child process that gets one job and reports in lines.

For native work that may abort, cannot be interrupted, or writes to the terminal: llama.cpp's quantizer, the importance
matrix, the quantizers of safetensors. The child is started by file name and imports nothing of fovea. Its standard
input is the job, one line of JSON, and then the lifeline: when it closes, the parent is gone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

_CHUNK = 4096
_LONGEST = 100_000
"""A line longer than this is cut, bytes: a child gone wild must not fill the parent's memory."""


def run_child(
    script: Path,
    job: Mapping[str, object],
    on_line: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> int:
    """Run ``script`` on ``job`` and return its exit code (negative: ended by that signal).

    Whatever ends the caller early (Ctrl-C, an error in ``on_line``) kills the child.

    Args:
        script: the program, a Python file.
        job: what it gets, as JSON.
        on_line: called with every line the child writes to standard error, stripped, never empty. Progress bars that
            go back to the start of a line count as lines.
        environment: variables to set beside those of this process.
        folder: where the child works; by default where this process does.

    Raises:
        OSError: the child could not be started.
    """
    # -P: the child's own folder must not shadow other modules. Its own session: Ctrl-C reaches the parent alone.
    child = subprocess.Popen(
        [sys.executable, "-P", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
    )
    assert child.stdin is not None and child.stderr is not None
    try:
        child.stdin.write(json.dumps(job).encode() + b"\n")
        child.stdin.flush()
        for line in _lines(child.stderr):
            on_line(line)
        return child.wait()
    except BrokenPipeError:  # it ended before it read the job
        return child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdin.close()
        child.stderr.close()


def _lines(stream: IO[bytes]) -> Iterator[str]:
    """Lines as they come, ended by a line feed or a carriage return."""
    held = b""
    while chunk := os.read(stream.fileno(), _CHUNK):
        *whole, held = (held + chunk).replace(b"\r", b"\n").split(b"\n")
        for raw in whole:
            if line := raw.decode("utf-8", errors="replace").strip():
                yield line
        held = held[:_LONGEST]
    if line := held.decode("utf-8", errors="replace").strip():
        yield line
