"""The catalogue of good local models: data with a date, and the names ``fovea models pull`` understands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from backends.errors import FetchError
from backends.types import EIGHT, FOUR, SIXTEEN

_FILE = Path(__file__).with_name("catalogue.yaml")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_TIERS = (FOUR, EIGHT, SIXTEEN)


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of the catalogue."""

    name: str
    repo: str
    licence: str
    about: str
    files: Mapping[str, tuple[str, float]]
    """Tier -> (quantization in the file's name, GB)."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a pull is asked for."""

    repo: str
    file: str = ""
    """A file of the repository; empty: chosen by ``quantization``."""
    quantization: str = ""
    """The quantization its name must carry; empty: the best for a ladder."""
    name: str = ""
    """What it will be called in the collection; empty: made from the file's name."""
    licence: str = ""


@cache
def catalogue() -> tuple[str, tuple[Listed, ...]]:
    """(date, models)."""
    import yaml

    data: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    models = tuple(
        Listed(
            name=entry["name"],
            repo=entry["repo"],
            licence=entry["licence"],
            about=entry["about"],
            files={tier: (str(kind), float(size)) for tier, (kind, size) in entry["files"].items()},
        )
        for entry in data["models"]
    )
    return str(data["date"]), models


def target(text: str) -> Target:
    """Understand ``NAME``, ``NAME:tier``, ``hf:owner/repo`` or ``hf:owner/repo/file``.

    Raises:
        FetchError: it is none of these, or the catalogue has no such name or tier.
    """
    if text.startswith("hf:"):
        return _on_the_hub(text.removeprefix("hf:"))
    name, _, tier = text.partition(":")
    tier = tier or SIXTEEN
    _, models = catalogue()
    found = next((model for model in models if model.name == name), None)
    if found is None:
        close = difflib.get_close_matches(name, [model.name for model in models], n=1)
        hint = f"did you mean {close[0]}?" if close else "`fovea models catalogue` lists the names."
        raise FetchError(f"{name!a} is not in the catalogue; {hint} Any other model: hf:owner/repo/file")
    if tier not in found.files:
        raise FetchError(f"{name} has no tier {tier!a}; there are {', '.join(found.files)}")
    own = name if tier == SIXTEEN else f"{name}-{tier}"
    return Target(found.repo, quantization=found.files[tier][0], name=own, licence=found.licence)


def _on_the_hub(text: str) -> Target:
    owner, _, rest = text.partition("/")
    repo, _, file = rest.partition("/")
    repo, _, tier = repo.partition(":")
    if not _REPO.fullmatch(f"{owner}/{repo}"):
        raise FetchError(f"{text!a} is not of the form hf:owner/repo or hf:owner/repo/file")
    if file and (not file.endswith(".gguf") or ".." in file.split("/") or not file.isprintable()):
        raise FetchError(f"{file!a} is not the name of a GGUF file")
    return Target(f"{owner}/{repo}", file=file, quantization=tier)


# Names of files -----------------------------------------------------------------------------------------------------

_WORDS = {FOUR: ("Q4_K_M", "Q4_0", "Q4_K_S", "IQ4_XS"), EIGHT: ("Q8_0",), SIXTEEN: ("F16", "BF16", "FP16")}
_PART = re.compile(r"-\d{5}-of-\d{5}$")


def pick(names: list[str], wanted: str = "") -> list[str]:
    """The file (all its parts) among a repository's that carries a quantization.

    Args:
        names: every file of the repository.
        wanted: a quantization or tier; empty: 16 bits (the other tiers are made from it), else 8, else 4.

    Returns:
        File names in order; empty when there is none.
    """
    files = [name for name in names if name.lower().endswith(".gguf") and "mmproj" not in name.lower()]
    wishes: list[str] = []
    if wanted:
        wishes.extend(_WORDS.get(wanted, (wanted,)))
    else:
        wishes.extend(word for tier in reversed(_TIERS) for word in _WORDS[tier])
    for word in wishes:
        found = sorted(name for name in files if _carries(name, word))
        if found:
            first = _PART.sub("", found[0].removesuffix(".gguf"))
            return [name for name in found if _PART.sub("", name.removesuffix(".gguf")) == first]
    return files if len(files) == 1 and not wanted else []


def _carries(name: str, word: str) -> bool:
    stem = _PART.sub("", Path(name).name.removesuffix(".gguf"))
    return re.search(rf"(^|[-._]){re.escape(word)}$", stem, re.IGNORECASE) is not None
