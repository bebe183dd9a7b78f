"""An engine that plays scripts: the test double at the ``Engine`` port, kept as carefully as a real engine.

It needs no model and no time. A script says, for each request, which tokens each tier would write, with their
probabilities and margins, where it fails, and how long it "takes"; delays go through ``wait``, so that a test (or a
demonstration) decides what waiting means.

    engine = ScriptedEngine([Script("All birds lay eggs."), Script("No.", fail_after=1)])
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backends.errors import HostError, LoadError
from backends.types import (
    EIGHT,
    FOUR,
    SIXTEEN,
    Alternative,
    Decoder,
    Done,
    Event,
    Failed,
    ForkMap,
    Judgement,
    LadderSpec,
    LadderStatus,
    Message,
    Notice,
    Prefill,
    Request,
    Step,
    TierStatus,
    Timing,
    Usage,
    Why,
)

PIECES = re.compile(r"\s*\w+|\s*[^\w\s]+|\s+")
OVERHEAD = 4
"""Tokens a chat template adds to each message."""


HOST_DIED = Failed("HostDied", "The engine host was killed and could not be restarted")


@dataclass(frozen=True, slots=True)
class Word:
    """One token of a script."""

    text: str
    p: float = 0.9
    margin: float = 3.0
    entropy: float = 0.5
    density: float = 0.05
    high: str = ""
    """What the high tier would write here; empty: the same."""


@dataclass(frozen=True, slots=True)
class Script:
    """One prepared reply. Text is cut into words; ``Word`` values say more about single tokens."""

    text: str | Sequence[Word] = ""
    by_tier: Mapping[str, str | Sequence[Word]] = field(default_factory=dict)
    """Other words for some tiers."""
    continuations: Sequence[str | Sequence[Word]] = ()
    """Words of continuation 1, 2 … (the first is ``text``)."""
    reason: str = "end"
    fail_after: int | None = None
    """Fail when this many tokens were written."""
    failure: Failed = HOST_DIED
    die_after: int | None = None
    """Say that the host was restarted after this many tokens, and go on."""
    notices: Sequence[str] = ()
    prefill_s: float = 0.0
    """Waited once for the prompt."""
    token_s: float = 0.0
    """Waited before every token."""


def words(source: str | Sequence[Word]) -> list[Word]:
    """The tokens of a script's text."""
    return [Word(piece) for piece in PIECES.findall(source)] if isinstance(source, str) else list(source)


