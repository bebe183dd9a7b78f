"""Which tier of a ladder speaks, which one its gate asks, which one is the next step up.

The conversations, ``fovea serve`` and ``fovea calibrate`` ask here, so that a calibration is made for the pair that is
used.
"""

from __future__ import annotations

from agent.errors import TurnError
from agent.settings import Settings
from backends.types import LadderStatus


def usable(ladder: LadderStatus, tier: str) -> str:
    """The tier itself when it can be used. Raises TurnError with the reason when not."""
    if tier in ladder.loaded():
        return tier
    problem = next((t.reason for t in ladder.tiers if t.name == tier), "")
    have = ", ".join(ladder.loaded())
    raise TurnError(f"The {tier} tier cannot be used{f' ({problem})' if problem else ''}; there is: {have}")


def speaking(settings: Settings, ladder: LadderStatus) -> str:
    """The tier that speaks: the one from the settings, else the lowest that is worth its precision.

    Raises:
        TurnError: the settings name a tier that cannot be used.
    """
    return usable(ladder, settings.tier) if settings.tier else ladder.worth()[0]


def next_higher(settings: Settings, ladder: LadderStatus, tier: str) -> str:
    """The tier one step up from ``tier``.

    The one from the settings if it is higher, else the next one that is not slower than a still higher one. Empty when
    nothing is higher.
    """
    above = _above(ladder, tier)
    if settings.high in above:
        return settings.high
    return next((name for name in above if name in ladder.worth()), "")


def judging(settings: Settings, ladder: LadderStatus, tier: str) -> str:
    """The tier the gate asks and proposals offer: the one from the settings if it is higher, else the highest.

    A gate comes no nearer than the tier it asks, and asking the highest costs little more (docs/precision.md). A server
    cannot be asked token by token: it is taken only where nothing else is higher, or the settings say so. Empty when
    nothing is higher.
    """
    above = _above(ladder, tier)
    if settings.high in above:
        return settings.high
    here = [name for name in above if not ladder.remote(name)]
    return (here or above or [""])[-1]


def spoken(ladder: LadderStatus, speaking: str) -> frozenset[str]:
    """The loaded tiers up to the one that speaks: what they write of their own is spent on no closer look."""
    loaded = ladder.loaded()
    return frozenset(loaded[: loaded.index(speaking) + 1])


def _above(ladder: LadderStatus, tier: str) -> list[str]:
    loaded = ladder.loaded()
    return loaded[loaded.index(tier) + 1 :] if tier in loaded else []
