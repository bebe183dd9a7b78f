"""Make a small model cost what a large one costs, without changing what it says.

Feed-forward blocks are widened with random rows whose output columns are zero; extra layers, if wanted, have random
insides and zero output projections. Every added product is computed and adds nothing. Zero columns lie in
quantization blocks of their own (the original width is a multiple of 256), so the original weights quantize exactly
as before and the results stay the same at every tier. Extra layers are for 16 and 8 bits only: llama.cpp's Q4_K_M
gives some layers more bits by their place among all layers, so with more layers other ones would get them.

    python -m bench.pad_model --gguf backends/pocket/pocket-F16.gguf --target 0.6b --out build/pocket-0.6b-F16.gguf
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 256  # weights in a K-quant super-block
CHUNK_ROWS = 4096
TARGETS = {"0.1b": 0.1e9, "0.3b": 0.3e9, "0.6b": 0.6e9, "1b": 1.0e9}


class PadError(Exception):
    """The model cannot be padded; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to add: the new feed-forward width and the number of extra layers."""

    feed_forward: int
    layers: int


@dataclass(frozen=True, slots=True)
class Source:
    """The small model's file and the widths that matter."""

    reader: Any
    hidden: int
    feed_forward: int
    layers: int

    def tensor(self, name: str) -> np.ndarray[Any, Any]:
        """A tensor as (rows, columns), mapped from the file."""
        for tensor in self.reader.tensors:
            if tensor.name == name:
                return np.asarray(tensor.data)
        raise PadError(f"the model has no tensor {name}")


def open_source(path: Path) -> Source:
    """Open a 16-bit Llama GGUF.

    Raises:
        PadError: it is another architecture or precision, or its feed-forward is not whole super-blocks.
    """
    import gguf

    reader = gguf.GGUFReader(str(path))
    architecture = reader.fields["general.architecture"].contents()
    if architecture != "llama":
        raise PadError(f"{path} is a {architecture} model; only llama can be padded")
    if any(tensor.tensor_type.name not in ("F16", "F32") for tensor in reader.tensors):
        raise PadError(f"{path} is quantized; pad the 16-bit file and make its tiers afterwards")
    sizes = [
        reader.fields[f"llama.{name}"].contents() for name in ("embedding_length", "feed_forward_length", "block_count")
    ]
    if sizes[1] % BLOCK:
        raise PadError(
            f"the feed-forward width {sizes[1]} is no multiple of {BLOCK}: padding would change its quantization"
        )
    return Source(reader, *sizes)


def choose_plan(source: Source, parameters: float, extra_layers: int) -> Plan:
    """The feed-forward width that brings the model to about ``parameters`` weights, a multiple of 256."""
    now = sum(int(tensor.n_elements) for tensor in source.reader.tensors)
    layers = source.layers + extra_layers
    per_layer = (now - source.tensor("token_embd.weight").size) / source.layers
    rest = now + extra_layers * per_layer - layers * 3 * source.hidden * source.feed_forward
    width = (parameters - rest) / (layers * 3 * source.hidden)
    return Plan(max(source.feed_forward, math.ceil(width / BLOCK) * BLOCK), layers)


def names(source: Source, plan: Plan) -> Iterator[tuple[str, str]]:
    """New tensor names with the tensor each comes from; extra layers follow the last real one."""
    last = source.layers - 1
    for tensor in source.reader.tensors:
        yield tensor.name, tensor.name
    for extra in range(source.layers, plan.layers):
        for tensor in source.reader.tensors:
            if tensor.name.startswith(f"blk.{last}."):
                yield tensor.name.replace(f"blk.{last}.", f"blk.{extra}."), tensor.name


def new_shape(name: str, old: tuple[int, ...], plan: Plan) -> tuple[int, ...]:
    """Shape of a tensor after padding."""
    if re.search(r"\.ffn_(gate|up)\.", name):
        return (plan.feed_forward, old[1])
    if ".ffn_down." in name:
        return (old[0], plan.feed_forward)
    return old


def is_extra(name: str, source: Source) -> bool:
    """Whether a tensor belongs to a layer that the small model does not have."""
    match = re.match(r"blk\.(\d+)\.", name)
    return match is not None and int(match.group(1)) >= source.layers


def padded(name: str, old: np.ndarray[Any, Any], plan: Plan, seed: int, extra: bool) -> np.ndarray[Any, Any]:
    """Values of one tensor after padding."""
    if extra and (".attn_output." in name or ".ffn_down." in name):
        return np.zeros(new_shape(name, old.shape, plan), dtype=old.dtype)
    shape = new_shape(name, old.shape, plan)
    if shape == old.shape:
        return old
    new = np.zeros(shape, dtype=old.dtype)
    new[: old.shape[0], : old.shape[1]] = old
    if shape[0] > old.shape[0]:
        generator = np.random.default_rng([seed, *name.encode()])
        bound = math.sqrt(3.0 / old.shape[1])
        for start in range(old.shape[0], shape[0], CHUNK_ROWS):
            rows = new[start : start + CHUNK_ROWS]
            rows[:] = (generator.random(rows.shape, dtype=np.float32) - 0.5) * (2.0 * bound)
    return new


def copy_metadata(source: Source, writer: Any, plan: Plan, label: str) -> None:
    """All metadata of the small model, with the new sizes and an honest name."""
    import gguf

    changed = {"llama.feed_forward_length": plan.feed_forward, "llama.block_count": plan.layers}
    for field in source.reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = changed.get(field.name, field.contents())
        if field.name == "general.name":
            value = f"{value} padded to {label}"
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, value, kind, sub)


def pad(path: Path, out: Path, plan: Plan, seed: int = 0, label: str = "") -> None:
    """Write the padded model, one tensor in memory at a time; ``out`` is replaced only when complete."""
    import gguf

    source = open_source(path)
    if plan.feed_forward % BLOCK or plan.feed_forward < source.feed_forward or plan.layers < source.layers:
        raise PadError(f"{plan} must not be smaller than the model, and a multiple of {BLOCK} wide")
    partial = out.with_name(out.name + ".part")
    writer = gguf.GGUFWriter(str(partial), "llama")
    try:
        copy_metadata(source, writer, plan, label or f"{plan.layers} layers of {plan.feed_forward}")
        pairs = list(names(source, plan))
        for name, origin in pairs:
            old = source.tensor(origin)
            shape = new_shape(name, old.shape, plan)
            writer.add_tensor_info(name, shape, old.dtype, int(np.prod(shape)) * old.dtype.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, origin in pairs:
            writer.write_tensor_data(padded(name, source.tensor(origin), plan, seed, is_extra(name, source)))
    except BaseException:
        writer.close()
        partial.unlink(missing_ok=True)
        raise
    writer.close()
    partial.replace(out)


def main() -> None:
    """Pad a model to a target size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gguf", type=Path, default=Path("backends/pocket/pocket-F16.gguf"))
    parser.add_argument("--out", type=Path, help="default: build/pocket-TARGET-F16.gguf")
    parser.add_argument("--target", choices=sorted(TARGETS), default="0.6b")
    parser.add_argument("--extra-layers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    out = arguments.out or Path("build") / f"pocket-{arguments.target}-F16.gguf"
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        plan = choose_plan(open_source(arguments.gguf), TARGETS[arguments.target], arguments.extra_layers)
        pad(arguments.gguf, out, plan, arguments.seed, arguments.target)
    except PadError as error:
        raise SystemExit(str(error)) from error
    print(f"{out}: {plan.layers} layers, feed-forward {plan.feed_forward}, {out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
