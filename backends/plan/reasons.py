"""One line for each choice of the plan, so that a person can disagree with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from backends.plan.estimate import estimate
from backends.plan.fit import EMBEDDER, Fit, Fitter
from backends.types import EIGHT, SIXTEEN


def reasons(best: Fit, ladders: Sequence[tuple[str, ...]], fitter: Fitter) -> Iterator[str]:
    """Why this ladder and not another, what is left unused, and what would help."""
    yield from _ladder(best, fitter)
    yield from _cards(best, fitter)
    if best.over > 0:
        yield (
            f"expected not to fit by {size(best.over)}; it will be tried all the same. A shorter ctx, closing other "
            "programs or a smaller model would help"
        )
    elif best.names != ladders[0]:
        yield from _help(best, ladders, fitter)
    yield from _kind_of_model(best, fitter)


def _ladder(best: Fit, fitter: Fitter) -> Iterator[str]:
    low, high = best.names[0], best.names[-1]
    missing = [name for name in (EIGHT, SIXTEEN) if name in fitter.tiers and name not in best.names]
    if low == high:
        rest = f": {' and '.join(missing)} beside it would need more than is available" if missing else ""
        yield f"{low} alone{rest}"
    elif SIXTEEN in missing:
        yield f"{SIXTEEN} does not fit beside {low}: {high} is the closer look"
    elif EIGHT in missing:
        yield f"{low} speaks, {high} is the closer look; {EIGHT} does not fit beside both and is left out"
    else:
        above = best.names[1:]
        look = f"{high} is the closer look" if len(above) == 1 else f"{' and '.join(above)} look closer"
        yield f"{low} speaks, {look}, and everything fits together"
    copy = estimate(fitter.tiers[low][0], best.run).copy
    if copy and not best.layers:
        yield f"{size(copy)} of {low} are kept twice while there is room, rearranged for this processor's instructions"


def _cards(best: Fit, fitter: Fitter) -> Iterator[str]:
    for gpu in fitter.machine.gpus:
        if gpu not in fitter.machine.usable_gpus:
            yield f"{gpu.name} is not used: the installed llama.cpp was built without support for it"
    if not fitter.machine.usable_gpus:
        return
    count = len(fitter.layout.layers)
    if best.layers > count:
        yield "every layer of every chosen tier fits on the graphics card"
    elif best.layers:
        yield f"{best.layers} of {count} layers of each tier fit on the graphics card, the rest lies in main memory"
    else:
        yield "not even one layer fits on the graphics card beside its work buffers"


def _help(best: Fit, ladders: Sequence[tuple[str, ...]], fitter: Fitter) -> Iterator[str]:
    wanted = ladders[ladders.index(best.names) - 1]
    names = " + ".join(wanted)
    for ctx in (2048, 1024):
        if ctx < best.run.ctx and fitter.fit(wanted, ctx).over <= 0:
            yield f"with --ctx {ctx} the tiers {names} would fit together"
            return
    over = fitter.fit(wanted, best.run.ctx).over
    yield f"{names} together would need {size(over)} more than is available"
    if fitter.embedder and over <= EMBEDDER:
        yield f"without the knowledge base's embedder ({size(EMBEDDER)}) they would fit"


def _kind_of_model(best: Fit, fitter: Fitter) -> Iterator[str]:
    layers = fitter.layout.layers
    if any(layer.state for layer in layers):
        yield "the model is recurrent: an edited conversation is read again from its start"
    if any(layer.windowed for layer in layers):
        short = replace(best.run, full_window=False)
        layouts = [fitter.tiers[name][0] for name in best.names]
        saved = sum(estimate(layout, best.run).cache - estimate(layout, short).cache for layout in layouts)
        yield f"sliding-window layers keep the whole context so that replies can be cut back: {size(saved)} more"


def size(count: float) -> str:
    """Bytes as a person says them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
