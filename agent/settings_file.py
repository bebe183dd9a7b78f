"""Reading, changing and writing ``generation_config.yaml``.

Messages name the offending key and its line. Only keys that differ from their default are written, so that a better
default of a later version reaches people who never chose otherwise.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agent.errors import SettingsError
from agent.paths import write_atomically
from agent.settings import Settings
from agent.text import SURROGATES, storable

FORMS = ("str", "TierSettings")
SHARES = frozenset({"policy.budget"})
"""Settings that are read as they are typed: in YAML ``1`` and ``1%`` would be things of two kinds."""
HEADER = "# fovea settings; every key is explained in docs/settings.md and by `fovea settings show`.\n"
Values = dict[str, Any]


def keys() -> list[str]:
    """All dotted keys, in the order of the schema."""
    return [key for key, _ in _walk(Settings().model_dump(mode="json"), Settings)]


def _walk(values: Values, model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(values[name], kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", values[name]


def flatten(settings: Settings) -> dict[str, Any]:
    """Dotted key to value, as it would be written to the file."""
    return dict(_walk(settings.model_dump(mode="json"), Settings))


def with_dotted(values: Values, changes: Mapping[str, Any]) -> Values:
    """Put dotted keys into a nested mapping.

    Raises:
        SettingsError: A key is unknown.
    """
    import copy

    known = set(keys())
    result = copy.deepcopy(values)
    for key, value in changes.items():
        if key not in known:
            raise SettingsError(f"There is no setting `{key}`{_suggestion(key, known)}")
        at = result
        *sections, name = key.split(".")
        for section in sections:
            inner = at.setdefault(section, {})
            at = inner
        at[name] = value
    return result


def parse_value(key: str, text: str) -> Any:
    """The value of ``--set key=text``: YAML, so that numbers, true/false, lists and mappings mean themselves.

    A share is left as it was typed; the settings read it.
    """
    if key in SHARES:
        return text
    try:
        return yaml.safe_load(text) if text.strip() else ""
    except yaml.YAMLError as error:
        raise SettingsError(f"`{text}` is not a value: quote it if it holds one of : {{ [ # & * !") from error


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``key=value``.

    Raises:
        SettingsError: There is no ``=``, or the value cannot be read.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise SettingsError(f"`{text}` is not of the form key=value")
    return key.strip(), parse_value(key.strip(), value)


def validated(values: Values, where: str = "", lines: Mapping[str, int] | None = None) -> Settings:
    """Check a nested mapping.

    Args:
        values: As loaded from YAML.
        where: The file, for messages.
        lines: Dotted key to line number, for messages.

    Raises:
        SettingsError: Names the first offending key, its line and what is expected.
    """
    if (strange := _not_unicode(values)) is not None:
        raise SettingsError(
            f"`{storable(strange)}` is not valid UTF-8; rename it, or make a link with a plain name and use that"
        )
    try:
        # Through JSON, because strict validation then still takes text for paths and enums but "8" never for 8.
        return Settings.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        # Of a value with several possible forms (a tier) the last form tried says most.
        problems = [problem for problem in error.errors() if problem["loc"][:2] == error.errors()[0]["loc"][:2]]
        raise SettingsError(_explain(problems[-1], where, lines or {})) from error


def load(path: Path) -> Settings:
    """Read the settings; a missing file gives the defaults.

    Raises:
        SettingsError: The file is not readable, not YAML, or holds a wrong key or value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{place}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if values is None:
        return Settings()
    if not isinstance(values, dict):
        raise SettingsError(f"{path}:1: expected `key: value` lines, found {_kind(values)}")
    return validated(values, str(path), dict(_lines(node)))


def save(path: Path, changes: Mapping[str, Any]) -> Settings:
    """Change some keys of the file, atomically; the result is validated before anything is written.

    Raises:
        SettingsError: A key or value is wrong; the file is as it was.
        StorageError: The file cannot be written; it is as it was.
    """
    settings = load(path).with_values(dict(changes))
    chosen = settings.model_dump(mode="json", exclude_defaults=True)
    body = yaml.safe_dump(chosen, sort_keys=False, allow_unicode=True) if chosen else ""
    write_atomically(path, HEADER + body)
    return settings


def _lines(node: yaml.Node | None, prefix: str = "") -> Iterator[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        yield name, key.start_mark.line + 1
        yield from _lines(value, f"{name}.")
        if isinstance(value, yaml.SequenceNode):
            for index, item in enumerate(value.value):
                yield f"{name}.{index}", item.start_mark.line + 1


def _explain(problem: ErrorDetails, where: str, lines: Mapping[str, int]) -> str:
    # The name of a form a value may have is not part of the key.
    parts = [str(part) for part in problem["loc"] if part not in FORMS]
    key = ".".join(parts)
    line = next((lines[k] for end in range(len(parts), 0, -1) if (k := ".".join(parts[:end])) in lines), None)
    place = f"{where}{f':{line}' if line else ''}: " if where else ""
    if problem["type"] == "extra_forbidden":
        return f"{place}there is no setting `{key}`{_suggestion(key, keys())}"
    expected = problem["msg"].removeprefix("Input should be ").rstrip(".").replace("an object", "a section with keys")
    return f"{place}`{key}` is {_kind(problem['input'])}, but should be {expected}"


def _suggestion(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean `{close[0]}`?" if close else "; `fovea settings show` lists them all"


def _not_unicode(value: Any) -> str | None:
    """The first text that no file of settings can hold: a path whose bytes are not UTF-8."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple):
        return next((found for item in value if (found := _not_unicode(item)) is not None), None)
    return str(value) if isinstance(value, str | Path) and SURROGATES.search(str(value)) else None


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"a {type(value).__name__} ({shown[:50]}…)"
