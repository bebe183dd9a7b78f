"""What the conversations of one process share, and what one conversation keeps in memory while it is open."""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

from agent import roles
from agent.lengths import Lengths
from agent.oversight import Overseer, Situation
from agent.recall import Memory
from agent.settings import PolicySettings, Settings
from agent.tree import Tree
from agent.values import Speed
from backends.engine import Engine
from backends.types import LadderStatus, Sampling


@dataclass(slots=True)
class State:
    """One open conversation."""

    id: str
    policy: PolicySettings
    head: int | None = None
    window: int | None = None
    """First node of the last prompt, see ``agent.context``."""
    passages_off: set[str] = field(default_factory=set)
    """Sources the person switched off in this conversation."""
    warm: bool = False
    """Whether the engine has read this conversation in this process."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """The stop of the turn that runs (or ran last)."""
    writing: threading.Lock = field(default_factory=threading.Lock)
    _stops: weakref.WeakSet[threading.Event] = field(default_factory=weakref.WeakSet)
    _stopping: threading.Lock = field(default_factory=threading.Lock)

    def asked(self) -> threading.Event:
        """The stop of a turn that was just asked for; it lives as long as its iterator, which may never begin."""
        stop = threading.Event()
        with self._stopping:
            self._stops.add(stop)
        return stop

    def stop(self) -> None:
        """Stop the running turn, and those that were asked for and have not begun yet."""
        with self._stopping:
            for stop in self._stops:
                stop.set()


@dataclass(slots=True)
class Desk:
    """The parts a conversation works with. ``Fovea.change`` puts others in their place."""

    settings: Settings
    model: str
    tree: Tree
    engine: Engine
    memory: Memory
    overseer: Overseer
    ladder: Callable[[], LadderStatus]
    """Loads the ladder when needed; blocking."""
    loaded: Callable[[], LadderStatus | None]
    """The ladder if it is loaded already."""
    _lengths: tuple[tuple[str, Engine], Lengths] | None = None

    def lengths(self) -> Lengths:
        """What is known of the lengths of messages in the model in use."""
        used = self.model, self.engine
        if self._lengths is None or self._lengths[0] != used:
            self._lengths = used, Lengths(self.engine.count)
        return self._lengths[1]

    def speaking_tier(self, ladder: LadderStatus) -> str:
        """See ``agent.roles.speaking``."""
        return roles.speaking(self.settings, ladder)

    def usable(self, ladder: LadderStatus, tier: str) -> str:
        """See ``agent.roles.usable``."""
        return roles.usable(ladder, tier)

    def next_higher(self, ladder: LadderStatus, tier: str) -> str:
        """See ``agent.roles.next_higher``."""
        return roles.next_higher(self.settings, ladder, tier)

    def situation(self, state: State, ladder: LadderStatus, tier: str, prompt_tokens: int = 0) -> Situation:
        """What an overseer may look at."""
        return Situation(
            policy=state.policy,
            ladder=ladder,
            model=self.model,
            tier=tier,
            high=roles.judging(self.settings, ladder, tier),
            spending=self.tree.ledger.spending(state.id, state.policy.budget),
            speed=self.speed,
            prompt_tokens=prompt_tokens,
        )

    def speed(self, tier: str) -> Speed:
        """Measured speed of a tier of this model on this machine."""
        return self.tree.ledger.speed(self.model, tier)

    def sampling(self) -> Sampling:
        """How tokens are drawn; a seed of -1 becomes a new one for every reply."""
        seed = self.settings.sampling.seed
        return sampling_of(self.settings, secrets.randbelow(2**31) if seed < 0 else seed)


def sampling_of(settings: Settings, seed: int) -> Sampling:
    """How the settings draw tokens, with a seed."""
    chosen = settings.sampling
    return Sampling(
        repetition_penalty=chosen.repetition_penalty,
        repetition_window=chosen.repetition_window,
        temperature=chosen.temperature,
        top_k=chosen.top_k,
        top_p=chosen.top_p,
        min_p=chosen.min_p,
        seed=seed,
    )
