"""The transformers Stepper: the same steps as llama.cpp's, over a causal language model of transformers.

Sequences are rows of one cache (``slots``). Feeds of equal width run as one batch; a batch whose rows differ in length
gets an explicit mask, which is exact. Batched and single passes may differ in the last bits of the logits, because the
matrix kernels sum in another order for another shape, as they do in llama.cpp.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from backends.errors import BackendError, CacheError, Cancelled, ContextFull
from backends.stepper import CacheBytes, Feed, Logits, ModelFacts, Progress
from backends.transformers_engine.slots import OwnCaches, Slots, all_attention
from backends.transformers_engine.tokens import Vocabulary
from backends.types import Message


class TransformersStepper:
    """One model of transformers. See ``backends.stepper.Stepper`` for the contract of each method.

    Args:
        model: a loaded causal language model in evaluation mode.
        vocabulary: its tokenizer.
        ctx: tokens one sequence may hold; not more than the model was made for.
        batch_size: tokens of one prefill pass.
        sequences: sequences that may be open at once.
    """

    def __init__(self, model: Any, vocabulary: Vocabulary, *, ctx: int, batch_size: int, sequences: int) -> None:
        self._model: Any = model
        self._vocabulary = vocabulary
        self._batch_size = max(1, batch_size)
        config = model.config.get_text_config(decoder=True)
        self._rows = Slots(config, sequences) if all_attention(config) else OwnCaches(config, sequences)
        self._device = model.get_input_embeddings().weight.device
        self._stop = self._rows.window.stop
        self._facts = _facts(model, vocabulary, ctx, can_truncate=isinstance(self._rows, Slots))

    @property
    def facts(self) -> ModelFacts:
        """Facts about the loaded model."""
        return self._facts

    # Text ---------------------------------------------------------------------------------------------------------

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokens of ``text``."""
        return self._vocabulary.tokenize(text, special=special)

    def piece(self, token: int) -> bytes:
        """Bytes of one token."""
        return self._vocabulary.piece(token)

    def is_end(self, token: int) -> bool:
        """Whether the token ends a reply."""
        return self._vocabulary.is_end(token)

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of the conversation in the model's own template."""
        return self._vocabulary.chat_prompt(messages)

    # Sequences ----------------------------------------------------------------------------------------------------

    def open(self) -> int:
        """A new, empty sequence."""
        row = self._rows.take()
        if row is None:
            raise ContextFull("All sequence slots of the engine are in use.")
        return row

    def fork(self, seq: int) -> int:
        """A new sequence with a copy of the cells of ``seq``."""
        self._rows.length(seq)
        new = self.open()
        with torch.inference_mode():
            self._rows.copy(seq, new)
        return new

    def drop(self, seq: int) -> None:
        """Forget a sequence."""
        self._rows.free(seq)

    def length(self, seq: int) -> int:
        """Tokens held by the sequence."""
        return self._rows.length(seq)

    def truncate(self, seq: int, length: int) -> None:
        """Keep the first ``length`` tokens."""
        if length >= self._rows.length(seq):
            return
        if not self._facts.can_truncate:
            raise CacheError(f"A {self._facts.architecture} model cannot cut its cache back.")
        self._rows.set_length(seq, max(0, length))

    # Work ---------------------------------------------------------------------------------------------------------

    def prefill(self, seq: int, tokens: Sequence[int], progress: Progress | None = None) -> Logits:
        """Append tokens in batches; logits after the last one, ``[n_vocab]``."""
        total = len(tokens)
        if not total:
            raise ValueError("prefill needs at least one token")
        self._check_fits([Feed(seq, tokens)])
        logits = np.empty((0, self._facts.n_vocab), np.float32)
        for start in range(0, total, self._batch_size):
            chunk = tokens[start : start + self._batch_size]
            logits = self._pass([Feed(seq, chunk, outputs=int(start + len(chunk) == total))])[0]
            if progress is not None:
                progress(start + len(chunk), total)
        last: Logits = logits[0]
        return last

    def step(self, feeds: Sequence[Feed]) -> list[Logits]:
        """Append to several sequences; one array ``[outputs, n_vocab]`` per feed."""
        self._check_fits(feeds)
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, feed in enumerate(feeds):
            groups.setdefault(self._company(feed, index), []).append(index)
        results: list[Logits] = [np.empty((0, self._facts.n_vocab), np.float32) for _ in feeds]
        for indices in groups.values():
            indices.sort(key=lambda i: feeds[i].seq)  # neighbouring rows are read without a copy
            for index, logits in zip(indices, self._pass([feeds[i] for i in indices]), strict=True):
                results[index] = logits
        return results

    def _company(self, feed: Feed, index: int) -> tuple[int, ...]:
        """A key equal for feeds that may share a pass: same width and, unless one mask serves all, same length."""
        if not isinstance(self._rows, Slots):
            return (index,)
        if self._rows.uniform:
            return (len(feed.tokens),)
        return (len(feed.tokens), self._rows.length(feed.seq))

    def _check_fits(self, feeds: Sequence[Feed]) -> None:
        """Raises ContextFull before anything is appended."""
        for feed in feeds:
            needed = self._rows.length(feed.seq) + len(feed.tokens)
            if needed > self._facts.n_ctx:
                raise ContextFull(f"{needed} tokens do not fit into a context of {self._facts.n_ctx}.")

    def _pass(self, feeds: Sequence[Feed]) -> list[Logits]:
        """One forward pass over feeds of equal width, each to its own row."""
        if self._stop.is_set():
            raise Cancelled("Stopped.")
        rows, width = [feed.seq for feed in feeds], len(feeds[0].tokens)
        starts = torch.tensor([self._rows.length(row) for row in rows], device=self._device)
        positions = starts[:, None] + torch.arange(width, device=self._device)
        wanted = max(feed.outputs for feed in feeds)
        try:
            with torch.inference_mode():
                logits = self._model(
                    input_ids=torch.tensor([list(feed.tokens) for feed in feeds], device=self._device),
                    position_ids=positions,
                    attention_mask=_mask(positions),
                    past_key_values=self._rows.aim(rows, width),
                    use_cache=True,
                    logits_to_keep=max(1, wanted),
                ).logits.float().cpu().numpy()  # fmt: skip
        except torch.OutOfMemoryError as error:
            raise BackendError("The graphics card is out of memory; use a smaller ctx or batch size.") from error
        except RuntimeError as error:  # memory of the CPU, kernels, drivers: a lower tier can go on without this one
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise BackendError(f"PyTorch failed to compute a step ({first[:200]}).") from error
        for feed in feeds:
            self._rows.set_length(feed.seq, self._rows.length(feed.seq) + width)
        return [logits[i, logits.shape[1] - feed.outputs :] for i, feed in enumerate(feeds)]

    # Handover -----------------------------------------------------------------------------------------------------

    def export_cache(self, seq: int, start: int = 0) -> bytes:
        """The sequence's cache from a position on, in safetensors form."""
        if not isinstance(self._rows, Slots):
            raise CacheError(f"The cache of a {self._facts.architecture} model cannot be handed over.")
        tensors = self._rows.dump(seq, start)
        return bytes(save_tensors(tensors, self._label(self._rows.length(seq) - start)))

    def _label(self, length: int) -> dict[str, str]:
        return {"key": self._facts.cache_key, "length": str(length)}

    def import_cache(self, seq: int, blob: CacheBytes, length: int) -> None:
        """Fill an empty sequence from another tier's cache."""
        if self._rows.length(seq):
            raise CacheError("A cache can only be imported into an empty sequence.")
        self._restore(seq, bytes(blob), 0, length)

    def replace_tail(self, seq: int, blob: CacheBytes, start: int, length: int) -> None:
        """Put another tier's cache in the place of the sequence's end."""
        self._restore(seq, bytes(blob), start, length)

    def _restore(self, seq: int, blob: bytes, start: int, length: int) -> None:
        if not isinstance(self._rows, Slots):
            raise CacheError(f"A {self._facts.architecture} model cannot take over a cache.")
        if _metadata(blob) != self._label(length - start):
            raise CacheError("The cache is of another model or another length.")
        if length > self._facts.n_ctx:
            raise CacheError(f"A cache of {length} tokens does not fit into a context of {self._facts.n_ctx}.")
        before = self._rows.length(seq)
        try:
            tensors = load_tensors(blob)  # damaged bytes fail here, before a cell is written
            with torch.inference_mode():
                self._rows.restore(seq, tensors, self._layer_devices(), self._cache_dtype(), start)
        except (SafetensorError, KeyError, RuntimeError) as error:
            self._rows.set_length(seq, before)
            raise CacheError(f"The cache is damaged ({error}).") from error

    def _layer_devices(self) -> list[torch.device]:
        """Where each layer lives, for models spread over several cards."""
        placed = getattr(self._model, "hf_device_map", None) or {}
        devices = [self._device] * len(self._model.config.get_text_config(decoder=True).per_layer_config)
        for name, device in placed.items():
            number = name.rsplit(".", 1)[-1]
            if number.isdigit() and int(number) < len(devices):
                devices[int(number)] = torch.device(device)
        return devices

    def _cache_dtype(self) -> torch.dtype:
        """The type of keys and values: that of the embeddings, which no method quantizes."""
        dtype: torch.dtype = self._model.get_input_embeddings().weight.dtype
        return dtype

    # Life ---------------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Make the running work end at its next layer."""
        self._stop.set()

    def resume(self) -> None:
        """Clear a cancel."""
        self._stop.clear()

    def close(self) -> None:
        """Free the model and its cache."""
        self._model = None
        self._rows = OwnCaches(None, 0)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _mask(positions: torch.Tensor) -> torch.Tensor | None:
    """Who may look at whom, shape ``[rows, 1, width, cells]``, True where they may.

    None (the model makes its own mask) where all rows have the same length.
    """
    if bool((positions == positions[0]).all()):
        return None
    cells = torch.arange(int(positions.max()) + 1, device=positions.device)
    return (cells <= positions[:, :, None])[:, None]


