"""A bare llama.cpp loop on the same file: what fovea's own speed is compared with.

The lowest level llama-cpp-python offers, greedy, with nothing computed but an ``argmax``: no signals, no text,
no provenance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from backends.errors import BackendError
from backends.llama.library import library
from backends.types import LadderSpec, TierSpec

WIDEST = 4
"""Sequences that can be written together."""


class BareLoop:
    """One GGUF file, one context."""

    def __init__(self, path: Path, *, ctx: int, threads: int, batch: int = 512) -> None:
        """Load. Raises BackendError."""
        self._lib = library()
        self._batch: Any = None
        self._context: Any = None
        params = self._lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = self._lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise BackendError(f"llama.cpp could not load {path.name}")
        options = self._lib.llama_context_default_params()
        ctx, batch = max(ctx, WIDEST), max(batch, WIDEST)  # less makes the native code abort
        options.n_ctx, options.n_batch, options.n_ubatch = ctx, batch, min(batch, 512)
        options.n_threads = options.n_threads_batch = threads
        options.n_seq_max, options.kv_unified = WIDEST, True
        options.no_perf = True
        self._context = self._lib.llama_init_from_model(self._model, options)
        if not self._context:
            self.close()
            raise BackendError(f"llama.cpp could not make a context for {path.name}")
        self._size = batch
        self._batch = self._lib.llama_batch_init(batch, 0, 1)
        self._vocabulary = int(self._lib.llama_vocab_n_tokens(self._lib.llama_model_get_vocab(self._model)))
        self._length = 0

    def prefill(self, tokens: Sequence[int]) -> float:
        """Forget everything, read ``tokens``; seconds."""
        self.cut(0)
        start = perf_counter()
        for at in range(0, len(tokens), self._size):
            chunk = tokens[at : at + self._size]
            self._feed(chunk, last=at + len(chunk) == len(tokens))
        self._logits()
        return perf_counter() - start

    def decode(self, steps: int) -> float:
        """Greedy steps from here on; seconds."""
        token = int(self._logits().argmax())
        start = perf_counter()
        for _ in range(steps):
            self._feed((token,), last=True)
            token = int(self._logits().argmax())
        return perf_counter() - start

    def decode_together(self, width: int, steps: int) -> float:
        """Greedy steps of ``width`` continuations in one batch; seconds. The cache is as before afterwards."""
        memory, start_length = self._lib.llama_get_memory(self._context), self._length
        for seq in range(1, width):
            self._lib.llama_memory_seq_cp(memory, 0, seq, 0, -1)
        tokens = [int(self._logits().argmax())] * width
        start = perf_counter()
        for _ in range(steps):
            self._feed_each(tokens)
            tokens = [int(token) for token in self._logits(width).argmax(axis=1)]
        seconds = perf_counter() - start
        for seq in range(1, width):
            self._lib.llama_memory_seq_rm(memory, seq, -1, -1)
        self.cut(start_length)
        return seconds

    def cut(self, length: int) -> None:
        """Keep the first ``length`` tokens."""
        self._lib.llama_memory_seq_rm(self._lib.llama_get_memory(self._context), 0, length, -1)
        self._length = length

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        return self._length

    @property
    def vocabulary(self) -> int:
        """Number of tokens the model knows."""
        return self._vocabulary

    def _feed(self, tokens: Sequence[int], *, last: bool) -> None:
        batch = self._batch
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = self._length + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = 0
        batch.logits[len(tokens) - 1] = int(last)
        self._compute(len(tokens))
        self._length += len(tokens)

    def _feed_each(self, tokens: Sequence[int]) -> None:
        """One token to each of the first sequences."""
        batch = self._batch
        for seq, token in enumerate(tokens):
            batch.token[seq] = token
            batch.pos[seq] = self._length
            batch.n_seq_id[seq] = 1
            batch.seq_id[seq][0] = seq
            batch.logits[seq] = 1
        self._compute(len(tokens))
        self._length += 1

    def _compute(self, count: int) -> None:
        self._batch.n_tokens = count
        if self._lib.llama_decode(self._context, self._batch) != 0:
            raise BackendError("llama.cpp failed to compute a step in the bare loop")

    def _logits(self, rows: int = 0) -> Any:
        """Of the last token, shape ``[n_vocab]``; with ``rows``, of that many sequences, ``[rows, n_vocab]``."""
        shape = (rows, self._vocabulary) if rows else (self._vocabulary,)
        return np.ctypeslib.as_array(self._lib.llama_get_logits(self._context), shape)

    def close(self) -> None:
        """Free everything."""
        if self._batch is not None:
            self._lib.llama_batch_free(self._batch)
            self._batch = None
        if self._context is not None:
            self._lib.llama_free(self._context)
            self._context = None
        if self._model:
            self._lib.llama_model_free(self._model)
            self._model = None


def open_bare(tier: TierSpec, ladder: LadderSpec) -> BareLoop:
    """The bare loop on the file of a tier."""
    return BareLoop(tier.path, ctx=ladder.ctx, threads=ladder.threads, batch=ladder.batch_size)


def best_threads(ladder: LadderSpec) -> LadderSpec:
    """The same ladder with the number of threads that writes fastest at its lowest tier."""
    from backends.llama.stepper import LlamaOptions, LlamaStepper
    from backends.threads import choose_threads

    stepper = LlamaStepper(ladder.tiers[0].path, LlamaOptions(ctx=256))
    try:
        return replace(ladder, threads=choose_threads(stepper))
    finally:
        stepper.close()
