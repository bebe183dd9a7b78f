"""Loading the native library, and keeping it quiet.

llama.cpp writes to the C stderr unless told otherwise; here its warnings and errors go to the ``fovea.llama`` logger
and the last error is remembered, so that "could not load the model" can say why.
"""

from __future__ import annotations

import ctypes
import logging
from collections import deque
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

log = logging.getLogger("fovea.llama")

_ERROR, _WARN = 4, 3
"""``ggml_log_level`` values (ggml.h)."""


class NativeLog:
    """The native log callback and the last few errors it saw."""

    def __init__(self, llama: ModuleType) -> None:
        self.errors: deque[str] = deque(maxlen=8)
        self._callback = llama.llama_log_callback(self._on_line)
        llama.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _on_line(self, level: int, text: bytes, _: Any) -> None:
        if level not in (_ERROR, _WARN):
            return
        line = text.decode("utf-8", "replace").strip()
        if not line:
            return
        if level == _ERROR:
            self.errors.append(line)
        log.log(logging.ERROR if level == _ERROR else logging.WARNING, "%s", line)

    def last_error(self) -> str:
        """The most telling recent error line, or an empty string; forgets what it returned."""
        lines = list(self.errors)
        self.errors.clear()
        telling = [line for line in lines if "failed to load model" not in line]
        return (telling or lines or [""])[-1]


@cache
def library() -> ModuleType:
    """The ``llama_cpp`` module with the native backend started. Imported here because it costs 0.3 s."""
    module = import_module("llama_cpp")
    native_log()
    module.llama_backend_init()
    return module


@cache
def native_log() -> NativeLog:
    """The one log callback of this process (the native side keeps a single global one)."""
    return NativeLog(import_module("llama_cpp"))
