"""From the engine's events to the objects of the OpenAI protocol."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.types import Done, Notice, Prefill, Step
from tui.serve.service import Planned
from tui.serve.stops import StopFilter

FINISH = {"end": "stop", "stop": "stop", "length": "length", "context": "length", "cancelled": "stop"}
JsonObject = dict[str, Any]


@dataclass(slots=True)
class Reply:
    """One answer being put together."""

    model: str
    chat: bool
    ignored: Sequence[str] = ()
    logprobs: int | None = None
    """Alternatives to show per token; None for no log-probabilities."""
    provenance: bool = False
    planned: Planned | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))
    stops: Sequence[str] = ()
    """Texts that end the reply and are no part of it."""
    steps: list[Step] = field(default_factory=list)
    """Everything the engine wrote, the stop text included."""
    shown: list[Step] = field(default_factory=list)
    """What the client sees of it."""
    notices: list[str] = field(default_factory=list)

    _filters: dict[int, StopFilter] = field(default_factory=dict)

    def take(self, event: object) -> list[Step]:
        """Remember an event; returns the steps that can be shown now."""
        if isinstance(event, Step):
            self.steps.append(event)
            if event.seq not in self._filters:
                self._filters[event.seq] = StopFilter(self.stops)
            return self._show(self._filters[event.seq].feed(event))
        if isinstance(event, Notice):
            self.notices.append(event.text)
        elif not isinstance(event, Prefill | Done):
            raise TypeError(f"{type(event).__name__} is not part of a reply")
        return []

    def rest(self) -> list[Step]:
        """The reply is over: the steps that were still held back."""
        return [step for one in self._filters.values() for step in self._show(one.end())]

    def whole(self, done: Done) -> JsonObject:
        """The answer to a request that does not stream."""
        count = self.planned.request.n if self.planned else 1
        self.rest()
        return self._head(chunk=False) | {
            "choices": [self._choice(seq, done) for seq in range(count)],
            "usage": usage_of(done),
            "fovea": self._used(done),
        }

    def first(self, seq: int) -> JsonObject:
        """The chunk that opens a streamed continuation."""
        return self._chunk(seq, {"role": "assistant", "content": ""} if self.chat else "")

    def piece(self, step: Step) -> JsonObject:
        """The chunk of one step."""
        chunk = self._chunk(step.seq, {"content": step.text} if self.chat else step.text, self._logprobs([step]))
        if self.provenance:
            chunk["fovea"] = _origin(step)
        return chunk

    def last(self, seq: int, done: Done) -> JsonObject:
        """The chunk that closes a streamed continuation; the first one carries what was used."""
        chunk = self._chunk(seq, {} if self.chat else "", finish=FINISH.get(done.reason, "stop"))
        return chunk | {"fovea": self._used(done)} if seq == 0 else chunk

    def usage_chunk(self, done: Done) -> JsonObject:
        """The chunk with the token counts."""
        return self._head(chunk=True) | {"choices": [], "usage": usage_of(done)}

    # Inside -------------------------------------------------------------------------------------------------------

    def _show(self, steps: Iterable[Step]) -> list[Step]:
        new = list(steps)
        self.shown += new
        return new

    def _head(self, *, chunk: bool) -> JsonObject:
        kind = "chat.completion" if self.chat else "text_completion"
        return {
            "id": f"{'chatcmpl' if self.chat else 'cmpl'}-{self.id}",
            "object": f"{kind}.chunk" if chunk and self.chat else kind,
            "created": self.created,
            "model": self.model,
        }

    def _chunk(self, seq: int, content: Any, logprobs: Any = None, finish: str | None = None) -> JsonObject:
        choice: JsonObject = {"index": seq, "delta" if self.chat else "text": content, "finish_reason": finish}
        choice["logprobs"] = logprobs
        return self._head(chunk=True) | {"choices": [choice]}

    def _choice(self, seq: int, done: Done) -> JsonObject:
        steps = [step for step in self.shown if step.seq == seq]
        text = "".join(step.text for step in steps)
        content = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
        choice: JsonObject = {"index": seq, **content, "finish_reason": FINISH.get(done.reason, "stop")}
        choice["logprobs"] = self._logprobs(steps)
        if self.provenance:
            choice["fovea"] = [_origin(step) for step in steps]
        return choice

    def _logprobs(self, steps: Sequence[Step]) -> JsonObject | None:
        if self.logprobs is None or not self.chat:
            return None
        return {"content": [_logprob(step, self.logprobs) for step in steps], "refusal": None}

    def _used(self, done: Done) -> JsonObject:
        """What was used to write this reply."""
        plan, usage = self.planned, done.usage
        used: JsonObject = {
            "decoder": str(done.decoder),
            "tiers": {tier: sum(step.tier == tier for step in self.steps) for tier in _in_order(self.steps)},
            "high_tokens": usage.high_tokens,
            "high_steps": usage.high_steps,
            "read_s": round(done.timing.prefill_s, 4),
            "write_s": round(done.timing.decode_s, 4),
            "notices": list(self.notices),
            "ignored": list(self.ignored),
        }
        if plan is not None:
            used |= {"tier": plan.request.tier, "high": plan.request.high, "policy": plan.policy, "budget": plan.budget}
            used |= {"why": plan.why, "notices": [*plan.notices, *self.notices]}
        return used


def usage_of(done: Done) -> JsonObject:
    """Token counts in OpenAI's words."""
    usage = done.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def error_object(message: str, kind: str, param: str | None = None, code: str | None = None) -> JsonObject:
    """An error in OpenAI's words."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _origin(step: Step) -> JsonObject:
    """Which tier wrote a token, why, and how dense it was."""
    return {"tier": step.tier, "why": str(step.why), "density": round(step.density, 4), "text": step.text}


def _logprob(step: Step, count: int) -> JsonObject:
    same_tier = [other for other in step.alternatives if other.tier == step.tier]
    top = sorted(same_tier, key=lambda other: -other.p)[:count]
    return _entry(step.text, step.p) | {"top_logprobs": [_entry(other.text, other.p) for other in top]}


def _entry(text: str, p: float) -> JsonObject:
    return {"token": text, "logprob": math.log(max(p, 1e-30)), "bytes": list(text.encode("utf-8", "replace"))}


def _in_order(steps: Sequence[Step]) -> list[str]:
    """Names of tiers in the order they first wrote."""
    return list(dict.fromkeys(step.tier for step in steps))
