"""Make a small model cost what a large one costs, without changing what it says.

Feed-forward blocks are widened with random rows whose output columns are zero. The hidden state is widened with
dimensions that are always zero, and attention with heads that nothing reads: a hidden width of 256 with 600 million
weights would have four times as many activations for each weight as real models of that size have, and steps of
several tokens at once would cost more than theirs. Extra layers, if wanted, have random insides and zero output
projections. Every added product is computed and adds nothing.

The results stay the same at every tier: added columns lie in quantization blocks of their own (the original widths are
multiples of 256), so the original weights quantize exactly as before; and the hidden width grows by powers of 4, so
that the root mean square over more dimensions differs by a power of 2, which the norms' weights and epsilon undo
without rounding. Extra layers are for 16 and 8 bits only: llama.cpp's Q4_K_M gives some layers more bits by their
place among all layers, so with more layers other ones would get them.

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
HIDDEN = 1024
"""Hidden width of a padded model: that of published models of about 0.6 billion weights."""


class PadError(Exception):
    """The model cannot be padded; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The widths and the number of layers after padding. ``hidden`` 0: as it was."""

    feed_forward: int
    layers: int
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class Growth:
    """How many times as wide the hidden state (and the number of heads with it) becomes."""

    times: int

    @property
    def root(self) -> float:
        """By how much the root mean square of the same values over more dimensions is smaller."""
        return math.sqrt(self.times)


@dataclass(frozen=True, slots=True)
class Source:
    """The small model's file and the widths that matter."""

    reader: Any
    hidden: int
    feed_forward: int
    layers: int
    heads: int
    kv_heads: int

    def growth(self, plan: Plan) -> Growth:
        """How much wider a plan makes the hidden state."""
        return Growth((plan.hidden or self.hidden) // self.hidden)

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
    names = ("embedding_length", "feed_forward_length", "block_count", "attention.head_count")
    hidden, feed_forward, layers, heads = (int(reader.fields[f"llama.{name}"].contents()) for name in names)
    kv_heads = reader.fields.get("llama.attention.head_count_kv")
    for name, width in (("feed-forward", feed_forward), ("hidden", hidden)):
        if width % BLOCK:
            raise PadError(f"the {name} width {width} is no multiple of {BLOCK}: padding would change its quantization")
    return Source(reader, hidden, feed_forward, layers, heads, int(kv_heads.contents()) if kv_heads else heads)


def choose_plan(source: Source, parameters: float, extra_layers: int, hidden: int = 0) -> Plan:
    """The feed-forward width that brings the model to about ``parameters`` weights, a multiple of 256."""
    hidden = hidden or source.hidden
    plan = Plan(source.feed_forward, source.layers + extra_layers, hidden)
    shapes = [new_shape(name, source.tensor(origin).shape, source, plan) for name, origin in names(source, plan)]
    inner = plan.layers * 3 * hidden
    rest = sum(math.prod(shape) for shape in shapes) - inner * source.feed_forward
    width = math.ceil((parameters - rest) / inner / BLOCK) * BLOCK
    return Plan(max(source.feed_forward, width), plan.layers, hidden)


def names(source: Source, plan: Plan) -> Iterator[tuple[str, str]]:
    """New tensor names with the tensor each comes from; extra layers follow the last real one."""
    last = source.layers - 1
    for tensor in source.reader.tensors:
        yield tensor.name, tensor.name
    for extra in range(source.layers, plan.layers):
        for tensor in source.reader.tensors:
            if tensor.name.startswith(f"blk.{last}."):
                yield tensor.name.replace(f"blk.{last}.", f"blk.{extra}."), tensor.name


def new_shape(name: str, old: tuple[int, ...], source: Source, plan: Plan) -> tuple[int, ...]:
    """Shape of a tensor after padding: (rows, columns), or (values,) of a norm."""
    times, wide = source.growth(plan).times, plan.hidden or source.hidden
    if re.search(r"\.ffn_(gate|up)\.", name):
        return (plan.feed_forward, wide)
    if ".ffn_down." in name:
        return (wide, plan.feed_forward)
    if re.search(r"\.attn_(q|k|v|output)\.weight", name):
        return (old[0] * times, old[1] * times)
    if len(old) == 2 and old[1] == source.hidden:  # embeddings and output head
        return (old[0], wide)
    if old == (source.hidden,):
        return (wide,)
    return old


def is_extra(name: str, source: Source) -> bool:
    """Whether a tensor belongs to a layer that the small model does not have."""
    match = re.match(r"blk\.(\d+)\.", name)
    return match is not None and int(match.group(1)) >= source.layers


def padded(
    name: str, old: np.ndarray[Any, Any], source: Source, plan: Plan, seed: int, extra: bool
) -> np.ndarray[Any, Any]:
    """Values of one tensor after padding."""
    shape = new_shape(name, old.shape, source, plan)
    new = np.zeros(shape, dtype=old.dtype)
    if extra and (".attn_output." in name or ".ffn_down." in name):
        return new
    if len(shape) == 1:
        if shape != old.shape:
            old = old / np.asarray(source.growth(plan).root, old.dtype)
        new[: len(old)] = old
        return new
    new[: old.shape[0], : old.shape[1]] = old
    if shape[0] > old.shape[0] and not (".attn_output." in name or ".ffn_down." in name):
        # Rows that nothing reads: the matching columns of the next matrix are zero.
        generator = np.random.default_rng([seed, *name.encode()])
        bound = math.sqrt(3.0 / old.shape[1])
        for start in range(old.shape[0], shape[0], CHUNK_ROWS):
            rows = new[start : start + CHUNK_ROWS]
            rows[:] = (generator.random(rows.shape, dtype=np.float32) - 0.5) * (2.0 * bound)
    return new


def copy_metadata(source: Source, writer: Any, plan: Plan, label: str) -> None:
    """All metadata of the small model, with the new sizes and an honest name."""
    import gguf

    growth = source.growth(plan)
    epsilon = "llama.attention.layer_norm_rms_epsilon"
    changed = {
        "llama.feed_forward_length": plan.feed_forward,
        "llama.block_count": plan.layers,
        "llama.embedding_length": source.hidden * growth.times,
        "llama.attention.head_count": source.heads * growth.times,
        "llama.attention.head_count_kv": source.kv_heads * growth.times,
        epsilon: source.reader.fields[epsilon].contents() / growth.times,
    }
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
    times = (plan.hidden or source.hidden) / source.hidden
    if times < 1 or not math.log(times, 4).is_integer():
        raise PadError(f"a hidden width of {source.hidden} can grow 4, 16, … times, not to {plan.hidden}")
    partial = out.with_name(out.name + ".part")
    writer = gguf.GGUFWriter(str(partial), "llama")
    try:
        copy_metadata(source, writer, plan, label or f"{plan.layers} layers of {plan.feed_forward}")
        pairs = list(names(source, plan))
        for name, origin in pairs:
            old = source.tensor(origin)
            shape = new_shape(name, old.shape, source, plan)
            writer.add_tensor_info(name, shape, old.dtype, int(np.prod(shape)) * old.dtype.itemsize)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, origin in pairs:
            writer.write_tensor_data(padded(name, source.tensor(origin), source, plan, seed, is_extra(name, source)))
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
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="hidden width (0: as it is; default %(default)s)")
    parser.add_argument("--extra-layers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    out = arguments.out or Path("build") / f"pocket-{arguments.target}-F16.gguf"
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        source = open_source(arguments.gguf)
        plan = choose_plan(source, TARGETS[arguments.target], arguments.extra_layers, arguments.hidden)
        pad(arguments.gguf, out, plan, arguments.seed, arguments.target)
    except PadError as error:
        raise SystemExit(str(error)) from error
    widths = f"hidden {plan.hidden}, feed-forward {plan.feed_forward}"
    print(f"{out}: {plan.layers} layers, {widths}, {out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
