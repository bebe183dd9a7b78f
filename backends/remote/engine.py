"""An Engine whose ladder may hold remote tiers: those go to a Completer, everything else to the local engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from backends.engine import Engine
from backends.errors import BackendError, HostError, RemoteError
from backends.remote.completer import Completer
from backends.remote.options import RemoteOptions
from backends.types import (
    Decoder,
    Event,
    Failed,
    ForkMap,
    LadderSpec,
    LadderStatus,
    Message,
    Notice,
    Request,
    Step,
    TierSpec,
    TierStatus,
)

REMOTE = "openai"
"""``TierSpec.backend`` of a remote tier."""

MakeCompleter = Callable[[RemoteOptions], Completer]


class MixedEngine:
    """``backends.engine.Engine`` over a local engine and any number of remote tiers.

    A remote tier can write turns, nothing finer: a request that names one as its high tier runs plain. When it fails
    before it has written anything, a ``Notice`` says so in one line and the lowest local tier answers.

    Args:
        local: the engine of the local tiers.
        make: makes the Completer of a tier.
    """

    def __init__(self, local: Engine, make: MakeCompleter = Completer) -> None:
        self._local = local
        self._make = make
        self._completers: dict[str, Completer] = {}
        self._remote: list[TierStatus] = []
        self._only: LadderStatus | None = None
        """The status when no tier is local."""

    def load(self, ladder: LadderSpec) -> LadderStatus:
        """Load the local tiers; remote ones are only checked for sense, nothing is sent yet.

        Raises:
            LoadError: there are local tiers and none could be loaded.
            RemoteError: all tiers are remote and none is usable.
        """
        self._drop_remote()
        specs = [tier for tier in ladder.tiers if tier.backend == REMOTE]
        problems = [problem for tier in specs if (problem := self._add(tier))]
        rest = tuple(tier for tier in ladder.tiers if tier.backend != REMOTE)
        self._only = None
        if rest or not specs:
            return self._merge(self._local.load(replace(ladder, tiers=rest)))
        if not self._completers:
            raise RemoteError(" ".join(problems))
        self._only = LadderStatus((), ladder.ctx, 0, "remote")
        return self._merge(self._only)

    def status(self) -> LadderStatus:
        """The ladder as it is now."""
        return self._merge(self._only or self._local.status())

    def run(self, request: Request) -> Iterator[Event]:
        """Write, locally or remotely."""
        completer = self._completers.get(request.tier)
        if completer is not None:
            yield from self._run_remote(completer, request)
            return
        if request.high in self._completers:
            yield Notice(f"The {request.high} tier is remote and cannot be asked token by token; writing plainly.")
            request = replace(request, high="", decoder=Decoder.PLAIN)
        yield from self._local.run(request)

    def score(self, messages: Sequence[Message], reply: Sequence[int], tier: str, against: str = "") -> ForkMap:
        """Read a finished reply at a local tier. Raises RemoteError for a remote one."""
        for name in (tier, against):
            if name in self._completers:
                raise RemoteError(f"The {name} tier is remote and cannot read a reply token by token.")
        return self._local.score(messages, reply, tier, against)

    def tokenize(self, text: str) -> list[int]:
        """Tokens of plain text in the local model's vocabulary."""
        self._need_local()
        return self._local.tokenize(text)

    def count(self, messages: Sequence[Message]) -> int:
        """Prompt tokens in the local model's template; estimated at four bytes a token where no tier is local."""
        if self._only is not None:
            return sum(len(message.content.encode()) // 4 + 4 for message in messages)
        return self._local.count(messages)

    def cancel(self) -> None:
        """Stop the running request, wherever it runs."""
        for completer in self._completers.values():
            completer.cancel()
        if self._only is None:
            self._local.cancel()

    def close(self) -> None:
        """Close everything."""
        self._drop_remote()
        self._local.close()

    # Inside -------------------------------------------------------------------------------------------------------

    def _run_remote(self, completer: Completer, request: Request) -> Iterator[Event]:
        """A remote turn; falls back to the lowest local tier when nothing was written."""
        written = False
        for event in completer.run(replace(request, high="", decoder=Decoder.PLAIN)):
            written = written or isinstance(event, Step)
            if isinstance(event, Failed) and not written and (local := self._lowest_local()):
                yield Notice(f"{event.text} Staying at {local}.")
                yield from self._local.run(replace(request, tier=local, high="", decoder=Decoder.PLAIN))
                return
            yield event

    def _lowest_local(self) -> str:
        """Name of the lowest local tier; empty when there is none."""
        if self._only is not None:
            return ""
        with suppress(HostError):
            return next(iter(self._local.status().loaded()), "")
        return ""

    def _add(self, tier: TierSpec) -> str:
        """Take a remote tier in; returns what is wrong with its settings."""
        problem = ""
        try:
            self._completers[tier.name] = self._make(RemoteOptions.of(tier))
        except BackendError as error:
            problem = str(error)
        self._remote.append(TierStatus(tier.name, tier.path, not problem, problem=problem, remote=True))
        return problem

    def _merge(self, status: LadderStatus) -> LadderStatus:
        """Local tiers first, then the remote ones, each with a notice that text leaves the machine."""
        leaving = [
            f"Replies of the {name} tier come from {completer.options.host}: the conversation is sent there."
            for name, completer in self._completers.items()
        ]
        broken = [tier.problem for tier in self._remote if tier.problem]
        return replace(status, tiers=(*status.tiers, *self._remote), notices=(*status.notices, *leaving, *broken))

    def _need_local(self) -> None:
        if self._only is not None:
            raise RemoteError("All tiers are remote: there is no local vocabulary.")

    def _drop_remote(self) -> None:
        for completer in self._completers.values():
            completer.close()
        self._completers.clear()
        self._remote.clear()
