"""The overseer that knows budgets, calibrations and measured speeds."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from agent.calibrate.picks import preference
from agent.density import calibration as calibrations
from agent.density.calibration import Calibration
from agent.density.thresholds import DEFAULT_DRAFT_DOUBT, DEFAULT_THRESHOLDS, DRAFT_DOUBT, interpolated
from agent.errors import SettingsError
from agent.measure import figures as measured
from agent.measure.figures import LadderFigures
from agent.oversight import Plan, Situation
from agent.policy import words
from agent.policy.controller import exhausted, shifted
from agent.policy.predict import Predictor
from agent.values import Ask, Node, Policy, Scope, Status
from backends.types import Decoder, Gate, Message, Step

log = logging.getLogger("fovea.policy")

EXPECTED_TOKENS = 120
"""Length of a reply before any was written (for predictions only)."""
DEFAULT_DOUBT = 0.27
"""Density from which on a place is worth a proposal without calibration: the best two within 0.05 nats."""


class BudgetOverseer:
    """Decides closer looks. One per process; keeps nothing but what it read from files."""

    def __init__(self, calibration: Path | None, cache: Path) -> None:
        """Nothing is read before it is needed.

        Args:
            calibration: File of the settings, if any.
            cache: Where measured figures are kept.
        """
        self._path, self._cache = calibration, cache
        self._calibration: Calibration | None = None
        self._tried = False
        self._said: set[str] = set()
        self._notices: list[str] = []
        self._figures: dict[str, LadderFigures | None] = {}

    # The port -----------------------------------------------------------------------------------------------------

    def plan(self, situation: Situation, messages: Sequence[Message]) -> Plan:
        """Plain, except in ``auto`` with a higher tier at hand: gated within the budget, or exact when so set."""
        policy = situation.policy
        plain = Plan(situation.tier, gate=self._densities(situation))
        if policy.mode is not Policy.AUTO or not situation.high:
            return plain
        if situation.ladder.remote(situation.high):
            self._say(f"{situation.high} is a server and cannot be asked token by token: replies are written plainly")
            return plain
        predictor = self._predictor(situation)
        length = _usual_length(situation)
        if policy.faithful:
            seconds = predictor.exact_s(situation.tier, situation.high, length)
            why = f"exactly {situation.high}'s text, drafted at {situation.tier}"
            gate = self._drafts(situation)
            return Plan(situation.tier, Decoder.SPECULATIVE, situation.high, gate, why=why, predicted_s=seconds or None)
        if policy.budget <= 0 or exhausted(situation.spending, policy.budget, controlled=policy.controller):
            return plain
        gate = self._gate(situation, policy.budget)
        if policy.controller:
            gate = replace(gate, threshold=shifted(gate.threshold, situation.spending, policy.budget))
        seconds = predictor.gated_s(situation.tier, situation.high, length, policy.budget)
        spent = situation.spending
        so_far = f", {spent.share:.0%} of {spent.all} tokens spent so far" if spent.all else ""
        why = f"looks closer where density reaches {gate.threshold:.3f} (budget {policy.budget:.0%}{so_far})"
        return Plan(
            situation.tier,
            Decoder.GATED,
            situation.high,
            gate,
            read_high=self._reads_high(situation),
            why=why,
            predicted_s=seconds or None,
        )

    def closer(self, situation: Situation, tier: str) -> Plan:
        """Plainly at the tier, or drafted at the speaking one where that is faster on this machine."""
        low = situation.tier
        if low != tier and self._predictor(situation).faster_drafted(low, tier):
            return Plan(low, Decoder.SPECULATIVE, tier, self._drafts(replace(situation, high=tier)))
        return Plan(tier)

    def review(self, situation: Situation, reply: Node) -> Ask | None:
        """In ``ask``: propose a closer look at a dense reply, while the budget lasts."""
        policy = situation.policy
        if policy.mode is not Policy.ASK or not situation.high or not reply.steps or reply.status is not Status.DONE:
            return None
        if reply.tier != situation.tier or not _affordable(situation, len(reply.steps)):
            return None
        found = self._in_force(situation)
        doubtful = _doubtful(reply.steps, found.threshold(max(policy.budget, 0.01)) if found else DEFAULT_DOUBT)
        if not doubtful:
            return None
        if policy.scope is Scope.TURN and found is not None and not _dense_turn(found, reply, policy.budget):
            return None
        start, end = (0, len(reply.steps)) if policy.scope is Scope.TURN else _span(reply.steps, doubtful)
        predictor = self._predictor(situation)
        return Ask(
            id=0,
            node=reply.id,
            scope=policy.scope,
            tier=situation.high,
            why=words.why(reply.steps, [at for at in doubtful if start <= at < end]),
            start=start,
            end=end,
            seconds=predictor.look_s(situation.tier, situation.high, end - start, situation.prompt_tokens + start),
            memory=predictor.memory(situation.high),
            spent=situation.spending.share,
            budget=policy.budget,
        )

    def learn(self, situation: Situation, reply: Node) -> None:
        """Nothing to keep: the controller reads the spending from the tree."""

    def notices(self) -> list[str]:
        """Lines to say once (a calibration that cannot be used); reading them forgets them."""
        lines, self._notices = self._notices, []
        return lines

    # Inside -------------------------------------------------------------------------------------------------------

    def _gate(self, situation: Situation, budget: float) -> Gate:
        found = self._in_force(situation)
        return found.gate(budget) if found else Gate(interpolated(DEFAULT_THRESHOLDS, budget))

    def _drafts(self, situation: Situation) -> Gate:
        """Where drafts of exact text end."""
        found = self._in_force(situation)
        return Gate(DRAFT_DOUBT, dict(found.weights)) if found else Gate(DEFAULT_DRAFT_DOUBT)

    def _densities(self, situation: Situation) -> Gate:
        """For a reply without a gate: density is measured all the same, by the rule that will judge it."""
        found = self._in_force(situation) if situation.high else None
        return Gate(weights=dict(found.weights)) if found else Gate()

    def _in_force(self, situation: Situation) -> Calibration | None:
        """The calibration, when it was made for the tiers at hand."""
        found = self._load()
        if found is None:
            return None
        mismatch = found.mismatch(situation.ladder, situation.tier, situation.high)
        if mismatch:
            self._say(
                f"The calibration is not used: {mismatch}. The default rule is; `fovea calibrate` makes a new one."
            )
            return None
        return found

    def _load(self) -> Calibration | None:
        if not self._tried and self._path is not None:
            self._tried = True
            try:
                self._calibration = calibrations.load(self._path)
            except SettingsError as error:
                self._say(f"{error}. The default rule is used.")
        return self._calibration

    def _say(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._notices.append(line)
            log.warning("%s", line)

    def _predictor(self, situation: Situation) -> Predictor:
        return Predictor(situation, self._figures_of(situation))

    def _reads_high(self, situation: Situation) -> bool | None:
        found = self._figures_of(situation)
        return found.reads_high(situation.tier, situation.high) if found else None

    def _figures_of(self, situation: Situation) -> LadderFigures | None:
        if not situation.ladder.tiers:
            return None
        top = situation.ladder.tiers[-1].path
        if str(top) not in self._figures:
            key = calibrations.file_key(top)
            self._figures[str(top)] = measured.load(self._cache, key) if key else None
        return self._figures[str(top)]


def _usual_length(situation: Situation) -> float:
    spent = situation.spending
    return spent.all / spent.turns if spent.turns else EXPECTED_TOKENS


def _affordable(situation: Situation, tokens: int) -> bool:
    """Whether a closer look now fits the budget: of turns for whole turns, of tokens for spans."""
    spent, budget = situation.spending, situation.policy.budget
    if budget <= 0:
        return False
    if situation.policy.scope is Scope.TURN:
        # The first turn may be looked at: a share of one turn is all or nothing.
        return spent.high_turns <= budget * max(spent.turns, 1)
    return spent.share <= budget


def _doubtful(steps: Sequence[Step], threshold: float) -> list[int]:
    """Dense positions of the low tier's own tokens."""
    return [at for at, step in enumerate(steps) if step.density >= threshold and step.why == "spoke"]


def _dense_turn(found: Calibration, reply: Node, budget: float) -> bool:
    """Whether the reply is among the turns a closer look should be proposed for."""
    if found.picks:
        from agent.branches import features

        return preference(found.picks, features(reply)) >= 0.5
    return fmean(step.density for step in reply.steps) >= found.turn_threshold(budget)


def _span(steps: Sequence[Step], doubtful: Sequence[int], gap: int = 8) -> tuple[int, int]:
    """The cluster of doubtful places with the most density: from its first place to the end of its sentence."""
    clusters: list[list[int]] = []
    for at in doubtful:
        if clusters and at - clusters[-1][-1] <= gap:
            clusters[-1].append(at)
        else:
            clusters.append([at])
    best = max(clusters, key=lambda cluster: sum(steps[at].density for at in cluster))
    end = best[-1] + 1
    while end < len(steps) and not steps[end - 1].text.rstrip().endswith((".", "!", "?", "\n")):
        end += 1
    return best[0], end
