"""The child process that runs llama.cpp's quantizer. Started by file name; imports nothing of fovea.

The first line of standard input is a JSON object: ``source``, ``target``, ``ftype`` (number), ``embedding_type`` and
``output_type`` (tensor type numbers or null), ``threads``, ``requantize``, ``imatrix`` (an ``.npz`` path or null).
llama.cpp's log goes to standard error, one line per tensor. Standard input is also the lifeline: when it closes, the
parent is gone and so is this process. Exit code 0 on success.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from typing import Any


def _follow_parent() -> None:
    sys.stdin.read()
    os._exit(3)


def _imatrix(path: str, llama_cpp: Any) -> tuple[Any, list[Any]]:
    """A NULL-terminated ``llama_model_imatrix_data`` array and what must stay alive with it."""
    import numpy as np

    with np.load(path) as stored:
        entries = {name: np.ascontiguousarray(stored[name], dtype=np.float32) for name in stored.files}
    array = (llama_cpp.llama_model_imatrix_data * (len(entries) + 1))()
    kept: list[Any] = [array]
    for slot, (name, values) in zip(array, entries.items(), strict=False):
        text = name.encode()
        slot.name = text
        slot.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        slot.size = values.size
        kept += [text, values]
    return array, kept


def main() -> int:
    """Quantize as the request on standard input says."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_follow_parent, daemon=True).start()
    import llama_cpp

    llama_cpp.llama_backend_init()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = request["ftype"]
    params.nthread = request["threads"]
    params.allow_requantize = request["requantize"]
    if request["embedding_type"] is not None:
        params.token_embedding_type = request["embedding_type"]
    if request["output_type"] is not None:
        params.output_tensor_type = request["output_type"]
    kept: list[Any] = []
    if request["imatrix"]:
        params.imatrix, kept = _imatrix(request["imatrix"], llama_cpp)
    code = llama_cpp.llama_model_quantize(
        request["source"].encode(errors="surrogateescape"),
        request["target"].encode(errors="surrogateescape"),
        ctypes.byref(params),
    )
    del kept
    return 0 if code == 0 else 1


if __name__ == "__main__":
    # os._exit: the lifeline thread may sit in a read, and nothing here needs the interpreter's own clean-up.
    code = main()
    sys.stderr.flush()
    os._exit(code)
