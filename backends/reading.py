"""Reading prompts: what is in each tier's cache, reuse of shared prefixes, and the handover between tiers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from time import perf_counter

from backends.errors import CacheError, ContextFull
from backends.stepper import CacheBytes, Logits, Progress, Stepper
from backends.types import TierSpec

Report = Callable[[int, int, int], None]
"""Called with (tokens done, tokens in all, tokens that were cached)."""


_WORTH_KEEPING = 64
"""Tokens beyond a common beginning from which on the other conversation is kept beside the new one."""
_SAMPLE, _ALIKE = 256, 0.9
"""Tokens that are compared of two vocabularies, and the share that has to agree."""


@dataclass(slots=True)
class Kept:
    """One sequence that stays in the cache between requests, and the tokens it holds."""

    seq: int
    tokens: list[int]
    used: int = 0
    """Counter of the last use (for eviction, least recently used first)."""


@dataclass(frozen=True, slots=True)
class Read:
    """A prompt that was read at one tier."""

    kept: Kept
    logits: Logits
    """After the last token, ``[n_vocab]``; a copy."""
    cached: int
    """Tokens that did not have to be computed."""
    seconds: float


class Reader:
    """One tier: its Stepper, the sequences it keeps, and its measured reading speed."""

    def __init__(self, spec: TierSpec, stepper: Stepper, keep: int = 3) -> None:
        self.spec = spec
        self.stepper = stepper
        self.read_speed = 0.0
        """Measured tokens per second while reading (0: not measured yet)."""
        self.write_speed = 0.0
        """Measured tokens per second while writing alone (0: not measured yet)."""
        self._kept: list[Kept] = []
        self._keep = keep
        self._clock = 0

    @property
    def name(self) -> str:
        """The tier's name."""
        return self.spec.name

    def common(self, tokens: Sequence[int]) -> int:
        """Longest usable prefix of ``tokens`` in the cache (always shorter than ``tokens``)."""
        return max((self._usable(kept, tokens) for kept in self._kept), default=0)

    def read(self, tokens: Sequence[int], report: Report | None = None) -> Read:
        """Bring ``tokens`` into the cache, computing only what is not there.

        Raises:
            ContextFull: they do not fit even with every other conversation forgotten.
            Cancelled: stopped; what was computed stays for the next try.
        """
        start = perf_counter()
        kept, cached = self._start(tokens)
        done = cached

        def progress(count: int, _: int) -> None:
            if report is not None:
                report(cached + count, len(tokens), cached)

        try:
            logits = self._prefill(kept, tokens[done:], progress).copy()
        finally:
            kept.tokens = list(tokens[: self.stepper.length(kept.seq)])
        seconds = perf_counter() - start
        if len(tokens) - cached >= 32:
            speed = (len(tokens) - cached) / seconds
            self.read_speed = speed if not self.read_speed else 0.5 * (self.read_speed + speed)
        return Read(kept, logits, cached, seconds)

    def continue_at(self, tokens: Sequence[int]) -> tuple[Kept, list[int]]:
        """The kept sequence nearest to ``tokens``, cut back to their common prefix, and the tokens it lacks.

        Nothing is computed: the lacking tokens go into the next step. They are never empty.
        """
        kept, same = self._start(tokens)
        return kept, list(tokens[same:])

    def adopt(self, blob: CacheBytes, tokens: Sequence[int]) -> Kept:
        """Take over another tier's cache of ``tokens`` as a new kept sequence. Raises CacheError.

        What this tier kept of the same conversation goes: the new sequence holds it, computed higher.
        """
        for kept in [kept for kept in self._kept if _is_prefix(kept.tokens, tokens)]:
            self.forget(kept)
        self.make_room(len(tokens))
        seq = self._open()
        try:
            self.stepper.import_cache(seq, blob, len(tokens))
        except CacheError:
            self.stepper.drop(seq)
            raise
        return self._remember(Kept(seq, list(tokens)))

    def fork(self, kept: Kept) -> Kept:
        """Another sequence with the same content."""
        if not self._slot_free():
            self._evict(sparing=kept)
        return self._remember(Kept(self.stepper.fork(kept.seq), list(kept.tokens)))

    def settle(self, kept: Kept, tokens: Sequence[int]) -> None:
        """After writing: ``tokens`` is the whole text, of which the sequence holds as much as it was fed."""
        kept.tokens = list(tokens[: self.stepper.length(kept.seq)])
        self._touch(kept)

    def trim(self) -> None:
        """At the end of a request: keep only the most recent sequences."""
        while len(self._kept) > self._keep:
            self._evict()

    def forget(self, kept: Kept) -> None:
        """Drop a sequence."""
        self._kept.remove(kept)
        self.stepper.drop(kept.seq)

    def make_room(self, tokens: int, sparing: Collection[Kept] = ()) -> None:
        """Forget least recently used sequences until ``tokens`` more cells are likely free.

        Called before a prompt is read and before a reply is written, so that no reply is cut short by conversations
        that are only kept. Sequences that share cells are counted twice: more room than needed, never less.
        """
        spared = [id(kept) for kept in sparing]
        while sum(len(kept.tokens) for kept in self._kept) + tokens > self.stepper.facts.n_ctx:
            others = [kept for kept in self._kept if id(kept) not in spared]
            if not others:
                return
            self.forget(min(others, key=lambda kept: kept.used))

    # Inside -------------------------------------------------------------------------------------------------------

    def _usable(self, kept: Kept, tokens: Sequence[int]) -> int:
        limit = min(len(kept.tokens), len(tokens) - 1)
        same = 0
        while same < limit and kept.tokens[same] == tokens[same]:
            same += 1
        if not self.stepper.facts.can_truncate and same < self.stepper.length(kept.seq):
            return 0  # it holds more than is wanted, or than is known of it (a reply broke off), for good
        return same

    def _start(self, tokens: Sequence[int]) -> tuple[Kept, int]:
        best = max(self._kept, key=lambda kept: self._usable(kept, tokens), default=None)
        same = self._usable(best, tokens) if best is not None else 0
        if best is None or same == 0:
            self.make_room(len(tokens))
            return self._remember(Kept(self._open(), [])), 0
        if len(best.tokens) - same > _WORTH_KEEPING and self._slot_free() and self.stepper.facts.can_truncate:
            # Another conversation (or another branch) begins the same way: it stays, the new one shares its beginning.
            best = self.fork(best)
        self.stepper.truncate(best.seq, same)
        best.tokens = best.tokens[:same]
        self._touch(best)
        return best, same

    def _prefill(self, kept: Kept, tokens: Sequence[int], progress: Progress) -> Logits:
        try:
            return self.stepper.prefill(kept.seq, tokens, progress)
        except ContextFull:
            others = [other for other in self._kept if other is not kept]
            if not others:
                raise
            before = len(kept.tokens)
            for other in others:
                self.forget(other)
            done = self.stepper.length(kept.seq) - before
            return self.stepper.prefill(kept.seq, tokens[done:], progress)

    def _open(self) -> int:
        if not self._slot_free():
            self._evict()
        return self.stepper.open()

    def _slot_free(self) -> bool:
        return len(self._kept) < self._slots()

    def _slots(self) -> int:
        return max(self._keep, 1) + 8

    def _evict(self, sparing: Kept | None = None) -> None:
        oldest = min((kept for kept in self._kept if kept is not sparing), key=lambda kept: kept.used, default=None)
        if oldest is None:
            raise ContextFull("The context is full.")
        self.forget(oldest)

    def _remember(self, kept: Kept) -> Kept:
        self._kept.append(kept)
        self._touch(kept)
        return kept

    def _touch(self, kept: Kept) -> None:
        self._clock += 1
        kept.used = self._clock


