"""One message a line, both ways: the number of the order, a word, a JSON value.

Parent to host: ``7 run {…}``; host to parent: ``7 Step {…}``. The values are the dataclasses of ``backends.types``;
pydantic reads them from the bytes and checks them in one go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter

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
    return b"%d %s %s\n" % (number, op.encode(), body)


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
    return b"%d %s %s\n" % (number, kind.__name__.encode(), _adapter(kind).dump_json(value))


def read_order(line: bytes) -> tuple[int, str, Any]:
    """(number, op, value) of a line from the parent. Raises HostError."""
    try:
        number, op, body = line.split(b" ", 2)
        kind = OPS.get(op.decode())
        return int(number), op.decode(), _adapter(kind).validate_json(body) if kind else None
    except ValueError as error:  # pydantic's ValidationError is one
        raise HostError(f"The engine host got an order it cannot read: {error}") from error


def number_of(line: bytes) -> int | None:
    """The number of a line whose value cannot be read, if that much can be told."""
    number = line.split(b" ", 1)[0]
    return int(number) if number.isdigit() else None


def read_answer(line: bytes) -> tuple[int, Any]:
    """(number, value) of a line from the host. Raises HostError."""
    try:
        number, kind, body = line.split(b" ", 2)
        return int(number), _adapter(_BY_NAME[kind.decode()]).validate_json(body)
    except (ValueError, KeyError) as error:
        raise HostError(f"The engine host sent something that cannot be read: {error}") from error
