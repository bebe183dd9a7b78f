"""From the protocol's words to a request of the engine, by the policies of the chat, and the tally of what it cost."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agent import roles
from agent.oversight import Overseer, Plan, Situation
from agent.settings import PolicySettings, Settings
from agent.values import Speed, Spending
from backends.engine import Engine
from backends.errors import ContextFull
from backends.types import Done, LadderStatus, Message, Request, Sampling, Step
from tui.serve.metrics import Metrics
from tui.serve.schema import ChatBody, FoveaOptions, Writing


class UnknownModel(Exception):
    """The request names a model or tier that is not there."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A request, and what was decided about it."""

    request: Request
    policy: str
    budget: float
    why: str
    notices: tuple[str, ...] = ()
    """What the policy has to say, see ``Service.notices``."""


class Service:
    """One ladder being served.

    Args:
        engine: loaded.
        ladder: its status.
        model: the name clients use.
        settings: sampling and policy where a request leaves them open.
        overseer: the policy's rule.
        speed: measured speed of a tier, for overseers that predict.

    Raises:
        TurnError: the settings name a tier that cannot be used.
    """

    def __init__(
        self,
        engine: Engine,
        ladder: LadderStatus,
        model: str,
        settings: Settings,
        overseer: Overseer,
        speed: Callable[[str], Speed] = lambda tier: Speed(),
    ) -> None:
        self.engine = engine
        self.ladder = ladder
        self.model = model
        self.most = settings.engine.n_parallel
        """Choices that can be written at once."""
        self.metrics = Metrics()
        self._settings = settings
        self._overseer = overseer
        self._speaking = roles.speaking(settings, ladder)
        self._notices: tuple[str, ...] = ()
        self._speed = speed
        self._lock = threading.Lock()
        self._spent = Spending(0, 0, 0, 0, settings.policy.budget)

    def models(self) -> list[str]:
        """Names a request may give: the ladder itself, and each of its tiers."""
        return [self.model, *(f"{self.model}:{tier}" for tier in self.ladder.loaded())]

    def notices(self) -> tuple[str, ...]:
        """What the policy has to say about every reply: a calibration that is not used, and why."""
        self._overseer.plan(self._situation(self._settings.policy, 0), ())
        return self._heard()

    def resolve(self, body: Writing) -> str:
        """The tier a request names, by ``model`` or ``fovea.tier``; empty when policy decides.

        Raises:
            UnknownModel: there is no such model or tier.
        """
        name, _, suffix = body.model.partition(":") if body.model not in {"", self.model} else ("", "", "")
        known = name in {"", self.model} and (not suffix or suffix in self.ladder.loaded())
        if not known:
            raise UnknownModel(f"There is no model `{body.model}`; there is: {', '.join(self.models())}")
        tier = body.fovea.tier or suffix
        if tier and tier not in self.ladder.loaded():
            raise UnknownModel(f"There is no tier `{tier}`; there is: {', '.join(self.ladder.loaded())}")
        return tier

    def plan(self, body: Writing, messages: Sequence[Message], tier: str) -> Planned:
        """Decide how a request is written. Runs in the engine's thread.

        Raises:
            ContextFull: the prompt leaves no room for a reply.
        """
        prompt = self.engine.count(messages)
        room = self.ladder.ctx - prompt
        if room < 1:
            raise ContextFull(f"The messages have {prompt} tokens; the context has {self.ladder.ctx}")
        policy = self._policy(body.fovea)
        situation = self._situation(policy, prompt)
        plan = self._choose(situation, messages, tier, body.n)
        longest = (body.max_completion_tokens if isinstance(body, ChatBody) else None) or body.max_tokens
        request = Request(
            messages=tuple(messages),
            tier=plan.tier,
            decoder=plan.decoder,
            high=plan.high,
            sampling=self._sampling(body),
            max_tokens=min(longest or self._settings.sampling.max_tokens, room),
            n=body.n,
            gate=plan.gate,
            read_high=plan.read_high,
            stop=body.stops,
        )
        return Planned(request, str(policy.mode), policy.budget, plan.why, self._heard())

    def count(self, done: Done, steps: Sequence[Step]) -> None:
        """Take a finished reply into the tally."""
        usage, metrics = done.usage, self.metrics
        for tier in {step.tier for step in steps}:
            metrics.add("fovea_tokens_total", sum(step.tier == tier for step in steps), tier=tier)
        metrics.add("fovea_high_tokens_total", usage.high_tokens)
        metrics.add("fovea_prompt_tokens_total", usage.prompt_tokens)
        metrics.add("fovea_cached_tokens_total", usage.cached_tokens)
        metrics.add("fovea_write_seconds_total", done.timing.decode_s)
        metrics.add("fovea_read_seconds_total", done.timing.prefill_s)
        low = roles.spoken(self.ladder, self._speaking)
        whole = bool(steps) and not any(step.tier in low for step in steps)
        with self._lock:
            self._spent = replace(
                self._spent,
                high=self._spent.high + (len(steps) if whole else usage.high_tokens),
                all=self._spent.all + usage.completion_tokens,
                high_turns=self._spent.high_turns + whole,
                turns=self._spent.turns + 1,
            )

    # Inside -------------------------------------------------------------------------------------------------------

    def _heard(self) -> tuple[str, ...]:
        self._notices += tuple(self._overseer.notices())
        return self._notices

    def _choose(self, situation: Situation, messages: Sequence[Message], tier: str, n: int) -> Plan:
        loaded = self.ladder.loaded()
        if tier:
            above = loaded.index(tier) > loaded.index(situation.tier)
            plan = self._overseer.closer(situation, tier) if above else Plan(tier)
        else:
            plan = self._overseer.plan(situation, messages)
        return Plan(plan.tier, why=plan.why) if n > 1 else plan  # only the plain decoder writes several at once

    def _policy(self, wanted: FoveaOptions) -> PolicySettings:
        changes = {"mode": wanted.policy, "budget": wanted.budget, "faithful": wanted.faithful}
        return self._settings.policy.model_copy(update={key: v for key, v in changes.items() if v is not None})

    def _situation(self, policy: PolicySettings, prompt_tokens: int) -> Situation:
        high = roles.judging(self._settings, self.ladder, self._speaking)
        with self._lock:
            spent = replace(self._spent, budget=policy.budget)
        return Situation(policy, self.ladder, self.model, self._speaking, high, spent, self._speed, prompt_tokens)

    def _sampling(self, body: Writing) -> Sampling:
        usual = self._settings.sampling
        seed = usual.seed if body.seed is None else body.seed

        def chosen(given: float | None, otherwise: float) -> float:
            return otherwise if given is None else given

        return Sampling(
            repetition_penalty=chosen(body.repetition_penalty, usual.repetition_penalty),
            repetition_window=usual.repetition_window,
            temperature=chosen(body.temperature, usual.temperature),
            top_k=int(chosen(body.top_k, usual.top_k)),
            top_p=chosen(body.top_p, usual.top_p),
            min_p=chosen(body.min_p, usual.min_p),
            seed=secrets.randbelow(2**31) if seed < 0 else seed,
        )
