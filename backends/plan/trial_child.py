"""Loads the tiers of a ladder as the engine host does, works with them, and reports the memory that took.

Started by file name as a child of ``backends.plan.trial``; imports nothing of fovea. One JSON object comes on standard
input, one goes to standard output. It uses the low-level API with the parameters of ``backends.llama.stepper``: each
tier reads a prompt, writes in several sequences at once, and reads a stretch with logits for every token, as the fork
map does. The peak is the kernel's own (``VmHWM``), so nothing is missed between two looks.
"""

from __future__ import annotations

import ctypes
import json
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

_WRITES = 8
"""Tokens written in every sequence."""


def memory() -> dict[str, int]:
    """Bytes resident now and at the peak, and what of it is mapped from files."""
    status = Path("/proc/self/status")
    if not status.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"resident": peak, "peak": peak, "mapped": 0}
    found = {}
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.endswith("kB"):
            found[line.partition(":")[0]] = int(line.split()[1]) * 1024
    return {"resident": found["VmRSS"], "peak": found["VmHWM"], "mapped": found["RssFile"]}


class Tier:
    """One model and its context."""

    def __init__(self, llama: Any, path: str, job: dict[str, Any]) -> None:
        params = llama.llama_model_default_params()
        params.n_gpu_layers = job["n_gpu_layers"]
        self._llama = llama
        self._job = job
        self._model = llama.llama_model_load_from_file(path.encode(errors="surrogateescape"), params)
        if not self._model:
            raise SystemExit("the model could not be loaded")
        options = llama.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = job["ctx"], job["batch"], min(job["batch"], 512)
        options.n_seq_max, options.kv_unified, options.no_perf = job["sequences"], True, True
        options.type_k = options.type_v = job["cache_type"]
        options.swa_full = job["full_window"]
        self._context = llama.llama_init_from_model(self._model, options)
        if not self._context:
            raise SystemExit("the context could not be made")
        self._batch = llama.llama_batch_init(job["batch"], 0, 1)
        self._vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model))

    def _decode(self, entries: list[tuple[int, int]], outputs: int) -> None:
        """Append (sequence, position) entries; the last ``outputs`` of them give logits."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for at, (seq, position) in enumerate(entries):
            batch.token[at] = (7919 * position + 31 * seq) % self._vocabulary
            batch.pos[at] = position
            batch.n_seq_id[at], batch.seq_id[at][0] = 1, seq
            batch.logits[at] = at >= len(entries) - outputs
        code = self._llama.llama_decode(self._context, batch)
        if code != 0:
            raise SystemExit(f"llama_decode returned {code}")

    def work(self) -> dict[str, float]:
        """Read, write alone and in parallel, read with all logits. Returns how long reading and writing took."""
        ctx, width, parallel = self._job["ctx"], self._job["batch"], self._job["parallel"]
        scored = max(1, min(256, 16_000_000 // self._vocabulary, width, ctx // 2))
        prompt = max(1, min(self._job["prompt"], ctx - _WRITES * (parallel + 1) - scored))
        began = time.perf_counter()
        for start in range(0, prompt, width):
            count = min(width, prompt - start)
            self._decode([(0, start + at) for at in range(count)], int(start + count == prompt))
        self._llama.llama_synchronize(self._context)
        read = time.perf_counter()
        for step in range(_WRITES):
            self._decode([(0, prompt + step)], 1)
        self._llama.llama_synchronize(self._context)
        wrote = time.perf_counter()
        prompt += _WRITES
        cells = self._llama.llama_get_memory(self._context)
        for seq in range(1, parallel):
            self._llama.llama_memory_seq_cp(cells, 0, seq, -1, -1)
        for step in range(_WRITES):
            self._decode([(seq, prompt + step) for seq in range(parallel)], parallel)
        self._decode([(0, prompt + _WRITES + at) for at in range(scored)], scored)
        return {"prompt": prompt - _WRITES, "read_s": read - began, "writes": _WRITES, "write_s": wrote - read}


def main() -> None:
    """Load every tier, work with each, print the figures."""
    job = json.loads(sys.stdin.readline())
    import llama_cpp

    lines: list[str] = []
    callback = llama_cpp.llama_log_callback(lambda _level, text, _data: lines.append(text.decode("utf-8", "replace")))
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    result: dict[str, Any] = {"interpreter": memory()}
    try:
        tiers = [Tier(llama_cpp, path, job) for path in job["paths"]]
        result["loaded"] = memory()
        result["timing"] = [tier.work() for tier in tiers]
        result["worked"] = memory()
    except SystemExit as error:
        sys.stderr.write("".join(lines[-12:]))
        sys.stderr.write(f"\n{error}\n")
        raise SystemExit(1) from error
    found = re.findall(r"(\S+)\s+(model|KV|compute|output|RS)\s+buffer size\s*=\s*([\d.]+) MiB", "".join(lines))
    result["buffers"] = [{"where": where, "what": what, "bytes": round(float(n) * 2**20)} for where, what, n in found]
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
