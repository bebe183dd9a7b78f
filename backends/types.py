"""The values that cross the borders of the backends room.

Plain frozen dataclasses: the engine host sends them over a pipe as JSON (``backends.host.wire``), the agent stores
them, the screens show them. Probabilities are linear (0..1), entropies and margins are in nats, times in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

FOUR, EIGHT, SIXTEEN = "4-bit", "8-bit", "16-bit"
"""The three tier names everybody knows; a ladder may hold others (``q5_k_m`` in a benchmark)."""


class Why(StrEnum):
    """How a token came to be written."""

    SPOKE = "spoke"
    """The speaking tier wrote it on its own."""
    CONFIRMED = "confirmed"
    """The gate fired and the higher tier chose the same token."""
    OVERRULED = "overruled"
    """The gate fired and the higher tier chose another token."""
    VERIFIED = "verified"
    """Drafted by the low tier (or looked up in the prompt) and accepted by the higher tier."""


class Decoder(StrEnum):
    """The decoders a request may ask for."""

    PLAIN = "plain"
    GATED = "gated"
    SPECULATIVE = "speculative"


@dataclass(frozen=True, slots=True)
class Alternative:
    """One token that could have been written instead."""

    token: int
    text: str
    p: float
    tier: str


@dataclass(frozen=True, slots=True)
class Step:
    """One token of a reply, with its provenance."""

    token: int
    text: str
    """Text completed by this token: UTF-8 safe, so a token that ends inside a character adds ``""`` and the next one
    adds the whole character. Foreign text: never markup, never sent to a terminal unescaped."""
    tier: str
    """The tier whose choice this token is."""
    p: float
    """Probability of the token at that tier, before temperature and filters."""
    entropy: float
    """Entropy of the speaking tier's distribution here, nats."""
    margin: float
    """Log-probability of the best minus the second-best token at the speaking tier, nats (>= 0)."""
    density: float
    """Estimated probability (0..1) that the high tier would choose another token here."""
    why: Why = Why.SPOKE
    seq: int = 0
    """Which continuation this belongs to when several are written at once."""
    alternatives: tuple[Alternative, ...] = ()
    """The best few tokens at the speaking tier and, where it was asked, at the high tier."""
    ends: bool = False
    """Whether this token ended its continuation (the model's end, or a stop text)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. ``temperature`` 0 is greedy. Filters apply in the order of the fields."""

    repetition_penalty: float = 1.0
    repetition_window: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Gate:
    """The token-level rule that calls the high tier: it fires where density >= ``threshold``.

    Density is a logistic model over named signals (``backends.gate.SIGNALS``). The default weights are the
    documented rule for uncalibrated models; ``agent.density`` fits others.
    """

    threshold: float = 0.5
    weights: Mapping[str, float] = field(default_factory=dict)
    """Signal name -> weight, plus ``"bias"``. Empty: the default rule (margin alone)."""
    max_pending: int = 64
    """The high tier is also called after this many tokens without a firing, so that one catch-up step stays short."""


