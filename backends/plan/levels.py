"""The guide from laptop to cluster: memory of well-known models, computed by the plan's own code, as markdown."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from backends.models.recipes import best_four_bit
from backends.plan.choose import choose
from backends.plan.estimate import Estimate, Run, estimate
from backends.plan.fit import EMBEDDER, INTERPRETER, PROGRAM, Tiers, Wishes
from backends.plan.hardware import Gpu, Hardware
from backends.plan.layout import Layout, layout_of_shape
from backends.plan.shapes import FAMILIES, Family
from backends.types import EIGHT, FOUR, SIXTEEN

_RAM = (8, 16, 32, 64, 128, 192)
_CARDS = (6, 8, 12, 16, 24, 48, 80)
_SYSTEM = 2.0
"""GB the operating system and a desktop are taken to use."""
_CTX = (32768, 16384, 8192, 4096)
_FEATURES = frozenset({"avx2"})
_SHORT = {FOUR: "4", EIGHT: "8", SIXTEEN: "16"}


def guide() -> str:
    """The whole page."""
    sources = ", ".join(f"`{family.source}`" for family in FAMILIES)
    parts = (_needs(), _by_memory(), _by_card(), _differences())
    return "\n".join([_HEAD, *(line for part in parts for line in part), f"{_METHOD}{sources}."]) + "\n"


_HEAD = """# Which model runs on what: from laptop to cluster

Written by `fovea plan --levels`; do not edit. Every figure is computed from the models' published sizes by the code
that plans for a real file (`fovea plan MODEL`). How near that comes to measured memory is in
[docs/hardware.md](docs/hardware.md). GB are powers of ten. A ladder `4 + 16` holds the 4-bit and the 16-bit tier of
the same model in memory together.
"""
_NEEDS = """## What each model takes

