"""The key/value cache of the transformers engine: one growing buffer per layer, one row per sequence.

transformers' own ``DynamicCache`` copies every key and value once per token and knows one sequence. Here a token is
written in place, cutting back is setting a number, a fork copies one row, and sequences in neighbouring rows run as
one batch without a copy. Layers with a sliding window keep all their keys (the model's mask hides the old ones), which
costs memory and buys ``truncate``.

Masking is exact: cells past a row's length are never attended to, whatever is left in them.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import (
    Cache,
    CacheLayerMixin,
    DummyLayer,
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
)

from backends.errors import Cancelled

FIRST_CAPACITY = 128
"""Cells a row gets at first; doubled as needed."""


@dataclass(slots=True)
class Window:
    """What the next forward pass writes: these rows, each from its own start."""

    rows: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    width: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    """Set from another thread: the pass ends at the next layer. Nothing is lost, lengths are raised after a pass."""

    @property
    def end(self) -> int:
        """First cell past everything the pass writes or reads."""
        return max(self.starts) + self.width


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers has no type information
    """Keys and values of one layer, shape ``[rows, kv heads, cells, head size]``, on the device of the layer."""

    is_sliding = False
    is_croppable = True

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Take the shapes, type and device from the first keys and values."""
        self.keys = key_states.new_empty((0, key_states.shape[1], FIRST_CAPACITY, key_states.shape[3]))
        self.values = value_states.new_empty((0, value_states.shape[1], FIRST_CAPACITY, value_states.shape[3]))
        self.is_initialized = True

    def reserve(self, rows: int, cells: int) -> None:
        """Grow to at least so many rows and cells, by doubling."""
        if rows <= self.keys.shape[0] and cells <= self.keys.shape[2]:
            return
        new_rows, new_cells = max(self.keys.shape[0], rows), self.keys.shape[2]
        while new_cells < cells:
            new_cells *= 2
        self.keys, self.values = _grown(self.keys, new_rows, new_cells), _grown(self.values, new_rows, new_cells)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new keys and values in place; return all of the window's rows up to its end."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window = self.window
        if window.stop.is_set():
            raise Cancelled("Stopped.")
        self.reserve(max(window.rows) + 1, window.end)
        for i, (row, start) in enumerate(zip(window.rows, window.starts, strict=True)):
            self.keys[row, :, start : start + window.width] = key_states[i]
            self.values[row, :, start : start + window.width] = value_states[i]
        return self._read(self.keys), self._read(self.values)

    def _read(self, buffer: torch.Tensor) -> torch.Tensor:
        """The window's rows of a buffer: a view where the rows are neighbours, else a copy."""
        rows, end = self.window.rows, self.window.end
        if rows == list(range(rows[0], rows[0] + len(rows))):
            return buffer[rows[0] : rows[0] + len(rows), :, :end]
        return buffer[rows, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Length and offset of the keys ``update`` will return."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Cells in use before the pass, of the longest row in the window."""
        return max(self.window.starts) if self.window.starts else 0

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1


def _grown(buffer: torch.Tensor, rows: int, cells: int) -> torch.Tensor:
    """A larger copy. New cells are zero, not garbage: a masked NaN would still poison a sum."""
    grown = buffer.new_zeros((rows, buffer.shape[1], cells, buffer.shape[3]))
    grown[: buffer.shape[0], :, : buffer.shape[2]] = buffer
    return grown


class Rows:
    """Which rows are open, and how long each is."""

    def __init__(self, rows: int) -> None:
        self._lengths: list[int | None] = [None] * rows

    def take(self) -> int | None:
        """Open the lowest free row; None when all are taken."""
        for row, length in enumerate(self._lengths):
            if length is None:
                self._lengths[row] = 0
                return row
        return None

    def free(self, row: int) -> None:
        """Close a row."""
        self.length(row)
        self._lengths[row] = None

    def length(self, row: int) -> int:
        """Tokens in a row. Raises KeyError when the row is not open."""
        length = self._lengths[row] if 0 <= row < len(self._lengths) else None
        if length is None:
            raise KeyError(row)
        return length

    def set_length(self, row: int, length: int) -> None:
        """Say how many cells of an open row are in use."""
        self.length(row)
        self._lengths[row] = length


class Slots(Rows):
    """The cache of a model whose layers are all attention: rows can be cut back, copied and handed over.

    Args:
        config: the model's configuration, from which transformers says what each layer caches.
        rows: sequences that may be open at once.
    """

    def __init__(self, config: Any, rows: int) -> None:
        super().__init__(rows)
        template = DynamicCache(config=config).layers
        self.uniform = all(type(layer) is DynamicLayer for layer in template)
        """Whether one mask serves every layer: only then may rows of different length share a pass."""
        self.window = Window()
        self.layers = [DummyLayer() if type(layer) is DummyLayer else SlotLayer(self.window) for layer in template]
        self.cache = Cache(layers=self.layers)

    def aim(self, rows: Sequence[int], width: int) -> Cache:
        """The cache for a forward pass that appends ``width`` tokens to each of ``rows``."""
        self.window.rows = list(rows)
        self.window.starts = [self.length(row) for row in rows]
        self.window.width = width
        return self.cache

    def copy(self, source: int, target: int) -> None:
        """Make an open row equal to another one."""
        length = self.length(source)
        for layer in self._filled():
            layer.reserve(max(source, target) + 1, length)
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]
        self.set_length(target, length)

    def dump(self, row: int, start: int = 0) -> dict[str, torch.Tensor]:
        """A row's keys and values from a cell on by name, on the CPU; shapes ``[kv heads, tokens, head size]``."""
        length = self.length(row)
        out: dict[str, torch.Tensor] = {}
        for index, layer in enumerate(self.layers):
            if isinstance(layer, SlotLayer) and layer.is_initialized:
                out[f"{index}.k"] = layer.keys[row, :, start:length].contiguous().cpu()
                out[f"{index}.v"] = layer.values[row, :, start:length].contiguous().cpu()
        return out

    def restore(
        self,
        row: int,
        tensors: dict[str, torch.Tensor],
        devices: Sequence[torch.device],
        dtype: torch.dtype,
        start: int = 0,
    ) -> None:
        """Fill an open row from ``dump``.

        Args:
            row: the row.
            tensors: what ``dump`` gave, maybe of a model in another type.
            devices: where each layer's cache belongs.
            dtype: the type this model's cache has.
            start: the first cell to fill.

        Raises:
            KeyError: a layer is missing.
            RuntimeError: a shape does not fit.
        """
        length = start
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, SlotLayer):
                continue
            keys, values = tensors[f"{index}.k"], tensors[f"{index}.v"]
            keys, values = keys.to(devices[index], dtype), values.to(devices[index], dtype)
            if not layer.is_initialized:
                layer.lazy_initialization(keys[None], values[None])
            length = start + keys.shape[1]
            layer.reserve(row + 1, length)
            layer.keys[row, :, start:length] = keys
            layer.values[row, :, start:length] = values
        self.set_length(row, length)

    def _filled(self) -> list[SlotLayer]:
        """Layers that hold something."""
        return [layer for layer in self.layers if isinstance(layer, SlotLayer) and layer.is_initialized]


class OwnCaches(Rows):
    """One of transformers' caches per row, for models with recurrent layers: their state cannot be cut back."""

    uniform = False

    def __init__(self, config: Any, rows: int) -> None:
        super().__init__(rows)
        self._config = config
        self._caches: dict[int, Cache] = {}
        self.window = Window()

    def aim(self, rows: Sequence[int], width: int) -> Cache:
        """The cache for a forward pass that appends to a single row."""
        (row,) = rows
        if row not in self._caches:
            self._caches[row] = DynamicCache(config=self._config)
        return self._caches[row]

    def free(self, row: int) -> None:
        """Close a row."""
        super().free(row)
        self._caches.pop(row, None)

    def copy(self, source: int, target: int) -> None:
        """Make an open row equal to another one."""
        if source in self._caches:
            self._caches[target] = copy.deepcopy(self._caches[source])
        self.set_length(target, self.length(source))


def all_attention(config: Any) -> bool:
    """Whether every layer of a model caches plain keys and values (or nothing), so that ``Slots`` can hold them."""
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer, DummyLayer}