def _metadata(blob: bytes) -> dict[str, str]:
    """The metadata of safetensors bytes; empty when they are not."""
    try:
        size = int.from_bytes(blob[:8], "little")
        found = json.loads(blob[8 : 8 + size])["__metadata__"]
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _facts(model: Any, vocabulary: Vocabulary, ctx: int, *, can_truncate: bool) -> ModelFacts:
    """Read a model's facts."""
    config = model.config.get_text_config(decoder=True)
    n_vocab = int(model.get_output_embeddings().weight.shape[0])
    trained = int(getattr(config, "max_position_embeddings", 0) or ctx)
    shape = [
        config.model_type,
        config.num_hidden_layers,
        getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None),
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        str(getattr(config, "rope_parameters", None)),
        str(getattr(config, "layer_types", None)),
        n_vocab,
    ]
    return ModelFacts(
        architecture=str(config.model_type),
        n_vocab=n_vocab,
        n_ctx=min(ctx, trained),
        n_ctx_train=trained,
        can_truncate=can_truncate,
        cache_key="transformers/" + hashlib.sha256(json.dumps(shape).encode()).hexdigest()[:24],
        has_template=vocabulary.has_template,
        bytes=_weight_bytes(model),
    )


def _weight_bytes(model: Any) -> int:
    """Bytes of all weights in memory, packed ones as they are packed, with their scales."""
    total = 0
    for tensor in [*model.parameters(), *model.buffers()]:
        total += tensor.numel() * tensor.element_size()
        state = getattr(tensor, "quant_state", None)  # bitsandbytes 4-bit keeps its scales beside the weight
        if state is not None:
            total += state.absmax.numel() * state.absmax.element_size()
    return int(total)