One tier with ctx 4,096 (or the model's own maximum), batch 512 and a 16-bit cache, on a CPU: weights, cache and work.

| model | weights, millions | 16 bits, GB | 8 bits, GB | 4 bits, GB | cache for 1,000 tokens, GB | ladder 4 + 16, GB |
|---|---:|---:|---:|---:|---:|---:|"""
_MEMORY = f"""## Main memory only (CPU)

The best ladder and the longest ctx with it, where {_SYSTEM:.0f} GB are left to the system and
{(INTERPRETER + PROGRAM + EMBEDDER) / 1e9:.1f} GB to fovea with its knowledge base. Batch 512 throughout: its
buffers are a few per cent at most, so a smaller one gains little. *Italic*: expected not to fit; the
weights are then read from the disk again and again.
"""
_CARD = """## With a graphics card

What lies wholly on one card of this size (with a llama.cpp built for it). `n/m` is how many of the 4-bit tier's layers
do where not all of them fit; the rest stays in main memory.
"""
_CARD_END = """
Two cards need no NVLink for this: the layers are divided between them (`tensor_split`), and only one activation vector
for each token passes from card to card.
"""
_DIFFERENCES = """## Where the original notes differ

The tables this project started from gave these ranges (GB). Computed: one tier with ctx 4,096, everything included.

| model | 16 bits: noted | computed | 4 bits: noted | computed | remark |
|---|---|---:|---|---:|---|"""
_DIFFERENCES_END = """
The notes also ask for NVLink at 65B; it is not needed (see above). A 13B model at 4 bits fits a 16 GB card, as they
say. The notes give one range for Phi-2 and TinyLlama together; they differ by more than a factor of two.
"""
_METHOD = """## How it is computed

Weights: each tensor at the type llama.cpp's quantizer gives it (Q4_K_M, Q8_0, F16). Cache: layers × key/value heads ×
head size × tokens × 2 bytes, for keys and again for values. Work: llama.cpp's buffers for a batch of 512. Not counted:
on processors with AVX2 llama.cpp keeps a rearranged second copy of 4-bit matrices, so the resident memory a system
monitor shows is higher by up to the size of the 4-bit file while there is room for both.

Sources of the sizes: """


def _needs() -> Iterator[str]:
    yield _NEEDS
    for family in FAMILIES:
        need = {name: _need(family, name) for name in (SIXTEEN, EIGHT, FOUR)}
        layout = _tiers(family.name)[SIXTEEN][0]
        count = sum(tensor.elements for tensor in layout.tensors) / 1e6
        cache_k = estimate(layout, Run(ctx=8192)).cache / 8.192 / 1e9
        both = need[FOUR].least + need[SIXTEEN].least
        cells = [f"{need[name].least / 1e9:.1f}" for name in (SIXTEEN, EIGHT, FOUR)]
        yield f"| {family.name} | {count:,.0f} | {' | '.join(cells)} | {cache_k:.2f} | {both / 1e9:.1f} |"
    yield ""


def _by_memory() -> Iterator[str]:
    yield _MEMORY
    yield f"| model | {' | '.join(f'{size} GB' for size in _RAM)} |"
    yield f"|---|{'---|' * len(_RAM)}"
    for family in FAMILIES:
        yield f"| {family.name} | {' | '.join(_cell(family, size) for size in _RAM)} |"
    yield ""


def _by_card() -> Iterator[str]:
    yield _CARD
    yield f"| model | {' | '.join(f'{size} GB' for size in _CARDS)} | two of 24 GB |"
    yield f"|---|{'---|' * (len(_CARDS) + 1)}"
    for family in FAMILIES:
        cells = [_card_cell(family, (size,)) for size in _CARDS] + [_card_cell(family, (24, 24))]
        yield f"| {family.name} | {' | '.join(cells)} |"
    yield _CARD_END


def _differences() -> Iterator[str]:
    yield _DIFFERENCES
    for family in FAMILIES:
        if family.noted is None:
            continue
        high, low = (_need(family, name).least / 1e9 for name in (SIXTEEN, FOUR))
        remark = _remark(family.noted, high, low)
        yield f"| {family.name} | {family.noted[0]} | {high:.1f} | {family.noted[1]} | {low:.1f} | {remark} |"
    yield _DIFFERENCES_END


# Figures ------------------------------------------------------------------------------------------------------------


@cache
def _tiers(name: str) -> Tiers:
    layout = layout_for(name)
    four = best_four_bit(layout.tensors)
    return {
        FOUR: (layout.at(four), four, None),
        EIGHT: (layout.at("Q8_0"), "Q8_0", None),
        SIXTEEN: (layout, "F16", None),
    }


def _need(family: Family, tier: str) -> Estimate:
    layout = _tiers(family.name)[tier][0]
    return estimate(layout, Run(ctx=min(4096, layout.context), sequences=16, features=_FEATURES))


def _machine(ram: float, cards: tuple[int, ...] = ()) -> Hardware:
    gpus = tuple(Gpu(f"{size} GB", "nvidia", int(size * 1e9), int(size * 1e9)) for size in cards)
    free = int(max(ram - _SYSTEM, 0) * 1e9)
    backends = frozenset({"cuda"}) if cards else frozenset[str]()
    return Hardware("", 8, _FEATURES, int(ram * 1e9), free, 0, 0, gpus, backends)


def _cell(family: Family, ram: int) -> str:
    wishes = Wishes(embedder=True)
    plan = choose(_tiers(family.name), _machine(ram), wishes)
    if not plan.fits:
        return f"*4, over by {(plan.needed - plan.budget) / 1e9:.0f} GB*"
    ctx = plan.run.ctx
    for longer in _CTX:
        if longer > ctx and longer <= family.shape.context:
            other = choose(_tiers(family.name), _machine(ram), Wishes(ctx=longer, embedder=True))
            if other.fits and other.chosen == plan.chosen:
                ctx = longer
                break
    return f"{_ladder_name(plan.chosen)}, ctx {_thousands(ctx)}"


def _card_cell(family: Family, cards: tuple[int, ...]) -> str:
    machine = _machine(512, cards)
    tiers = _tiers(family.name)
    for names in ((FOUR, EIGHT, SIXTEEN), (FOUR, SIXTEEN), (FOUR, EIGHT), (FOUR,)):
        plan = choose({name: tiers[name] for name in names}, machine, Wishes(embedder=False))
        if plan.chosen == names and plan.n_gpu_layers == -1:
            return _ladder_name(names)
    return f"{plan.n_gpu_layers}/{len(tiers[FOUR][0].layers)}"


def _ladder_name(names: tuple[str, ...]) -> str:
    return " + ".join(_SHORT[name] for name in names)


def _thousands(ctx: int) -> str:
    return f"{ctx // 1024}k" if ctx >= 1024 else str(ctx)


def _remark(noted: tuple[str, str], high: float, low: float) -> str:
    said = []
    for bits, text, value in (("16", noted[0], high), ("4", noted[1], low)):
        ends = [float(part) for part in text.rstrip("+").split("–")]
        if value > ends[-1] * 1.05:
            said.append(f"{bits} bits need more than noted")
        elif value < ends[0] * 0.95:
            said.append(f"{bits} bits need less than noted")
    return "; ".join(said) or "agrees"


def layout_for(name: str) -> Layout:
    """The 16-bit layout of a family by its name in the guide."""
    return next(layout_of_shape(family.shape) for family in FAMILIES if family.name == name)
