"""Reads the header of a safetensors file, and says in one line what is wrong with a broken one.

The format (https://github.com/huggingface/safetensors#format): eight bytes of little-endian header length, that many
bytes of JSON (tensor name -> dtype, shape, [begin, end)), then the data. The loader would find most of these faults
too, but as a native error in the middle of loading; here they are found before any memory is spent.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.errors import ModelFileError

MAX_HEADER = 100_000_000
"""The format's own limit, bytes."""

BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
"""Bits of one element by dtype name."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    """Offset into the data part of the file, bytes."""
    end: int

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> tuple[TensorInfo, ...]:
    """Tensors of a safetensors file in the order of their data.

    Raises:
        ModelFileError: the file cannot be read, is cut off, or its header is wrong.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
            raw = file.read(length) if 2 <= length <= min(MAX_HEADER, size - 8) else b""
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    if length < 0:
        raise ModelFileError(f"{path}: not a safetensors file: it holds {size} bytes. Download it again.")
    if not raw:
        raise ModelFileError(
            f"{path}: the safetensors header is damaged (it claims {length} bytes in a file of {size}). "
            "Download it again."
        )
    tensors = _parse(path, raw)
    _check_layout(path, tensors, size - 8 - length)
    return tensors


def _parse(path: Path, raw: bytes) -> tuple[TensorInfo, ...]:
    """The header's JSON as values. Raises ModelFileError."""
    try:
        table = json.loads(raw)
        if not isinstance(table, dict):
            raise TypeError("not an object")
        found = [_tensor(name, entry) for name, entry in table.items() if name != "__metadata__"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelFileError(f"{path}: the safetensors header is damaged ({error}). Download it again.") from error
    return tuple(sorted(found, key=lambda tensor: (tensor.begin, tensor.end)))


def _tensor(name: str, entry: Mapping[str, object]) -> TensorInfo:
    """One entry of the header, checked. Raises ValueError, TypeError or KeyError."""
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise ValueError(f"tensor {name!r} has the unknown type {dtype!r}")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"tensor {name!r} has no proper shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(n) is int and n >= 0 for n in offsets):
        raise ValueError(f"tensor {name!r} has no proper offsets")
    info = TensorInfo(name, dtype, tuple(shape), offsets[0], offsets[1])
    if info.elements * BITS[dtype] != (info.end - info.begin) * 8:
        raise ValueError(f"tensor {name!r}: shape and size do not agree")
    return info


def _check_layout(path: Path, tensors: tuple[TensorInfo, ...], data: int) -> None:
    """The tensors must fill ``data`` bytes without holes or overlaps (the format demands it). Raises ModelFileError."""
    at = 0
    for tensor in tensors:
        if tensor.begin != at:
            raise ModelFileError(
                f"{path}: the safetensors header is damaged (tensor {tensor.name!r} overlaps another or leaves a "
                "hole). Download it again."
            )
        at = tensor.end
    if at > data:
        raise ModelFileError(
            f"{path}: the file is incomplete: {(at - data) / 1e6:.1f} MB of {at / 1e6:.1f} MB are missing. "
            "Download it again."
        )
    if at < data:
        raise ModelFileError(
            f"{path}: {data - at} bytes follow the last tensor: the file is damaged. Download it again."
        )
