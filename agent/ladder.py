"""From the settings to the files of a ladder: the built-in model or a 16-bit GGUF, and its other tiers.

Tiers that are missing are made from the 16-bit file on first use (``backends.models.tiers``) and kept in the cache.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.paths import Folders
from agent.settings import Settings, TierSettings
from backends.types import EIGHT, FOUR, SIXTEEN, LadderSpec, TierSpec

BUILT_IN = "pocket"
REMOTE = "openai"
"""The backend of a tier that is a server."""
DEFAULT_CTX = 4096
NAMES = (FOUR, EIGHT, SIXTEEN)
Progress = Callable[[str, float], None]
"""Called with the tier being made and the share done, 0..1."""


def model_name(settings: Settings) -> str:
    """The name under which replies of this model are recorded."""
    explicit = _explicit(settings)
    if settings.model == BUILT_IN and not _replaces_model(explicit):
        return BUILT_IN
    source = explicit[-1].path if _replaces_model(explicit) else Path(settings.model)
    return source.name.removesuffix(".gguf")


def same(one: Settings, other: Settings) -> bool:
    """Whether both describe the same ladder, run in the same way."""
    return (one.model, one.tiers, one.engine) == (other.model, other.tiers, other.engine)


def predicted(spec: LadderSpec, folder: Path) -> dict[str, int]:
    """Bytes each llama.cpp tier is predicted to take in main memory, the cache included (``fovea plan`` tells more)."""
    from backends.errors import ModelFileError
    from backends.models.gguf_file import read_model
    from backends.plan.estimate import Run, estimate
    from backends.plan.fit import SPARE_SEQUENCES
    from backends.plan.hardware import detect
    from backends.plan.layout import layout_of

    run = Run(spec.ctx, spec.batch_size, spec.n_parallel + SPARE_SEQUENCES, features=detect(folder).features)
    found = {}
    for tier in spec.tiers:
        if tier.backend == "llama":
            with contextlib.suppress(ModelFileError):
                found[tier.name] = estimate(layout_of(read_model(tier.path)), run).least
    return found


def source_path(settings: Settings, data: Path) -> Path:
    """The file or folder the settings name. Raises ModelFileError when there is none."""
    from backends import pocket
    from backends.errors import ModelFileError
    from backends.models.collection import Collection

    if settings.model != BUILT_IN:
        return Collection(data).resolve(settings.model)
    try:
        return pocket.path()
    except FileNotFoundError as error:
        raise ModelFileError(str(error)) from error


def build(settings: Settings, folders: Folders, progress: Progress | None = None) -> LadderSpec:
    """The ladder to load; makes the tiers that are missing.

    Raises:
        BackendError: the model file is missing or damaged, or a tier cannot be made.
    """
    engine = settings.engine
    tiers = _explicit(settings)
    if not _replaces_model(tiers):
        named = {tier.name for tier in tiers}
        tiers = tuple(t for t in _found(settings, folders, progress) if t.name not in named) + tiers
    return LadderSpec(
        tiers=tiers,
        ctx=engine.ctx or _default_ctx(tiers),
        batch_size=engine.batch_size,
        n_parallel=engine.n_parallel,
        threads=engine.threads,
    )


def has_remote(settings: Settings) -> bool:
    """Whether a tier is a server."""
    return any(spec.backend == REMOTE for spec in _explicit(settings))


def _default_ctx(tiers: tuple[TierSpec, ...]) -> int:
    """What the model was made for, but not more than a small machine has memory for."""
    from backends.models.gguf_file import read_model
    from backends.transformers_engine.check import check

    first = next((tier for tier in tiers if tier.backend != REMOTE), None)
    if first is None:
        return DEFAULT_CTX
    made_for = check(first.path).context if first.path.is_dir() else read_model(first.path).context
    return min(made_for or DEFAULT_CTX, DEFAULT_CTX)


def _explicit(settings: Settings) -> tuple[TierSpec, ...]:
    """The tiers named in the settings, low to high."""
    known = {name: at for at, name in enumerate(NAMES)}
    ordered = sorted(settings.tiers.items(), key=lambda item: known.get(item[0], len(known)))
    return tuple(_chosen(settings, name, value) for name, value in ordered)


def _replaces_model(tiers: tuple[TierSpec, ...]) -> bool:
    """Whether the named tiers stand in place of the model's own; servers alone are added to them."""
    return any(tier.backend != REMOTE for tier in tiers)


def _chosen(settings: Settings, name: str, value: str | TierSettings) -> TierSpec:
    tier = TierSettings(path=value) if isinstance(value, str) else value
    address = tier.url or (tier.path if tier.path.startswith(("http://", "https://")) else "")
    if address:
        options = {**tier.options, "url": address, "model": tier.model}
        return TierSpec(name, Path(name), backend=REMOTE, options=options)
    return _spec(settings, name, Path(tier.path).expanduser(), tier.options)


def _found(settings: Settings, folders: Folders, progress: Progress | None) -> tuple[TierSpec, ...]:
    from backends.errors import TierError
    from backends.models.gguf_file import read_model
    from backends.models.tiers import ensure_tier
    from backends.transformers_engine.check import check

    source = source_path(settings, folders.data)
    if source.is_dir():
        own = check(source).own_tier
        return tuple(_spec(settings, name, source) for name in ([own] if own else NAMES))
    own = read_model(source).tier
    # A file of 6, 5 or 3 bits is a ladder of itself: none of the three tiers can be made from it.
    names = NAMES if own in NAMES else (own,)
    specs = []
    for name in names:
        step = None if progress is None else _named(progress, name)
        try:
            specs.append(_spec(settings, name, ensure_tier(source, name, folders.cache, step)))
        except TierError:
            # A 4-bit file alone has no higher tiers: the ladder is what can be had from it.
            if name == own:
                raise
    return tuple(specs)


def _named(progress: Progress, name: str) -> Callable[[float], None]:
    return lambda share: progress(name, share)


def _spec(settings: Settings, name: str, path: Path, options: Mapping[str, str] | None = None) -> TierSpec:
    engine = settings.engine
    return TierSpec(
        name,
        path,
        backend="transformers" if path.is_dir() else "llama",
        n_gpu_layers=engine.n_gpu_layers,
        tensor_split=engine.tensor_split,
        options=dict(options or {}),
    )
