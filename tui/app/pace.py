"""How often a streaming reply is drawn: often enough to look alive, rarely enough to leave the cores to the model.

Contract: ``Pace.next_wait`` is asked after each drawing and answers with the seconds until the next one. The share of
one core spent on drawing stays near ``SHARE`` whatever the text costs (tables and code cost several times more than
prose), because the wait grows with the measured cost.
"""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST = 0.1
"""Seconds between drawings when they are cheap: a tenth of a second reads as continuous."""
LONGEST = 1.0
"""Never less often than once a second, so that the reply does not seem to hang."""
SHARE = 0.07
"""Part of one core that drawing may take."""
_MEMORY = 0.6
"""Weight of the past in the smoothed cost: one slow frame does not slow the next ten."""


@dataclass(slots=True)
class Pace:
    """The governor of grouped writes. One per running reply."""

    share: float = SHARE
    cost: float = 0.0
    """Smoothed CPU seconds of one drawing."""

    def next_wait(self, spent: float) -> float:
        """Seconds to wait before the next drawing.

        Args:
            spent: CPU seconds the drawing thread used since the last answer.
        """
        self.cost = spent if self.cost == 0 else _MEMORY * self.cost + (1 - _MEMORY) * spent
        return min(LONGEST, max(SHORTEST, self.cost / self.share))
