"""The tiers of one model, loaded: runs requests by choosing who reads, which decoder writes, and what stays cached.

Runs inside the engine host. Events go out through a callback, because progress of a prefill is reported from within it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

from backends.decoders.score import score
from backends.errors import BackendError, Cancelled, ContextFull, LoadError
from backends.pace import beaten, step_seconds
from backends.reading import Reader, same_words
from backends.stepper import Stepper
from backends.types import (
    Decoder,
    Done,
    Event,
    Failed,
    ForkMap,
    LadderSpec,
    LadderStatus,
    Message,
    Notice,
    Request,
    TierSpec,
    TierStatus,
    Timing,
    Usage,
)
from backends.writing import Writing

Emit = Callable[[Event], None]
"""Where events of a request go."""
Opener = Callable[[TierSpec, LadderSpec], Stepper]
"""Opens one tier (``backends.opening.open_stepper``; tests give another)."""


class Ladder:
    """All tiers of one model that could be loaded."""

    def __init__(self, spec: LadderSpec, opener: Opener) -> None:
        """Load every tier; one that fails is dropped and named in ``status``.

        Raises:
            LoadError: not one tier could be loaded.
        """
        self.spec = spec
        self._cancelled = threading.Event()
        self._readers: dict[str, Reader] = {}
        self._tiers: list[TierStatus] = []
        self._notices: list[str] = []
        self._fill(opener)

    def change(self, spec: LadderSpec, opener: Opener) -> bool:
        """Load and free single tiers, where the new spec differs in nothing else; the others keep their caches.

        Returns:
            False, with nothing changed, when more than ``resting`` differs: such a ladder must be loaded anew.

        Raises:
            LoadError: no tier is left.
        """
        if replace(spec, resting=()) != replace(self.spec, resting=()):
            return False
        self.spec = spec
        self._fill(opener)
        return True

    def _fill(self, opener: Opener) -> None:
        """Load what should be loaded and is not; free what should rest."""
        known = {tier.name: tier for tier in self._tiers if tier.loaded}
        self._tiers, self._notices = [], []
        for tier in self.spec.tiers:
            reader = self._readers.get(tier.name)
            if tier.name in self.spec.resting:
                if reader is not None:
                    del self._readers[tier.name]
                    reader.stepper.close()
                self._tiers.append(TierStatus(tier.name, tier.path, loaded=False, resting=True))
            elif reader is not None:
                self._tiers.append(known[tier.name])
            else:
                self._open(tier, opener)
        if not self._readers:
            raise LoadError(_reasons(self._tiers) or "The ladder has no tiers.")
        self._note_limits()
        self._note_pace()

    def _open(self, tier: TierSpec, opener: Opener) -> None:
        start = perf_counter()
        try:
            stepper = opener(tier, self.spec)
        except (BackendError, MemoryError) as error:
            self._leave_out(tier, str(error) or "not enough memory")
            return
        first = next(iter(self._readers.values()), None)
        if first is not None and not same_words(first.stepper, stepper):
            stepper.close()
            self._leave_out(tier, f"its vocabulary is not {first.name}'s; all tiers of a ladder are one model")
            return
        self._readers[tier.name] = Reader(tier, stepper, keep=max(2, self.spec.n_parallel))
        seconds = perf_counter() - start
        self._tiers.append(TierStatus(tier.name, tier.path, True, stepper.facts.bytes, seconds))

    def _leave_out(self, tier: TierSpec, problem: str) -> None:
        self._tiers.append(TierStatus(tier.name, tier.path, loaded=False, problem=problem))
        if len(self.spec.tiers) > 1:
            self._notices.append(f"The {tier.name} tier was not loaded: {problem}")

    def _note_limits(self) -> None:
        facts = next(iter(self._readers.values())).stepper.facts
        if 0 < facts.n_ctx_train < self.spec.ctx:
            self._notices.append(
                f"The model was made for contexts of {facts.n_ctx_train} tokens; ctx {self.spec.ctx} was capped."
            )
        if not facts.has_template:
            self._notices.append("The model file has no chat template; ChatML is used.")

    def _note_pace(self) -> None:
        """Mark tiers that are slower than a higher one (see ``pace``)."""
        self._tiers = [replace(tier, slower_than="") for tier in self._tiers]
        readers = list(self._readers.values())
        if len(readers) < 2 or all(reader.spec.backend != "transformers" for reader in readers):
            return
        for reader in readers:
            reader.stepper.resume()  # a reply that was stopped leaves its mark
        order = [tier.name for tier in self._tiers if tier.loaded]
        slow = beaten([(name, step_seconds(self._readers[name].stepper)) for name in order])
        self._tiers = [replace(t, slower_than=slow[t.name][0]) if t.name in slow else t for t in self._tiers]
        for name, (above, share) in slow.items():
            key = "tier" if name == order[0] else "high"
            self._notices.append(
                f"{name} writes at {share:.0%} of {above}'s speed on this machine: it is passed over (it would save "
                f"memory, not time). --set {key}={name} takes it all the same."
            )

    def status(self, rss: int = 0) -> LadderStatus:
        """What is loaded."""
        facts = next(iter(self._readers.values())).stepper.facts
        tiers = tuple(
            replace(tier, read_tok_s=reader.read_speed, write_tok_s=reader.write_speed)
            if (reader := self._readers.get(tier.name))
            else tier
            for tier in self._tiers
        )
        return LadderStatus(tiers, facts.n_ctx, facts.n_vocab, facts.architecture, tuple(self._notices), rss)

    # Requests -----------------------------------------------------------------------------------------------------

    def run(self, request: Request, emit: Emit) -> None:
        """Carry out one request; ends with exactly one ``Done`` or ``Failed``."""
        self._cancelled.clear()
        for reader in self._readers.values():
            reader.stepper.resume()
        try:
            self._run(request, emit)
        except Cancelled:
            emit(Done(Usage(0, 0, 0), Timing(0.0, 0.0), "cancelled"))
        except BackendError as error:
            emit(Failed(type(error).__name__, str(error)))
        except MemoryError:
            emit(Failed("LoadError", "Not enough memory for this request; try a smaller ctx or batch size."))

    def cancel(self) -> None:
        """Stop the running request. Thread-safe."""
        self._cancelled.set()
        for reader in self._readers.values():
            reader.stepper.cancel()

    def reader(self, tier: str) -> Reader:
        """The reader of a tier. Raises LoadError when it is not loaded."""
        reader = self._readers.get(tier)
        if reader is None:
            known = next((t for t in self._tiers if t.name == tier), None)
            problem = known.reason if known else "it is not part of this ladder"
            raise LoadError(f"The {tier} tier is not available: {problem}")
        return reader

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text."""
        return next(iter(self._readers.values())).stepper.tokenize(text)

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens of a conversation."""
        return len(next(iter(self._readers.values())).stepper.chat_prompt(messages))

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        """Read a finished reply at ``tier``, teacher-forced (see ``backends.decoders.score``)."""
        start = perf_counter()
        judge = self.reader(tier)
        judge.stepper.resume()
        tokens = judge.stepper.chat_prompt(messages)
        self._check_room(judge, len(tokens) + len(reply))
        whole = [*tokens, *reply]
        read = judge.read(tokens)
        judge.make_room(len(reply), [read.kept])
        under_way = [(judge, read.kept)]
        other = None
        try:
            if against and against != tier:
                speaker = self.reader(against)
                speaker.stepper.resume()
                low = speaker.read(tokens)
                speaker.make_room(len(reply), [low.kept])
                under_way.append((speaker, low.kept))
                other = (speaker.stepper, low.kept.seq, low.logits)
            judgements = score(judge.stepper, read.kept.seq, reply, read.logits, against=other)
        finally:
            for reader, kept in under_way:
                reader.settle(kept, whole)
                reader.trim()
        return ForkMap(tier, tuple(judgements), perf_counter() - start, read.cached)

    def close(self) -> None:
        """Free all tiers."""
        for reader in self._readers.values():
            reader.stepper.close()
        self._readers.clear()

    # Inside -------------------------------------------------------------------------------------------------------

    def _run(self, request: Request, emit: Emit) -> None:
        low = self.reader(request.tier)
        if request.n > self.spec.n_parallel:
            raise BackendError(f"{request.n} continuations at once need n_parallel {request.n} in the settings.")
        request = self._with_what_is_loaded(request, emit)
        prompt = low.stepper.chat_prompt(request.messages)
        tokens = [*prompt, *request.prefix]
        self._check_room(low, len(tokens))
        high = self._readers.get(request.high) if request.high else None
        Writing(request, low, high, prompt, emit, self._cancelled).go()

    def _with_what_is_loaded(self, request: Request, emit: Emit) -> Request:
        if request.decoder is Decoder.PLAIN and not request.read_high:
            return request
        if request.high and request.high != request.tier and request.high in self._readers:
            return request
        if request.high and request.high != request.tier:
            emit(Notice(f"The {request.high} tier is not loaded; the reply is written at {request.tier} alone."))
        return replace(request, decoder=Decoder.PLAIN, high="", read_high=False)

    def _check_room(self, reader: Reader, tokens: int) -> None:
        room = reader.stepper.facts.n_ctx
        if tokens >= room:
            raise ContextFull(f"The prompt has {tokens} tokens, the context holds {room}. Raise ctx or shorten it.")


def _reasons(tiers: Sequence[TierStatus]) -> str:
    """Why tiers are not loaded, as one sentence; a reason that several share is told once."""
    names: dict[str, list[str]] = {}
    for tier in tiers:
        if tier.problem:
            names.setdefault(tier.problem.rstrip("."), []).append(tier.name)
    return "; ".join(f"{', '.join(those)}: {problem}" for problem, those in names.items())
