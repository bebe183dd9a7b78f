"""``fovea plan --serve vllm``: command lines for a server with graphics cards, from the plan's figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from tui.commands.model_tools import cache_folder, resolve

if TYPE_CHECKING:
    from backends.plan.layout import Layout

_DEFAULT_CTX = 8192


def show_serving(models: tuple[str, ...], cards: str, ctx: int) -> None:
    """Print the lines for each model: a repository of the guide (``Qwen/Qwen3-8B``) a folder, or a 16-bit GGUF file."""
    from backends.plan.serve import vllm

    if not models:
        raise click.UsageError(
            "--serve needs a model: a repository such as Qwen/Qwen3-8B, a folder of safetensors, or a GGUF file."
        )
    count, size = _cards(cards)
    for name in models:
        layout, repo, remark, stored = _model(name)
        serving = vllm(layout, repo, cards=count, card_bytes=size, ctx=ctx or _DEFAULT_CTX, stored=stored)
        click.echo("\n".join(serving.commands))
        click.echo("\n".join(f"# {reason}" for reason in (*serving.reasons, *remark)))


def _cards(text: str) -> tuple[int, int]:
    """Number and bytes of the cards: those named, those found, or one of 24 GB."""
    if text:
        match = re.fullmatch(r"(\d{1,3})x(\d{1,4}(?:\.\d+)?)", text.lower())
        if match is None or int(match[1]) < 1:
            raise click.UsageError(f"--cards {text!a} is not of the form COUNTxGB, such as 4x24.")
        return int(match[1]), int(float(match[2]) * 1e9)
    from backends.plan.hardware import detect

    found = [gpu for gpu in detect(cache_folder()).gpus if gpu.kind in ("nvidia", "amd")]
    if not found:
        click.echo("# no graphics card found here: planned for one of 24 GB (--cards 4x80 for others)")
        return 1, 24_000_000_000
    return len(found), min(gpu.total for gpu in found)


def _model(name: str) -> tuple[Layout, str, tuple[str, ...], str]:
    """Its sizes, its name for vLLM, remarks, and how it came quantized (empty: not)."""
    from backends.models.gguf_file import read_model
    from backends.plan.layout import layout_of, layout_of_shape
    from backends.plan.shapes import FAMILIES

    for family in FAMILIES:
        if name in (family.source, family.name):
            return layout_of_shape(family.shape), family.source, (), ""
    path = resolve(name)
    if path.is_dir():
        from backends.plan.folder import tiers_of_folder
        from backends.transformers_engine.check import check

        found = check(path).quantization
        layout = list(tiers_of_folder(path, card=True).values())[-1][0]
        return layout, str(path), (), found.need.name if found else ""
    model = read_model(path)
    remark = "put the original repository in place of MODEL: vLLM reads GGUF only experimentally, and slower"
    return layout_of(model), "MODEL", (remark,), ""