class ScriptedEngine:
    """Plays ``scripts`` in order; when they run out, ``fallback`` answers.

    A request that brings a ``prefix`` for messages seen before goes on with the script that began them.

    Attributes:
        requests: Every request so far, for tests to look at.
        scored: Every (reply, tier) that was scored.
    """

    def __init__(
        self,
        scripts: Sequence[Script | str] = (),
        *,
        tiers: Sequence[str] = (FOUR, EIGHT, SIXTEEN),
        ctx: int = 4096,
        problems: Mapping[str, str] | None = None,
        wait: Callable[[float], object] = lambda seconds: None,
        fallback: Callable[[Request], Script] | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.scored: list[tuple[tuple[int, ...], str]] = []
        self.loads = 0
        self.closed = False
        self._scripts: list[Script] = []
        self.add(*scripts)
        self._tiers = tuple(tiers)
        self.ctx = ctx
        self._problems = dict(problems or {})
        self._wait = wait
        self._fallback = fallback or (lambda request: Script(f"You said: {request.messages[-1].content}"))
        self._ids: dict[str, int] = {}
        self._texts: list[str] = []
        self._begun: dict[tuple[Message, ...], Script] = {}
        self._cached: dict[str, list[int]] = {}
        self._resting: tuple[str, ...] = ()
        self._cancelled = threading.Event()
        self._turn = threading.Lock()

    # Engine -----------------------------------------------------------------------------------------------------

    def load(self, ladder: LadderSpec) -> LadderStatus:
        """Pretend to load; tiers named in ``problems`` are dropped."""
        self.loads += 1
        self._resting = ladder.resting
        if all(tier in self._problems for tier in self._tiers):
            raise LoadError("; ".join(self._problems.values()) or "The ladder has no tier")
        self.closed = False
        return self.status()

    def status(self) -> LadderStatus:
        """The pretended ladder."""
        if not self.loads or self.closed:
            raise HostError("Nothing is loaded")
        tiers = tuple(self._tier(name) for name in self._tiers)
        notices = tuple(f"The {name} tier is left out: {text}" for name, text in self._problems.items())
        return LadderStatus(tiers, self.ctx, max(len(self._texts), 1), "scripted", notices, rss=1 << 20)

    def _tier(self, name: str) -> TierStatus:
        path = Path(f"{name}.gguf")
        if name in self._resting:
            return TierStatus(name, path, loaded=False, resting=True)
        return TierStatus(name, path, name not in self._problems, 1 << 20, 0.0, self._problems.get(name, ""))

    def run(self, request: Request) -> Iterator[Event]:
        """Play the next script."""
        self.requests.append(request)
        with self._turn:
            self._cancelled.clear()
            yield from self._play(request, self._choose(request))

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        """Compare a reply with what ``tier`` would have written in the script that began it."""
        self.scored.append((tuple(reply), tier))
        script = self._begun.get(tuple(messages), Script())
        wanted = self._words_of(script, tier, 0)
        judgements = []
        for at, token in enumerate(reply):
            best = (wanted[at].high or wanted[at].text) if at < len(wanted) else self._texts[token]
            same = best == self._texts[token]
            judgements.append(
                Judgement(
                    token=token,
                    text=self._texts[token],
                    p=0.9 if same else 0.2,
                    best=self._id(best),
                    best_text=best,
                    best_p=0.9 if same else 0.7,
                    kl=0.0 if same else 1.0,
                    margin=0.0 if same else math.log(0.7 / 0.2),
                )
            )
        return ForkMap(tier, tuple(judgements), seconds=0.0)

    def tokenize(self, text: str) -> list[int]:
        """One token a word or run of punctuation, with the space before it."""
        return [self._id(piece) for piece in PIECES.findall(text)]

    def count(self, messages: Sequence[Message]) -> int:
        """Words plus a few tokens of template per message."""
        return sum(len(PIECES.findall(m.content)) + OVERHEAD for m in messages) + OVERHEAD

    def cancel(self) -> None:
        """Stop the running script."""
        self._cancelled.set()

    def close(self) -> None:
        """Forget that anything was loaded."""
        self.closed = True

    def add(self, *scripts: Script | str) -> None:
        """Append scripts to the ones still to be played."""
        self._scripts += [Script(s) if isinstance(s, str) else s for s in scripts]

    # Playing ----------------------------------------------------------------------------------------------------

    def text_of(self, tokens: Sequence[int]) -> str:
        """The text of token ids, for tests."""
        return "".join(self._texts[token] for token in tokens)

    def _choose(self, request: Request) -> Script:
        if request.prefix and request.messages in self._begun:
            return self._begun[request.messages]
        if request.messages[-1].role == "assistant":
            return Script()  # only reads the conversation into its cache
        script = self._scripts.pop(0) if self._scripts else self._fallback(request)
        self._begun[request.messages] = script
        return script

    def _play(self, request: Request, script: Script) -> Iterator[Event]:
        total, cached = self._read(request)
        for text in script.notices:
            yield Notice(text)
        yield Prefill(cached, total, cached)
        self._wait(script.prefill_s)
        if total > self.ctx:
            yield Failed("ContextFull", f"The prompt has {total} tokens, the context only {self.ctx}")
            return
        yield Prefill(total, total, cached)
        lines = [self._words_of(script, request.tier, seq)[len(request.prefix) :] for seq in range(request.n)]
        written = high = 0
        reason = "cancelled" if self._cancelled.is_set() else script.reason
        for at in range(max(map(len, lines), default=0)):
            if at >= request.max_tokens:
                reason = "length"
                break
            if script.fail_after is not None and at + len(request.prefix) >= script.fail_after:
                yield script.failure
                return
            if script.die_after == at + len(request.prefix):
                yield Notice("The engine host ended unexpectedly and was restarted; the reply goes on")
            self._wait(script.token_s)
            if self._cancelled.is_set():
                reason = "cancelled"
                break
            for seq, line in enumerate(lines):
                if at < len(line):
                    step = self._step(line[at], request, seq)
                    written += 1
                    high += step.why is not Why.SPOKE
                    yield step
        usage = Usage(total, cached, written, high, high)
        yield Done(usage, Timing(script.prefill_s, max(script.token_s * written, 1e-6)), reason, request.decoder)

    def _read(self, request: Request) -> tuple[int, int]:
        """Tokens of the prompt and how many of them the pretended cache holds."""
        prompt = [token for m in request.messages for token in [*self.tokenize(m.content), *([0] * OVERHEAD)]]
        before = self._cached.get(request.session, [])
        same = next(
            (i for i, (a, b) in enumerate(zip(prompt, before, strict=False)) if a != b), min(len(prompt), len(before))
        )
        self._cached[request.session] = prompt
        return len(prompt) + OVERHEAD + len(request.prefix), same

    def _step(self, word: Word, request: Request, seq: int) -> Step:
        text, tier, why = word.text, request.tier, Why.SPOKE
        others = [Alternative(self._id(word.text), word.text, word.p, request.tier)]
        if request.decoder is not Decoder.PLAIN and word.density >= request.gate.threshold:
            text, tier = word.high or word.text, request.high
            why = Why.OVERRULED if word.high and word.high != word.text else Why.CONFIRMED
            others.append(Alternative(self._id(text), text, 0.9, request.high))
        return Step(
            token=self._id(text),
            text=text,
            tier=tier,
            p=word.p,
            entropy=word.entropy,
            margin=word.margin,
            density=word.density,
            why=why,
            seq=seq,
            alternatives=tuple(others),
        )

    def _words_of(self, script: Script, tier: str, seq: int) -> list[Word]:
        if tier in script.by_tier:
            return words(script.by_tier[tier])
        if 0 < seq <= len(script.continuations):
            return words(script.continuations[seq - 1])
        return words(script.text)

    def _id(self, text: str) -> int:
        if text not in self._ids:
            self._ids[text] = len(self._texts)
            self._texts.append(text)
        return self._ids[text]
