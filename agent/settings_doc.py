"""The page that explains every setting, made from the schema: ``fovea settings docs > docs/settings.md``."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
import types
from collections.abc import Iterator
from enum import Enum
from itertools import pairwise
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agent.settings import Settings

INTRO = """# Settings

All settings live in one file, `generation_config.yaml`, in the configuration folder (`fovea settings path` prints it).
Only what differs from the default needs to stand there. Every setting can be given for one run as
`--set KEY=VALUE`, and written to the file with `fovea settings set KEY VALUE`. A wrong key or value is refused with its
name and line, and nothing is changed.

The variables `FOVEA_DATA`, `FOVEA_CONFIG` and `FOVEA_CACHE` choose the three folders.

This page is made by `fovea settings docs`.
"""


def fields() -> Iterator[tuple[str, FieldInfo]]:
    """(dotted key, field) of every setting, in the order of the schema."""
    yield from _fields(Settings, "")


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def descriptions() -> dict[str, str]:
    """Dotted key to its one-line meaning: the text that stands below the field in the source."""
    return dict(_descriptions(Settings, ""))


def _descriptions(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    texts = _field_texts(model)
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _descriptions(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", texts.get(name, "")


def _field_texts(model: type[BaseModel]) -> dict[str, str]:
    (body,) = (
        node.body
        for node in ast.parse(textwrap.dedent(inspect.getsource(model))).body
        if isinstance(node, ast.ClassDef)
    )
    found = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value.value if isinstance(text.value, ast.Constant) else ""
            found[field.target.id] = " ".join(str(value).split())
    return found


def markdown() -> str:
    """The whole page."""
    parts, meanings = [INTRO], descriptions()
    section: str | None = None
    for key, info in fields():
        head = key.split(".")[0] if "." in key else ""
        if head != section:
            section = head
            title = f"`{head}`" if head else "General"
            meaning = f"\n{_section_doc(head)}\n" if head else ""
            parts.append(f"\n## {title}\n{meaning}\n| key | kind | default | meaning |\n|---|---|---|---|\n")
        default = json.dumps(_plain(info.get_default(call_default_factory=True)), ensure_ascii=False)
        meaning = meanings[key].replace("|", "\\|")
        parts.append(f"| `{key}` | {_kind(info)} | `{default}` | {meaning} |\n")
    return "".join(parts)


def _section_doc(name: str) -> str:
    kind = Settings.model_fields[name].annotation
    return (kind.__doc__ or "").strip() if kind else ""


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def _kind(info: FieldInfo) -> str:
    limits = [
        f"{sign} {_number(getattr(m, name))}" for m in info.metadata for name, sign in _LIMITS if hasattr(m, name)
    ]
    return _type(info.annotation) + (f" {', '.join(limits)}" if limits else "")


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


_LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def _type(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part) for part in inner if part is not type(None))
    names = {"bool": "yes/no", "int": "whole number", "float": "number", "str": "text", "Path": "path"}
    named = {tuple: "list", dict: "mapping"}
    return named.get(origin, names.get(getattr(kind, "__name__", ""), "value")) if origin else names[kind.__name__]