def same_words(one: Stepper, other: Stepper) -> bool:
    """Whether the same tokens are the same words to both, so that one can go on with what the other wrote.

    Vocabularies of one model may differ in padding and in how control tokens are written; those of two models agree on
    hardly more than single bytes.
    """
    count = min(one.facts.n_vocab, other.facts.n_vocab)
    sample = range(0, count, max(count // _SAMPLE, 1))
    return sum(one.piece(token) == other.piece(token) for token in sample) >= _ALIKE * len(sample)


def shares_caches(one: Reader, other: Reader) -> bool:
    """Whether the tiers can go on from parts of each other's caches."""
    mine, theirs = one.stepper.facts, other.stepper.facts
    return mine.cache_key == theirs.cache_key and mine.can_truncate and theirs.can_truncate


def hand_over(giver: Reader, kept: Kept, taker: Reader, length: int | None = None) -> Kept:
    """Give one tier the cache another tier computed, instead of reading again.

    Args:
        giver: The tier that has the cache.
        kept: Its sequence.
        taker: The tier that gets it; the same model at another precision.
        length: Take only the first tokens (the taker's copy is cut back).

    Raises:
        CacheError: the caches do not fit each other; the message says why. Read again instead.
    """
    ours, theirs = giver.stepper.facts.cache_key, taker.stepper.facts.cache_key
    if ours != theirs:
        raise CacheError(
            f"The {giver.name} and {taker.name} tiers cannot share a cache: {_difference(ours, theirs)} differ."
        )
    taken = taker.adopt(giver.stepper.export_cache(kept.seq), kept.tokens)
    if length is not None and length < len(kept.tokens):
        try:
            taker.stepper.truncate(taken.seq, length)
        except CacheError:
            taker.forget(taken)
            raise
        taken.tokens = taken.tokens[:length]
    return taken


def _is_prefix(beginning: Sequence[int], tokens: Sequence[int]) -> bool:
    return list(tokens[: len(beginning)]) == list(beginning)


def _difference(ours: str, theirs: str) -> str:
    names = ("engines", "architectures", "layers", "heads", "widths", "rope types", "rope bases", "vocabularies", "ctx")
    pairs = zip(names, ours.split("/"), theirs.split("/"), strict=False)
    return ", ".join(name for name, a, b in pairs if a != b) or "cache types"
