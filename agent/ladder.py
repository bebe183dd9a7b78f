"""From the settings to the files of a ladder: the built-in model or a 16-bit GGUF, and its other tiers.

Tiers that are missing are made from the 16-bit file on first use (``backends.models.tiers``) and kept in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.settings import Settings
from backends.types import EIGHT, FOUR, SIXTEEN, LadderSpec, TierSpec

BUILT_IN = "pocket"
DEFAULT_CTX = 4096
NAMES = (FOUR, EIGHT, SIXTEEN)
Progress = Callable[[str, float], None]
"""Called with the tier being made and the share done, 0..1."""


def model_name(settings: Settings) -> str:
    """The name under which replies of this model are recorded."""
    if settings.model == BUILT_IN:
        return BUILT_IN
    source = settings.tiers.get(SIXTEEN) or next(iter(settings.tiers.values()), None) or Path(settings.model)
    return Path(source).name.removesuffix(".gguf")


def source_path(settings: Settings) -> Path:
    """The 16-bit file the settings name. Raises ModelFileError when it is not there."""
    if settings.model != BUILT_IN:
        return Path(settings.model).expanduser()
    from backends import pocket
    from backends.errors import ModelFileError

    try:
        return pocket.path()
    except FileNotFoundError as error:
        raise ModelFileError(str(error)) from error


def build(settings: Settings, cache: Path, progress: Progress | None = None) -> LadderSpec:
    """The ladder to load; makes the tiers that are missing.

    Raises:
        BackendError: the model file is missing or damaged, or a tier cannot be made.
    """
    engine = settings.engine
    tiers = _explicit(settings) if settings.tiers else _found(settings, cache, progress)
    return LadderSpec(
        tiers=tiers,
        ctx=engine.ctx or _default_ctx(tiers),
        batch_size=engine.batch_size,
        n_parallel=engine.n_parallel,
        threads=engine.threads,
    )


def _default_ctx(tiers: tuple[TierSpec, ...]) -> int:
    """What the model was made for, but not more than a small machine has memory for."""
    from backends.models.gguf_file import read_model

    return min(read_model(tiers[0].path).context or DEFAULT_CTX, DEFAULT_CTX)


def _explicit(settings: Settings) -> tuple[TierSpec, ...]:
    known = {name: at for at, name in enumerate(NAMES)}
    ordered = sorted(settings.tiers.items(), key=lambda item: known.get(item[0], len(known)))
    return tuple(_spec(settings, name, path.expanduser()) for name, path in ordered)


def _found(settings: Settings, cache: Path, progress: Progress | None) -> tuple[TierSpec, ...]:
    from backends.errors import TierError
    from backends.models.gguf_file import read_model
    from backends.models.tiers import ensure_tier

    source = source_path(settings)
    own = read_model(source).tier
    specs = []
    for name in NAMES:
        step = None if progress is None else _named(progress, name)
        try:
            specs.append(_spec(settings, name, ensure_tier(source, name, cache, step)))
        except TierError:
            # A 4-bit file alone has no higher tiers: the ladder is what can be had from it.
            if name == own:
                raise
    return tuple(specs)


def _named(progress: Progress, name: str) -> Callable[[float], None]:
    return lambda share: progress(name, share)


def _spec(settings: Settings, name: str, path: Path) -> TierSpec:
    engine = settings.engine
    return TierSpec(name, path, n_gpu_layers=engine.n_gpu_layers, tensor_split=engine.tensor_split)
