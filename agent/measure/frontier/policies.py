"""The policies that are compared: each turns a prompt into a request, or into a run with a gate of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backends.types import Decoder, Gate, Message, Request, Sampling

BUDGETS = (0.05, 0.10, 0.20, 0.30)
EIGHT_BIT = ("8-bit", "q8_0")


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to write a reply."""

    name: str
    kind: str
    """static, read-high, gated, own-cache (gated, but the high tier's cache of the reply does not come back), random,
    entropy, oracle, speculative or turn."""
    tier: str
    high: str = ""
    gate: Gate = field(default_factory=Gate)
    budget: float = 0.0
    """Share of tokens (of turns for ``turn``) it may spend at the high tier."""
    turn_threshold: float = 2.0
    """For ``turn``: mean density of the low reply from which on it is written again."""

    @property
    def tiers(self) -> tuple[str, ...]:
        """Tiers that have to be in memory."""
        return (self.tier, self.high) if self.high else (self.tier,)

    def request(
        self, messages: tuple[Message, ...], prefix: tuple[int, ...], sampling: Sampling, tokens: int
    ) -> Request:
        """The engine's order for it (the first pass for ``turn``)."""
        decoder = {"gated": Decoder.GATED, "entropy": Decoder.GATED, "speculative": Decoder.SPECULATIVE}
        return Request(
            messages,
            self.tier,
            decoder.get(self.kind, Decoder.PLAIN),
            self.high if self.kind not in ("static", "turn") else "",
            prefix,
            sampling,
            tokens,
            gate=self.gate,
            read_high=True if self.kind in ("read-high", "gated", "entropy") else None,
        )


def policies(
    tiers: Sequence[str],
    gates: Mapping[float, Gate],
    entropy: Mapping[float, Gate],
    draft: Gate,
    turn_threshold: float,
    length: float,
) -> list[Policy]:
    """All policies for a ladder, low to high.

    Args:
        tiers: Names, low to high; the first speaks and the last is the one to come near to.
        gates: The density gate for each budget.
        entropy: The entropy-only gate for each budget; none are run where it is empty.
        draft: Where speculative drafting stops.
        turn_threshold: See ``Policy.turn_threshold``.
        length: Mean tokens of a reply. The first of them is the high tier's whatever the gate says, so a gate that
            fires by chance must fire less than its share for the same spending.
    """
    low, high = tiers[0], tiers[-1]
    found = [Policy(tier, "static", tier) for tier in tiers]
    if low == high:
        return found
    found.append(Policy("read high, speak low", "read-high", low, high))
    for budget in BUDGETS:
        found.append(Policy(f"gated {budget:.0%}", "gated", low, high, gates[budget], budget))
    found += [Policy(f"gated {b:.0%}, own cache", "own-cache", low, high, gates[b], b) for b in (0.10, 0.20)]
    for between in tiers[1:-1]:
        # Looking closer with the middle tier costs less; nearer than that tier it cannot come.
        if between in EIGHT_BIT:
            found += [Policy(f"gated {b:.0%} to {between}", "gated", low, between, gates[b], b) for b in (0.10, 0.20)]
    found.append(Policy("speculative", "speculative", low, high, draft))
    found.append(Policy("turns 20%", "turn", low, high, gates[0.20], 0.2, turn_threshold))
    for budget in BUDGETS:
        chance = max(budget * length - 1.0, 0.0) / max(length - 1.0, 1.0)
        found.append(Policy(f"random gate {budget:.0%}", "random", low, high, budget=chance))
        if budget in entropy:
            found.append(Policy(f"entropy gate {budget:.0%}", "entropy", low, high, entropy[budget], budget))
    found.append(Policy("oracle gate", "oracle", low, high))
    return found