@dataclass(frozen=True, slots=True)
class TierSpec:
    """One file (or address) of one model at one precision."""

    name: str
    path: Path
    backend: str = "llama"
    """``llama`` (GGUF), ``transformers`` (folder of safetensors) or ``openai`` (``options`` holds url and model)."""
    n_gpu_layers: int = 0
    tensor_split: tuple[float, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LadderSpec:
    """The tiers of one model, low to high, and how to run them."""

    tiers: tuple[TierSpec, ...]
    ctx: int = 4096
    batch_size: int = 512
    n_parallel: int = 4
    """Continuations that can be written at once."""
    threads: int = 0
    """0: chosen by measurement (see ``backends.threads``)."""
    resting: tuple[str, ...] = ()
    """Names of tiers that are kept out of memory until a later spec leaves them out here."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat. ``role`` is ``system``, ``user`` or ``assistant``."""

    role: str
    content: str
    tokens: tuple[int, ...] = ()
    """Tokens that stand for ``content`` instead of what tokenizing it gives (llama.cpp tiers; only for the same model):
    those of a reply it wrote earlier, without the ending token, are in the cache as they are. Conversations leave this
    empty and send text: where tokenizing it again gives other tokens, the rest is read again from there on."""


@dataclass(frozen=True, slots=True)
class Request:
    """One thing to write: the host answers with a stream of events that ends in ``Done`` or ``Failed``."""

    messages: tuple[Message, ...]
    tier: str
    """The tier that speaks."""
    decoder: Decoder = Decoder.PLAIN
    high: str = ""
    """The tier the gate calls or that verifies; empty for ``plain``."""
    prefix: tuple[int, ...] = ()
    """Tokens of the reply already written: resume after a fault, continue an edited reply, repair a span."""
    sampling: Sampling = field(default_factory=Sampling)
    max_tokens: int = 512
    n: int = 1
    """Number of continuations, written in one batch over one shared prefix (``plain`` only)."""
    gate: Gate = field(default_factory=Gate)
    read_high: bool | None = None
    """Read the prompt at the high tier and hand the cache down. ``None``: the ladder decides from measured speeds."""
    stop: tuple[str, ...] = ()
    session: str = ""
    """Name of the conversation this belongs to (for logs; caches are found by their tokens)."""
    first_seq: int = 0
    """Number of the first continuation: decides ``Step.seq`` and the random numbers."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request. ``cached_tokens`` of ``prompt_tokens`` were not computed again."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    high_tokens: int = 0
    """Tokens chosen, confirmed or verified at the high tier."""
    high_steps: int = 0
    """Batched steps the high tier made."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Wall-clock seconds of one request."""

    prefill_s: float
    decode_s: float
    high_s: float = 0.0
    """Part of ``decode_s`` spent in the high tier."""
    gate_s: float = 0.0
    """Part of ``decode_s`` spent on signals and decisions: the gate's own cost."""

    def __add__(self, other: Timing) -> Timing:
        """Of one request after the other."""
        return Timing(
            self.prefill_s + other.prefill_s,
            self.decode_s + other.decode_s,
            self.high_s + other.high_s,
            self.gate_s + other.gate_s,
        )

    def tok_s(self, tokens: int) -> float:
        """Decode speed for ``tokens`` written tokens, tokens per second (0 when nothing was written)."""
        return tokens / self.decode_s if self.decode_s > 0 else 0.0


# Events of one request, in order: Prefill*, then Step* with Notices anywhere, then exactly one Done or Failed.


@dataclass(frozen=True, slots=True)
class Prefill:
    """Progress of reading the prompt."""

    done: int
    total: int
    cached: int


@dataclass(frozen=True, slots=True)
class Notice:
    """One line the person should see (a tier was dropped, the host was restarted, a template is missing)."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The reply is complete."""

    usage: Usage
    timing: Timing
    reason: str
    """``end`` (the model ended it), ``length`` (max_tokens), ``context`` (context full), ``stop`` (stop text) or
    ``cancelled`` (the person stopped it; the partial text is kept)."""
    decoder: Decoder = Decoder.PLAIN
    """The decoder that really ran (a request for ``gated`` falls back to ``plain`` when the high tier is lost)."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The request ended without a result. ``kind`` is a class name from ``backends.errors``."""

    kind: str
    text: str


Event = Prefill | Step | Notice | Done | Failed


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a tier thinks of one token of a finished text (teacher-forced)."""

    token: int
    text: str
    p: float
    """Probability of the token that was written."""
    best: int
    best_text: str
    best_p: float
    kl: float
    """KL(high || speaking) in nats when both distributions were at hand, else the surprise -log p; >= 0."""
    margin: float
    """Log-probability of the tier's best token minus that of the written one, nats (0 where they agree)."""
    second_p: float = 0.0
    """Probability of the tier's second-best token."""
    entropy: float = 0.0
    """Entropy of the tier's distribution, nats."""


@dataclass(frozen=True, slots=True)
class ForkMap:
    """The teacher-forced reading of one reply at one tier. A fork is a position where ``best != token``."""

    tier: str
    judgements: tuple[Judgement, ...]
    seconds: float
    cached_tokens: int = 0

    def forks(self) -> list[int]:
        """Positions where the tier would have chosen otherwise, worst (largest margin) first."""
        at = [i for i, j in enumerate(self.judgements) if j.best != j.token]
        return sorted(at, key=lambda i: -self.judgements[i].margin)


@dataclass(frozen=True, slots=True)
class TierStatus:
    """What is known of one tier after loading."""

    name: str
    path: Path
    loaded: bool
    bytes: int = 0
    """Size of the weights in memory (mapped)."""
    load_s: float = 0.0
    problem: str = ""
    """Why it is not loaded; empty when it is, or when it rests."""
    resting: bool = False
    """Kept out of memory because the ladder's spec says so."""
    read_tok_s: float = 0.0
    """Measured reading (prefill) speed, tokens per second; 0 until measured."""
    write_tok_s: float = 0.0
    """Measured writing speed of this tier alone, tokens per second; 0 until measured."""
    slower_than: str = ""
    """A higher tier that writes faster on this machine: this one is passed over unless the settings name it."""
    remote: bool = False
    """A server: it writes whole replies, and cannot be asked token by token."""

    @property
    def reason(self) -> str:
        """Why it cannot be used now; empty when it can."""
        return "it is unloaded" if self.resting else self.problem


@dataclass(frozen=True, slots=True)
class LadderStatus:
    """The engine host's answer to loading a ladder."""

    tiers: tuple[TierStatus, ...]
    ctx: int
    n_vocab: int
    architecture: str
    notices: tuple[str, ...] = ()
    rss: int = 0
    """Resident memory of the host process, bytes."""

    def loaded(self) -> list[str]:
        """Names of the usable tiers, low to high."""
        return [tier.name for tier in self.tiers if tier.loaded]

    def remote(self, name: str) -> bool:
        """Whether a tier is a server."""
        return any(tier.name == name and tier.remote for tier in self.tiers)

    def local(self) -> list[str]:
        """Names of the usable tiers that are no servers, low to high."""
        return [name for name in self.loaded() if not self.remote(name)]

    def worth(self) -> list[str]:
        """Names of the usable tiers, low to high, without those that are slower than a higher one."""
        return [tier.name for tier in self.tiers if tier.loaded and not tier.slower_than]
