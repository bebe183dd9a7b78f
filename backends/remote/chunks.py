"""One event of a streamed chat completion as a value, whatever nonsense it may hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backends.errors import RemoteError

_LEAST = -1e4
"""Log-probabilities below this (servers send -inf as -9999) count as nothing."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token with its log-probabilities."""

    raw: bytes
    """Its bytes; may end inside a UTF-8 character."""
    logprob: float
    top: tuple[tuple[str, float], ...]
    """The best tokens at this position with their log-probabilities, best first."""

    @property
    def margin(self) -> float:
        """Log-probability of the best minus the second-best token, nats."""
        return max(0.0, self.top[0][1] - self.top[1][1]) if len(self.top) > 1 else 0.0

    @property
    def entropy(self) -> float:
        """Entropy in nats, the unseen rest of the distribution counted as one token: a lower bound."""
        ps = [math.exp(logprob) for _, logprob in self.top]
        rest = 1.0 - sum(ps)
        return -sum(p * math.log(p) for p in [*ps, rest] if p > 1e-9)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one event adds to a reply."""

    index: int = 0
    """Which continuation."""
    text: str = ""
    tokens: tuple[Token, ...] = ()
    """Tokens of ``text`` where the server gives log-probabilities."""
    finish: str = ""
    """``stop``, ``length`` … in the last chunk of a continuation."""
    usage: tuple[int, int, int] | None = None
    """Prompt, cached and completion tokens."""
    extra: Mapping[str, Any] | None = None
    """The ``fovea`` object a fovea server adds."""


def parse_event(data: str) -> list[Chunk]:
    """The chunks in the data of one event.

    Raises:
        RemoteError: not JSON, not a chat completion, or an error the server reports inside the stream.
    """
    try:
        event = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteError(f"it sends something that is not JSON ({clean(data, 60)!r})") from error
    if not isinstance(event, dict):
        raise RemoteError("it sends something that is not a chat completion")
    if event.get("error"):
        raise RemoteError(f"it reports: {error_text(event)}")
    choices = event.get("choices")
    if not isinstance(choices, list):
        raise RemoteError("it sends something that is not a chat completion")
    chunks = [_choice(choice) for choice in choices if isinstance(choice, dict)]
    usage = _usage(event.get("usage"))
    extra = event.get("fovea")
    if usage is not None or isinstance(extra, dict):
        chunks.append(Chunk(usage=usage, extra=extra if isinstance(extra, dict) else None))
    return chunks


def error_text(body: object) -> str:
    """The message inside an error body, as one short line."""
    error = body.get("error", body) if isinstance(body, dict) else body
    message = error.get("message", error) if isinstance(error, dict) else error
    return clean(str(message), 200) or "no reason given"


def clean(text: str, limit: int) -> str:
    """Foreign text as one short line without control characters."""
    line = " ".join(text.split())
    return "".join(char for char in line if char.isprintable())[:limit]


def _choice(choice: Mapping[str, Any]) -> Chunk:
    delta = choice.get("delta")
    text = delta.get("content") if isinstance(delta, dict) else None
    logprobs = choice.get("logprobs")
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    tokens = [_token(entry) for entry in content] if isinstance(content, list) else []
    finish = choice.get("finish_reason")
    return Chunk(
        index=_count(choice.get("index")),
        text=text if isinstance(text, str) else "",
        tokens=tuple(token for token in tokens if token is not None),
        finish=finish if isinstance(finish, str) else "",
    )


def _token(entry: object) -> Token | None:
    """One entry of ``logprobs.content``; None when it is unusable."""
    if not isinstance(entry, dict) or not isinstance(entry.get("token"), str):
        return None
    raw = entry.get("bytes")
    whole = isinstance(raw, list) and all(type(byte) is int and 0 <= byte < 256 for byte in raw)
    listed = entry.get("top_logprobs")
    top = [
        (other["token"], _logprob(other.get("logprob")))
        for other in (listed if isinstance(listed, list) else [])
        if isinstance(other, dict) and isinstance(other.get("token"), str)
    ]
    data = bytes(raw) if whole and raw is not None else entry["token"].encode("utf-8", "replace")
    return Token(data, _logprob(entry.get("logprob")), tuple(sorted(top, key=lambda pair: -pair[1])))


def _logprob(value: object) -> float:
    """A log-probability, kept within what ``exp`` and JSON can bear."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return _LEAST
    return float(max(_LEAST, min(0.0, value)))


def _usage(value: object) -> tuple[int, int, int] | None:
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return _count(value.get("prompt_tokens")), _count(cached), _count(value.get("completion_tokens"))


def _count(value: object) -> int:
    """A non-negative integer, 0 for anything else."""
    return value if type(value) is int and 0 <= value < 1 << 40 else 0
