"""Replies of the low tier and the high tier's reading of them: the raw material of a calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.calibrate.prompts import Prompt
from agent.density.labels import Example, example
from agent.density.model import Scores
from agent.measure.stats import Estimate, share
from backends.engine import Engine
from backends.errors import BackendError
from backends.types import Decoder, Done, Event, Failed, ForkMap, Gate, Request, Sampling, Step

Progress = Callable[[float], None]
_VARIED = 0.8
"""Temperature of further samples: other texts, but still the model's own."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One finished reply."""

    steps: tuple[Step, ...]
    done: Done


def write(engine: Engine, request: Request) -> Reply:
    """Run a request to its end. Raises BackendError when it fails."""
    steps: list[Step] = []
    done: Done | None = None
    events = engine.run(request)
    for event in events:
        if isinstance(event, Step):
            steps.append(event)
        else:
            done = _end(event) or done
    if done is None:
        raise BackendError("The engine ended a reply without saying why")
    return Reply(tuple(steps), done)


def _end(event: Event) -> Done | None:
    if isinstance(event, Failed):
        raise BackendError(event.text)
    return event if isinstance(event, Done) else None


def examples(
    engine: Engine,
    prompts: Sequence[Prompt],
    low: str,
    high: str,
    *,
    tokens: int,
    sampling: Sampling,
    samples: int = 1,
    progress: Progress = lambda share: None,
) -> list[Example]:
    """Write at ``low``, read at ``high``. Prompts that do not fit into the context are left out.

    The first reply to a prompt is written with ``sampling``; with more ``samples`` the others are drawn (short replies
    hold few forks, and a fork is a fork whatever text stands before it).

    Raises:
        BackendError: the engine failed.
    """
    found = []
    for at, prompt in enumerate(prompts):
        progress(at / len(prompts))
        if not fits(engine, prompt, tokens):
            continue
        # The high tier reads the prompt, as in a gated reply: the low tier's signals depend on whose cache it has.
        begin = beginning(engine, prompt)
        for sample in range(samples):
            drawn = Sampling(temperature=_VARIED, seed=sample) if sample else _own(sampling, at)
            reply = write(
                engine,
                Request(
                    prompt.messages, low, high=high, prefix=begin, read_high=True, sampling=drawn, max_tokens=tokens
                ),
            )
            if reply.steps:
                found.append(example(reply.steps, read(engine, prompt, begin, reply.steps, high, low), at))
    progress(1.0)
    return found


def gated_replies(
    engine: Engine,
    prompts: Sequence[Prompt],
    low: str,
    high: str,
    gate: Gate,
    *,
    tokens: int,
    sampling: Sampling,
    progress: Progress = lambda share: None,
) -> Iterator[Reply]:
    """Gated replies to all prompts that fit, really written. Raises BackendError."""
    for at, prompt in enumerate(prompts):
        progress(at / len(prompts))
        if fits(engine, prompt, tokens):
            yield write(engine, gated_request(engine, prompt, low, high, gate, tokens, _own(sampling, at)))
    progress(1.0)


def _own(sampling: Sampling, number: int) -> Sampling:
    """Random numbers of its own for each prompt: one odd draw must not stand at the same place in all replies."""
    return replace(sampling, seed=sampling.seed + number)


def spent(replies: Iterable[Reply]) -> Estimate:
    """Share of their tokens that the high tier took (0..1), resampled over replies."""
    usages = [reply.done.usage for reply in replies]
    return share([usage.high_tokens for usage in usages], [usage.completion_tokens for usage in usages])


def densities(replies: Iterable[Reply]) -> list[Scores]:
    """Densities of their tokens, one array ``[tokens]`` per reply."""
    return [np.asarray([step.density for step in reply.steps]) for reply in replies]


def gated_request(
    engine: Engine, prompt: Prompt, low: str, high: str, gate: Gate, tokens: int, sampling: Sampling | None = None
) -> Request:
    """The order for a gated reply whose prompt the high tier reads."""
    begin = beginning(engine, prompt)
    return Request(
        prompt.messages,
        low,
        Decoder.GATED,
        high,
        begin,
        sampling=sampling or Sampling(),
        max_tokens=tokens,
        gate=gate,
        read_high=True,
    )


def beginning(engine: Engine, prompt: Prompt) -> tuple[int, ...]:
    """Tokens the reply begins with."""
    return tuple(engine.tokenize(prompt.begin)) if prompt.begin else ()


def read(
    engine: Engine, prompt: Prompt, begin: Sequence[int], steps: Sequence[Step], tier: str, against: str = ""
) -> ForkMap:
    """A tier's reading of written tokens (not of the given beginning)."""
    found = engine.score(prompt.messages, [*begin, *(step.token for step in steps)], tier, against)
    return replace(found, judgements=found.judgements[len(begin) :])


def fits(engine: Engine, prompt: Prompt, tokens: int) -> bool:
    """Whether prompt and reply fit into the context."""
    return engine.count(prompt.messages) + len(beginning(engine, prompt)) + tokens <= engine.status().ctx
