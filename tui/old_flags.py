"""Flags that people know from text-generation-webui and llama.cpp, turned into fovea's own before they are parsed.

A flag that has an equivalent is translated silently. One that means nothing here any more is left out, and a line says
what took its place. ``fovea --model FILE --load-in-8bit --chat``, without a command, is ``fovea chat``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

COMMANDS = frozenset({"chat", "ask", "serve"})
"""Commands whose flags are looked at."""


@dataclass(frozen=True, slots=True)
class Old:
    """One old flag."""

    values: int = 0
    """1: it takes a value."""
    new: Callable[[str], list[str]] | None = None
    """Its value (empty without one) -> fovea's own flags."""
    said: str = ""
    """What took its place, where it is left out."""


def _wbits(value: str) -> list[str]:
    if value not in {"4", "8", "16"}:
        raise click.UsageError(f"--wbits {value!a}: there are tiers of 4, 8 and 16 bits")
    return ["--tier", f"{value}-bit"]


def _extensions(value: str) -> list[str]:
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in {"memory", "rag"}]
    if unknown:
        raise click.UsageError(f"--extensions {unknown[0]!a}: there are memory and rag, and both are built in")
    # Memory without rag is notes and word search: no embedding model is loaded.
    words = [] if "rag" in names else ["--set", "memory.embedding_model=none"]
    return ["--set", "memory.recall=true", *words]


def _set(key: str) -> Callable[[str], list[str]]:
    return lambda value: ["--set", f"{key}={value}"]


_MEMORY = (
    "fovea fits the tiers to the memory there is by itself; `fovea plan` shows how, engine.n_gpu_layers changes it"
)
_QUANT = "the tiers of a folder are int8 and nf4; the option `quant` of a tier chooses fp4"
_FILE = "a quantized folder says this itself in its config.json, and GGUF has blocks of its own"
OLD = {
    "--load-in-8bit": Old(new=lambda _: ["--tier", "8-bit"]),
    "--load-in-4bit": Old(new=lambda _: ["--tier", "4-bit"]),
    "--wbits": Old(1, _wbits),
    "--extensions": Old(1, _extensions),
    "--threads": Old(1, _set("engine.threads")),
    "--n-gpu-layers": Old(1, _set("engine.n_gpu_layers")),
    "--gpu-layers": Old(1, _set("engine.n_gpu_layers")),
    "--cpu": Old(new=lambda _: ["--set", "engine.n_gpu_layers=0"]),
    "--tensor-split": Old(1, lambda value: ["--set", f"engine.tensor_split=[{value}]"]),
    "--groupsize": Old(1, said=_FILE),
    "--model-type": Old(1, said=_FILE),
    "--pre-layer": Old(1, said="engine.n_gpu_layers is the number of layers on the graphics card"),
    "--quant-type": Old(1, said=_QUANT),
    "--use-double-quant": Old(said=_QUANT),
    "--compute-dtype": Old(1, said="the option `dtype` of a tier chooses it"),
    "--auto-devices": Old(said=_MEMORY),
    "--gpu-memory": Old(1, said=_MEMORY),
    "--cpu-memory": Old(1, said=_MEMORY),
    "--disk": Old(said="files are mapped: what does not fit is read from the disk by the system"),
    "--no-mmap": Old(said="files are always mapped, so that tiers cost memory only where they are used"),
    "--mlock": Old(said="the system keeps what is used; nothing is locked"),
    "--no-stream": Old(said="replies always stream; `fovea ask --json` prints a whole one"),
    "--cai-chat": Old(said="`fovea chat` is the app, `fovea chat --plain` the line mode"),
    "--notebook": Old(said="`fovea chat` is the app; a reply can be edited and continued there"),
    "--share": Old(said="nothing is sent to others; `fovea chat --listen HOST:PORT --public` serves your own network"),
    "--api": Old(said="`fovea serve` is the API"),
    "--trust-remote-code": Old(said="code from a model's folder is never run"),
}
"""Old flag, dashes for underscores -> what becomes of it."""


def translated(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line with old flags turned into new ones, and lines that say what was left out.

    Raises:
        click.UsageError: an old flag lacks its value, or has an impossible one.
    """
    given = list(arguments)
    if given and given[0].startswith("-") and given[0] not in {"-h", "--help", "--version", "--"}:
        given = ["chat", *given]  # the old program had no commands
    if not given or given[0] not in COMMANDS:
        return list(arguments), []
    left = given[:1]
    said: list[str] = []
    rest = iter(given[1:])
    for part in rest:
        if part == "--":
            return [*left, part, *rest], said
        flag, equals, value = part.partition("=")
        if flag == "--chat" and left[0] == "chat":
            continue
        old = OLD.get(flag.replace("_", "-")) if flag.startswith("--") else None
        if old is None:
            left.append(part)
            continue
        if old.values and not equals:
            value = next(rest, "")
            if not value:
                raise click.UsageError(f"{flag} needs a value")
        if old.new is not None:
            left += old.new(value)
        else:
            said.append(f"{flag} was left out: {old.said}")
    return left, said
