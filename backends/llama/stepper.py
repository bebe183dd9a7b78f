"""The llama.cpp Stepper: several sequences over one unified cache.

Traps this file knows (measured or read in llama.cpp):

* ``kv_unified=True`` is required, or copying a part of a sequence aborts the process (PR #14363).
* An aborted decode leaves the micro-batches it finished in the cache: they are cut off again.
* ``seq_rm`` returns False for recurrent and hybrid models, whose state cannot be cut back.
* The abort callback runs in a compute thread for every graph node. A Python callback would take the interpreter lock
  each time, so the callback here is libc's ``strlen`` on a two-byte buffer: "" means go on (0), "x" means stop (1).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.errors import BackendError, CacheError, Cancelled, ContextFull, LoadError
from backends.llama.batches import CPU_CHUNK, batches
from backends.llama.library import library, native_log
from backends.llama.vocab import Vocab
from backends.stepper import CacheBytes, Feed, Logits, ModelFacts, Progress
from backends.threads import Governor
from backends.types import Message

_NO_SLOT, _ABORTED = 1, 2
"""Return values of ``llama_decode``."""


@dataclass(frozen=True, slots=True)
class LlamaOptions:
    """How to open a GGUF file. ``threads`` 0 means all cores this process may use."""

    ctx: int = 4096
    batch_size: int = 512
    sequences: int = 8
    threads: int = 0
    n_gpu_layers: int = 0
    tensor_split: tuple[float, ...] = ()


class LlamaStepper:
    """One GGUF model. See ``backends.stepper.Stepper`` for the contract of each method."""

    def __init__(self, path: Path, options: LlamaOptions | None = None) -> None:
        """Load the model and make its context.

        Raises:
            LoadError: with llama.cpp's own reason. Check the file first (``backends.models``): some damaged files
                make the native code abort the process instead.
        """
        options = options or LlamaOptions()
        self._llama = library()
        self._model: Any = None
        self._ctx: Any = None
        self._batch: Any = None
        self._pointers: npt.NDArray[np.uintp] | None = None
        self._flag = ctypes.create_string_buffer(b"\x00\x00", 2)
        self.governor: Governor | None = None
        """Changes the number of threads while the machine is busy; set by whoever leaves that number to the machine."""
        try:
            self._model = self._load(path, options)
            self._vocab = Vocab(self._model)
            self._ctx = self._open_context(options)
            self._memory = self._llama.llama_get_memory(self._ctx)
            self._make_batch(options)
        except BaseException:
            self.close()
            raise
        self._lengths: dict[int, int] = {}
        self._free = list(range(int(self._llama.llama_n_seq_max(self._ctx)) - 1, -1, -1))
        self._facts = self._read_facts(path, options)

    # Opening ------------------------------------------------------------------------------------------------------

    def _load(self, path: Path, options: LlamaOptions) -> Any:
        params = self._llama.llama_model_default_params()
        params.n_gpu_layers = options.n_gpu_layers
        if options.tensor_split:
            count = self._llama.llama_max_devices()
            self._split = (ctypes.c_float * count)(*options.tensor_split[:count])
            params.tensor_split = self._split
        model = self._llama.llama_model_load_from_file(str(path).encode(), params)
        if not model:
            raise LoadError(f"llama.cpp could not load {path.name}: {native_log().last_error() or 'no reason given'}.")
        return model

    def _open_context(self, options: LlamaOptions) -> Any:
        params = self._llama.llama_context_default_params()
        trained = int(self._llama.llama_model_n_ctx_train(self._model))
        params.n_ctx = min(options.ctx, trained) if trained else options.ctx
        if params.n_ctx < options.sequences:
            raise LoadError(
                f"A context of {params.n_ctx} tokens is too small; "
                f"set engine.ctx to {options.sequences} or more, or to 0 for the usual size."
            )
        # One token of each sequence has to fit into a batch and into the context: else the native code aborts.
        params.n_batch = max(options.batch_size, options.sequences)
        params.n_ubatch = min(params.n_batch, 512)
        params.n_seq_max = options.sequences
        params.kv_unified = True
        params.no_perf = True
        if options.threads > 0:
            params.n_threads = params.n_threads_batch = options.threads
        strlen = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)
        params.abort_callback = ctypes.cast(strlen, type(params.abort_callback))
        params.abort_callback_data = ctypes.cast(self._flag, ctypes.c_void_p)
        context = self._llama.llama_init_from_model(self._model, params)
        if not context:
            reason = native_log().last_error() or "most likely not enough memory"
            raise LoadError(
                f"llama.cpp could not make a context of {options.ctx} tokens ({reason}); try a smaller ctx."
            )
        return context

    def _make_batch(self, options: LlamaOptions) -> None:
        """One reusable batch, its C arrays seen as numpy arrays."""
        self._width = int(self._llama.llama_n_batch(self._ctx))
        self._chunk = min(self._width, options.batch_size)
        if not options.n_gpu_layers:
            self._chunk = min(self._chunk, CPU_CHUNK)
        self._batch = self._llama.llama_batch_init(self._width, 0, 1)
        shape = (self._width,)
        self._b_token = np.ctypeslib.as_array(self._batch.token, shape)
        self._b_pos = np.ctypeslib.as_array(self._batch.pos, shape)
        self._b_logits = np.ctypeslib.as_array(self._batch.logits, shape)
        counts = np.ctypeslib.as_array(self._batch.n_seq_id, shape)
        counts[:] = 1
        first = ctypes.addressof(self._batch.seq_id.contents)
        pointers = np.ctypeslib.as_array((ctypes.c_size_t * self._width).from_address(first))
        # llama_batch_init gives every token its own one-element array; they are lined up behind one view here, so
        # that the sequence ids of a batch are written with a single numpy assignment.
        self._b_seq: npt.NDArray[np.int32] = np.zeros(self._width, np.int32)
        self._owned = pointers.copy()
        pointers[:] = self._b_seq.ctypes.data + 4 * np.arange(self._width, dtype=np.uintp)
        self._pointers = pointers

    def _read_facts(self, path: Path, options: LlamaOptions) -> ModelFacts:
        lib, model = self._llama, self._model
        recurrent = bool(lib.llama_model_is_recurrent(model) or lib.llama_model_is_hybrid(model))
        architecture = self._meta("general.architecture")
        shape = [lib.llama_model_n_layer(model), lib.llama_model_n_head_kv(model), lib.llama_model_n_embd(model)]
        rope = [lib.llama_model_rope_type(model), self._meta(f"{architecture}.rope.freq_base")]
        key = "/".join(map(str, ["llama", architecture, *shape, *rope, self._vocab.size, lib.llama_n_ctx(self._ctx)]))
        return ModelFacts(
            architecture=architecture,
            n_vocab=self._vocab.size,
            n_ctx=int(lib.llama_n_ctx(self._ctx)),
            n_ctx_train=int(lib.llama_model_n_ctx_train(model)),
            can_truncate=not recurrent,
            cache_key=key,
            has_template=bool(self._vocab.template),
            bytes=int(lib.llama_model_size(model)),
        )

    def _meta(self, name: str) -> str:
        buffer = ctypes.create_string_buffer(256)
        count = self._llama.llama_model_meta_val_str(self._model, name.encode(), buffer, 256)
        return buffer.value.decode("utf-8", "replace") if count >= 0 else ""

    @property
    def facts(self) -> ModelFacts:
        """Facts about the loaded model."""
        return self._facts

    # Text ---------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokens of ``text``."""
        return self._vocab.tokenize(text, special=special)

    def piece(self, token: int) -> bytes:
        """Bytes of one token."""
        return self._vocab.piece(token)

    def is_end(self, token: int) -> bool:
        """Whether the token ends a reply."""
        return self._vocab.is_end(token)

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of the conversation in the model's own template."""
        return self._vocab.chat_prompt(messages)

    # Sequences ----------------------------------------------------------------------------------------------------

    def open(self) -> int:
        """A new, empty sequence."""
        if not self._free:
            raise ContextFull("All sequence slots of the engine are in use.")
        seq = self._free.pop()
        self._lengths[seq] = 0
        return seq

    def fork(self, seq: int) -> int:
        """A new sequence sharing the cells of ``seq``."""
        new = self.open()
        self._llama.llama_memory_seq_cp(self._memory, seq, new, -1, -1)
        self._lengths[new] = self._lengths[seq]
        return new

    def drop(self, seq: int) -> None:
        """Forget a sequence."""
        self._llama.llama_memory_seq_rm(self._memory, seq, -1, -1)
        del self._lengths[seq]
        self._free.append(seq)

    def length(self, seq: int) -> int:
        """Tokens held by the sequence."""
        return self._lengths[seq]

    def truncate(self, seq: int, length: int) -> None:
        """Keep the first ``length`` tokens."""
        if length >= self._lengths[seq]:
            return
        if not self._llama.llama_memory_seq_rm(self._memory, seq, length, -1):
            raise CacheError(f"A {self._facts.architecture} model cannot cut its cache back.")
        self._lengths[seq] = length

    # Work ---------------------------------------------------------------------------------------------------------

    def prefill(self, seq: int, tokens: Sequence[int], progress: Progress | None = None) -> Logits:
        """Append tokens in batches; logits after the last one, ``[n_vocab]``."""
        total = len(tokens)
        if self._lengths[seq] + total > self._facts.n_ctx:
            raise ContextFull(f"{self._lengths[seq] + total} tokens do not fit into a context of {self._facts.n_ctx}.")
        logits: Logits | None = None
        for start, done in batches(total, self._chunk, self._width):
            chunk = tokens[start:done]
            logits = self.step([Feed(seq, chunk, outputs=int(done == total))])[0]
            if progress is not None:
                progress(done, total)
        if logits is None:
            raise ValueError("prefill needs at least one token")
        last: Logits = logits[0]
        return last

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """One batched pass; one array ``[outputs, n_vocab]`` per feed, valid until the next call."""
        count = sum(len(feed.tokens) for feed in feeds)
        if count > self._width:
            return self._long_step(feeds)
        at = 0
        for feed in feeds:
            size, start = len(feed.tokens), self._lengths[feed.seq]
            end = at + size
            self._b_token[at:end] = feed.tokens
            self._b_pos[at:end] = np.arange(start, start + size)
            self._b_seq[at:end] = feed.seq
            self._b_logits[at:end] = 0
            if feed.outputs:
                self._b_logits[end - feed.outputs : end] = 1
            at = end
        self._batch.n_tokens = count
        began = perf_counter()
        self._decode(feeds)
        if count == 1 and self.governor is not None:
            before = self.governor.threads
            wanted = self.governor.took(perf_counter() - began)
            if wanted != before:
                self.set_threads(wanted)
        return self._outputs(feeds)

    def _long_step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """A step wider than the batch: feed by feed in chunks, logits copied because the buffer is reused."""
        results: list[Logits] = []
        for feed in feeds:
            parts: list[Logits] = []
            total = len(feed.tokens)
            for start in range(0, total, self._width):
                chunk = feed.tokens[start : start + self._width]
                wanted = min(len(chunk), max(0, feed.outputs - (total - start - len(chunk))))
                parts.append(self.step([Feed(feed.seq, chunk, wanted)])[0].copy())
            results.append(np.concatenate(parts))
        return results

    def _decode(self, feeds: Sequence[Feed]) -> None:
        code = self._llama.llama_decode(self._ctx, self._batch)
        if code == 0:
            for feed in feeds:
                self._lengths[feed.seq] += len(feed.tokens)
            return
        if code != _NO_SLOT:
            for feed in feeds:  # cut off what an aborted or failed decode left behind
                if not self._llama.llama_memory_seq_rm(self._memory, feed.seq, self._lengths[feed.seq], -1):
                    # A recurrent state cannot be cut back, and now holds an unknown part of the batch.
                    self._llama.llama_memory_seq_rm(self._memory, feed.seq, -1, -1)
                    self._lengths[feed.seq] = 0
        if code == _ABORTED:
            raise Cancelled("Stopped.")
        if code == _NO_SLOT:
            raise ContextFull(f"The context of {self._facts.n_ctx} tokens is full.")
        raise BackendError(f"llama.cpp failed to compute a step (code {code}: {native_log().last_error()}).")

    def _outputs(self, feeds: Sequence[Feed]) -> list[Logits]:
        rows = sum(feed.outputs for feed in feeds)
        size = self._vocab.size
        if not rows:
            return [np.empty((0, size), np.float32) for _ in feeds]
        everything = np.ctypeslib.as_array(self._llama.llama_get_logits(self._ctx), (rows, size))
        results, at = [], 0
        for feed in feeds:
            results.append(everything[at : at + feed.outputs])
            at += feed.outputs
        return results

    def export_cache(self, seq: int, start: int = 0) -> CacheBytes:
        """The sequence's cache from a position on as bytes."""
        if not start:
            return self._exported(seq)
        tail = self.open()  # llama.cpp exports whole sequences: one that shares the wanted cells stands in for them
        try:
            self._llama.llama_memory_seq_cp(self._memory, seq, tail, start, -1)
            return self._exported(tail)
        finally:
            self.drop(tail)

    def _exported(self, seq: int) -> CacheBytes:
        size = self._llama.llama_state_seq_get_size(self._ctx, seq)
        # Neither cleared before nor copied afterwards: that would be most of a handover's time.
        buffer: npt.NDArray[np.uint8] = np.empty(size, np.uint8)
        written = self._llama.llama_state_seq_get_data(self._ctx, _pointer(buffer), size, seq)
        if written == 0:
            raise CacheError("llama.cpp could not export the cache of a sequence.")
        return memoryview(buffer.data)[:written]

    def import_cache(self, seq: int, blob: CacheBytes, length: int) -> None:
        """Fill an empty sequence from another tier's cache."""
        if self._lengths[seq]:
            raise CacheError("A cache can only be imported into an empty sequence.")
        source = np.frombuffer(blob, np.uint8)
        if self._llama.llama_state_seq_set_data(self._ctx, _pointer(source), len(source), seq) == 0:
            self._llama.llama_memory_seq_rm(self._memory, seq, -1, -1)
            raise CacheError(
                f"The cache does not fit this tier ({native_log().last_error() or 'other shape or type'})."
            )
        self._lengths[seq] = length

    def replace_tail(self, seq: int, blob: CacheBytes, start: int, length: int) -> None:
        """Put another tier's cache in the place of the sequence's end."""
        tail = self.open()
        try:
            self.import_cache(tail, blob, length - start)
            self.truncate(seq, start)
            self._llama.llama_memory_seq_cp(self._memory, tail, seq, start, -1)
            self._lengths[seq] = length
        finally:
            self.drop(tail)

    # Life ---------------------------------------------------------------------------------------------------------

    def set_threads(self, threads: int) -> None:
        """Compute threads for the next steps."""
        self._llama.llama_set_n_threads(self._ctx, threads, threads)

    def cancel(self) -> None:
        """Make the running decode return at its next graph node."""
        self._flag[0] = b"x"

    def resume(self) -> None:
        """Clear a cancel."""
        self._flag[0] = b"\x00"

    def close(self) -> None:
        """Free batch, context and model, in that order."""
        if self._batch is not None:
            if self._pointers is not None:
                self._pointers[:] = self._owned
            self._llama.llama_batch_free(self._batch)
            self._batch = None
        if self._ctx is not None:
            self._llama.llama_free(self._ctx)
            self._ctx = None
        if self._model is not None:
            self._llama.llama_model_free(self._model)
            self._model = None


def _pointer(array: npt.NDArray[np.uint8]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
