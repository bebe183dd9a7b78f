"""The tiers of one model file for the plan: those that exist, and those that could be made from it."""

from __future__ import annotations

from pathlib import Path

from backends.models.gguf_file import ModelFile, read_model
from backends.models.tiers import recipe_for, tier_path
from backends.plan.layout import Layout, layout_of
from backends.types import EIGHT, FOUR, SIXTEEN


def tiers_of(model: ModelFile, cache: Path) -> dict[str, tuple[Layout, str, Path | None]]:
    """Every tier this file is or can become. Files already made are read, the others predicted.

    Raises:
        ModelFileError: a made tier cannot be read.
    """
    own = layout_of(model)
    if model.tier not in (FOUR, EIGHT, SIXTEEN):
        return {model.tier: (own, model.recipe, model.path)}
    names = {SIXTEEN: (FOUR, EIGHT, SIXTEEN), EIGHT: (FOUR, EIGHT), FOUR: (FOUR,)}[model.tier]
    found: dict[str, tuple[Layout, str, Path | None]] = {}
    for name in names:
        if name == model.tier:
            found[name] = (own, model.recipe, model.path)
            continue
        path = tier_path(model, name, cache)
        recipe = recipe_for(model, name)
        made = path.is_file()
        found[name] = (layout_of(read_model(path)) if made else own.at(recipe), recipe, path if made else None)
    return found
