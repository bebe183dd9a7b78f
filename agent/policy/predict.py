"""Seconds and bytes of a closer look, from speeds measured on this machine.

Best source first: ``fovea bench ladder``, what the engine measured since it was loaded, past replies, and last the
speaking tier's speed scaled by the sizes of the files (writing is bound by memory bandwidth).
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.measure.figures import LadderFigures
from agent.oversight import Situation
from backends.types import TierStatus

DRAFT = 12
"""Mean length of a draft before the low tier doubts (margin gate, docs/precision.md)."""
ACCEPTED = 0.97
"""Share of drafted tokens the high tier accepts."""


@dataclass(frozen=True, slots=True)
class Predictor:
    """Predictions for one situation."""

    situation: Situation
    figures: LadderFigures | None = None

    def read_s(self, tier: str, tokens: int) -> float:
        """Seconds to read ``tokens`` new tokens; 0 when nothing was measured."""
        speed = self._speeds(tier)[0] or self._speeds(self.situation.tier)[0]
        return tokens / speed if speed else 0.0

    def write_s(self, tier: str, tokens: float) -> float:
        """Seconds to write ``tokens`` tokens plainly; 0 when nothing was measured."""
        speed = self._speeds(tier)[1]
        if not speed:
            sizes = {t.name: t.bytes for t in self.situation.ladder.tiers}
            own, base = sizes.get(tier, 0), sizes.get(self.situation.tier, 0)
            speed = self._speeds(self.situation.tier)[1] / (max(own / base, 1.0) if base else 1.0)
        return tokens / speed if speed else 0.0

    def gated_s(self, low: str, high: str, tokens: float, share: float) -> float:
        """Seconds to write ``tokens`` of which ``share`` are decided by the high tier."""
        if share <= 0:
            return self.write_s(low, tokens)
        return self.write_s(low, tokens) + share * tokens * self._step_s(high, 1 / share)

    def exact_s(self, low: str, high: str, tokens: float) -> float:
        """Seconds to write ``tokens`` exactly as the high tier would, by drafting at the low one."""
        cycle = self.write_s(low, DRAFT) + self._step_s(high, DRAFT + 1)
        kept = sum(ACCEPTED**i for i in range(1, DRAFT + 1)) + 1
        return tokens / kept * cycle

    def faster_drafted(self, low: str, high: str) -> bool:
        """Whether exact drafting beats writing plainly at ``high`` by enough to matter, as far as is known."""
        plain = self.write_s(high, 100)
        return bool(self.figures) and plain > 0 and self.exact_s(low, high, 100) < 0.95 * plain

    def look_s(self, low: str, high: str, write: int, read: int) -> float:
        """Seconds of a closer look: the tokens the high tier has to read first, and what it writes, the faster way."""
        plain = self.write_s(high, write)
        if self.faster_drafted(low, high):
            plain = min(plain, self.exact_s(low, high, write))
        return self.read_s(high, read) + plain

    def handover_s(self, high: str) -> float | None:
        """Seconds to hand the cache up, per measurement; ``None`` when it was not measured."""
        found = (given for given in self.figures.handovers if given.high == high) if self.figures else ()
        return next((given.first_token_s for given in found), None)

    def memory(self, tier: str) -> int:
        """Extra bytes: 0 when the tier is loaded, else the size of its file."""
        status = next((t for t in self.situation.ladder.tiers if t.name == tier), None)
        return 0 if status is None or status.loaded else status.bytes or _file_bytes(status)

    def _speeds(self, tier: str) -> tuple[float, float]:
        """(reading, writing) tokens per second; 0 where unknown."""
        measured = self.figures.tiers.get(tier) if self.figures else None
        if measured is not None:
            return measured.read_tok_s, measured.write_tok_s
        status = next((t for t in self.situation.ladder.tiers if t.name == tier), None)
        past = self.situation.speed(tier)
        return (
            (status.read_tok_s if status else 0.0) or past.prefill_tok_s,
            (status.write_tok_s if status else 0.0) or past.decode_tok_s,
        )

    def _step_s(self, tier: str, width: float) -> float:
        measured = self.figures.tiers.get(tier) if self.figures else None
        if measured is not None:
            return measured.step_s(width)
        # Unmeasured, a wide step is taken to cost what half of its tokens cost one by one.
        return self.write_s(tier, max(1.0, width / 2))


def _file_bytes(status: TierStatus) -> int:
    try:
        return status.path.stat().st_size
    except OSError:
        return 0
