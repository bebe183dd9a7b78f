"""Steps, usage and timing as bytes and text for the conversation file, and back.

Steps are zlib-compressed JSON, one list a step in the order of the fields: about 40 bytes a token on disk.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from agent.values import Passage
from backends.types import Alternative, Step, Timing, Usage, Why

DIGITS = 6
"""Decimals kept of probabilities and nats: far finer than any screen or calibration needs."""


def pack_steps(steps: Sequence[Step]) -> bytes:
    """Steps as bytes."""
    rows = [
        [
            s.token,
            s.text,
            s.tier,
            round(s.p, DIGITS),
            round(s.entropy, DIGITS),
            round(s.margin, DIGITS),
            round(s.density, DIGITS),
            str(s.why),
            s.seq,
            [[a.token, a.text, round(a.p, DIGITS), a.tier] for a in s.alternatives],
        ]
        for s in steps
    ]
    # Level 1: a checkpoint is written twice a second while the engine needs the processor.
    return zlib.compress(json.dumps(rows, ensure_ascii=True, separators=(",", ":")).encode(), level=1)


def unpack_steps(blob: bytes | None) -> tuple[Step, ...]:
    """Inverse of ``pack_steps``; ``None`` gives no steps."""
    if not blob:
        return ()
    rows: list[list[Any]] = json.loads(zlib.decompress(blob))
    return tuple(_step(row) for row in rows)


def _step(row: list[Any]) -> Step:
    token, text, tier, p, entropy, margin, density, why, seq, others = row
    alternatives = tuple(Alternative(*other) for other in others)
    return Step(token, text, tier, p, entropy, margin, density, Why(why), seq, alternatives)


def pack_value(value: Usage | Timing | None) -> str | None:
    """A small value as JSON."""
    return None if value is None else json.dumps(asdict(value), separators=(",", ":"))


def unpack_usage(text: str | None) -> Usage | None:
    """Inverse of ``pack_value`` for a Usage."""
    return Usage(**json.loads(text)) if text else None


def unpack_timing(text: str | None) -> Timing | None:
    """Inverse of ``pack_value`` for a Timing."""
    return Timing(**json.loads(text)) if text else None


def pack_passages(passages: Sequence[Passage]) -> str | None:
    """Passages as JSON; none give ``None``."""
    return json.dumps([asdict(p) for p in passages]) if passages else None


def unpack_passages(text: str | None) -> tuple[Passage, ...]:
    """Inverse of ``pack_passages``."""
    return tuple(Passage(**row) for row in json.loads(text)) if text else ()
