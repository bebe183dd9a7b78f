"""Measures which inputs of each matrix matter: the importance matrix. Started by file name; imports nothing of fovea.

One JSON object comes on standard input: ``model``, ``text`` (a file), ``out`` (an ``.npz``), ``chunks``, ``threads``.
The text is read in chunks of 512 tokens; llama.cpp calls back for every matrix product, and the squares of the inputs
are added up for each column (for each expert separately). The idea and the sums are those of llama.cpp's own tool
(tools/imatrix); the quantizer weighs its rounding errors with them.

Progress goes to standard error as ``[done/all]`` lines. Exit code 0 on success.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

_CHUNK = 512
_F32 = 0


class GgmlTensor(ctypes.Structure):
    """``struct ggml_tensor`` of ggml.h, as vendored in llama-cpp-python 0.3.36 (which fovea pins)."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * 16),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * 10),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * 64),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    )


class Collector:
    """Sums of squared inputs, by matrix."""

    def __init__(self, folder: Path) -> None:
        import numpy as np

        self._np = np
        self._plain, self._experts = _find_operations(folder)
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}
        self.failed = ""

    def __call__(self, address: int, ask: bool, _data: int) -> bool:
        """llama.cpp's callback: first whether a result is wanted, then with the result computed."""
        try:
            node = GgmlTensor.from_address(address)
            if node.op not in (self._plain, self._experts):
                return False
            weights, inputs = (GgmlTensor.from_address(node.src[at]) for at in (0, 1))
            name = weights.name.decode("utf-8", "replace")
            if not name.startswith("blk.") or not name.endswith(".weight") or inputs.type != _F32:
                return False
            if not ask:
                self._add(name, node, weights, inputs)
        except Exception as error:  # must not pass through C code
            self.failed = f"{type(error).__name__}: {error}"
            return not ask
        return True

    def _view(self, tensor: GgmlTensor, kind: Any) -> Any:
        """The tensor's data as an array, slowest dimension first, whatever its strides."""
        np = self._np
        shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
        size = (
            sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) + np.dtype(kind).itemsize
        )
        raw = (ctypes.c_char * size).from_address(tensor.data)
        return np.ndarray(shape, kind, raw, strides=strides)

    def _add(self, name: str, node: GgmlTensor, weights: GgmlTensor, inputs: GgmlTensor) -> None:
        np = self._np
        squares = np.square(self._view(inputs, np.float32)[0], dtype=np.float32)
        columns = squares.shape[-1]
        if node.op == self._plain:
            sums, count = squares.reshape(-1, columns).sum(axis=0)[None], np.array([squares.size / columns])
        else:
            chosen = self._view(GgmlTensor.from_address(node.src[2]), np.int32)[0, 0]
            rows = np.broadcast_to(squares, (*chosen.shape, columns)).reshape(-1, columns)
            experts = int(weights.ne[2])
            sums = np.zeros((experts, columns), np.float32)
            np.add.at(sums, chosen.reshape(-1), rows)
            count = np.bincount(chosen.reshape(-1), minlength=experts).astype(float)
        self._sums[name] = self._sums.get(name, 0) + sums
        self._counts[name] = self._counts.get(name, 0) + count

    def means(self) -> dict[str, Any]:
        """Matrix -> mean squares, one row for each expert; an expert never chosen gets the others' mean."""
        found = {}
        for name, sums in self._sums.items():
            counts = self._counts[name]
            means = sums / self._np.maximum(counts, 1)[:, None]
            if (counts == 0).any() and counts.any():
                means[counts == 0] = means[counts > 0].mean(axis=0)
            found[name] = means.reshape(-1).astype(self._np.float32)
        return found


def _find_operations(folder: Path) -> tuple[int, int]:
    """The numbers of MUL_MAT and MUL_MAT_ID in the installed library."""
    path = next(path for path in folder.iterdir() if "ggml-base" in path.name and not path.is_symlink())
    library = ctypes.CDLL(str(path))
    library.ggml_op_name.restype = ctypes.c_char_p
    known = {library.ggml_op_name(number): number for number in range(64)}
    return known[b"MUL_MAT"], known[b"MUL_MAT_ID"]


def main() -> None:
    """Read the text through the model and store the sums."""
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(3)), daemon=True).start()
    import llama_cpp
    import numpy as np

    llama_cpp.llama_backend_init()
    collector = Collector(Path(llama_cpp.__file__).parent / "lib")
    model_params = llama_cpp.llama_model_default_params()
    model_params.use_extra_bufts = False
    model = llama_cpp.llama_model_load_from_file(job["model"].encode(errors="surrogateescape"), model_params)
    if not model:
        raise SystemExit("failed: the model could not be loaded")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = _CHUNK
    params.n_threads = params.n_threads_batch = job["threads"]
    callback = llama_cpp.ggml_backend_sched_eval_callback(collector)
    params.cb_eval = callback
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise SystemExit("failed: the context could not be made")
    raw = Path(job["text"]).read_bytes()
    vocab = llama_cpp.llama_model_get_vocab(model)
    buffer = (ctypes.c_int32 * (len(raw) + 8))()
    count = llama_cpp.llama_tokenize(vocab, raw, len(raw), buffer, len(buffer), True, False)
    chunks = min(count // _CHUNK, job["chunks"])
    if chunks < 1:
        raise SystemExit(f"failed: the calibration text has {max(count, 0)} tokens; at least {_CHUNK} are needed")
    for chunk in range(chunks):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        tokens = (ctypes.c_int32 * _CHUNK)(*buffer[chunk * _CHUNK : (chunk + 1) * _CHUNK])
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, _CHUNK)) != 0 or collector.failed:
            raise SystemExit(f"failed: reading the text: {collector.failed or 'llama_decode refused it'}")
        sys.stderr.write(f"\n[{chunk + 1}/{chunks}]\n")
        sys.stderr.flush()
    with Path(job["out"]).open("wb") as file:
        np.savez(file, **collector.means())


if __name__ == "__main__":
    try:
        main()
    except SystemExit as error:
        sys.stderr.write(f"\n{error}\n")
        sys.stderr.flush()
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)
