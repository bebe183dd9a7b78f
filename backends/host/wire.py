"""One JSON object a line, both ways.

Parent to host: ``{"id": 7, "op": "run", "value": {…}}``; host to parent: ``{"id": 7, "type": "Step", "value": {…}}``.
The values are the dataclasses of ``backends.types``, checked by pydantic on arrival.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backends import types
from backends.errors import HostError


@dataclass(frozen=True, slots=True)
class ScoreOrder:
    """Arguments of ``Engine.score``."""

    messages: tuple[types.Message, ...]
    reply: tuple[int, ...]
    tier: str
    against: str = ""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A list of token ids."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text to tokenize."""

    text: str


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages to count."""

    messages: tuple[types.Message, ...]


@dataclass(frozen=True, slots=True)
class Count:
    """A number of tokens."""

    count: int


OPS = {"load": types.LadderSpec, "run": types.Request, "score": ScoreOrder, "tokenize": Text, "count": Chat}
"""Operations and the type of their value; ``status``, ``cancel`` and ``close`` have none."""

_ANSWERS = (
    types.Prefill,
    types.Step,
    types.Notice,
    types.Done,
    types.Failed,
    types.LadderStatus,
    types.ForkMap,
    Tokens,
    Count,
)
_BY_NAME: dict[str, type] = {answer.__name__: answer for answer in _ANSWERS}


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def order(number: int, op: str, value: object = None) -> bytes:
    """A line for the host. Lone surrogates in foreign text are replaced: they have no UTF-8 form."""
    body = b"null"
    if value is not None:
        try:
            body = _adapter(OPS[op]).dump_json(value)
        except ValueError:
            body = json.dumps(_harmless(_adapter(OPS[op]).dump_python(value)), default=str).encode()
    return b'{"id":%d,"op":"%s","value":%s}\n' % (number, op.encode(), body)


def _harmless(value: Any) -> Any:
    """The same plain data with lone surrogates in texts replaced."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _harmless(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(item) for item in value]
    return value


def answer(number: int, value: Any) -> bytes:
    """A line for the parent."""
    kind: type = type(value)
    return b'{"id":%d,"type":"%s","value":%s}\n' % (number, kind.__name__.encode(), _adapter(kind).dump_json(value))


def read_order(line: bytes) -> tuple[int, str, Any]:
    """(id, op, value) of a line from the parent. Raises HostError."""
    try:
        raw = json.loads(line)
        op = raw["op"]
        value = _adapter(OPS[op]).validate_python(raw["value"]) if op in OPS else None
        return int(raw["id"]), op, value
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise HostError(f"The engine host got an order it cannot read: {error}") from error


def number_of(line: bytes) -> int | None:
    """The id of a line whose value cannot be read, if that much can be told."""
    found = re.match(rb'{"id":(\d+),', line)
    return int(found.group(1)) if found else None


def read_answer(line: bytes) -> tuple[int, Any]:
    """(id, value) of a line from the host. Raises HostError."""
    try:
        raw = json.loads(line)
        return int(raw["id"]), _adapter(_BY_NAME[raw["type"]]).validate_python(raw["value"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise HostError(f"The engine host sent something that cannot be read: {error}") from error
