"""Which engine opens which tier."""

from __future__ import annotations

from backends.errors import LoadError
from backends.stepper import Stepper
from backends.threads import choose_threads, governor
from backends.types import LadderSpec, TierSpec


def open_stepper(tier: TierSpec, ladder: LadderSpec) -> Stepper:
    """Load one tier with the engine its ``backend`` names.

    Raises:
        ModelFileError: the file is missing or damaged.
        LoadError: the engine refused it, or the engine is not installed.
    """
    if tier.backend == "llama":
        from backends.llama.stepper import LlamaOptions, LlamaStepper
        from backends.models.gguf_file import read_model

        read_model(tier.path)  # damaged files must not reach native code
        stepper = LlamaStepper(
            tier.path,
            LlamaOptions(
                ctx=ladder.ctx,
                batch_size=ladder.batch_size,
                sequences=ladder.n_parallel + 12,
                threads=ladder.threads,
                n_gpu_layers=tier.n_gpu_layers,
                tensor_split=tier.tensor_split,
            ),
        )
        if ladder.threads <= 0:
            chosen = choose_threads(stepper)
            stepper.governor = governor(chosen) if not tier.n_gpu_layers else None
        return stepper
    if tier.backend == "transformers":
        from backends.transformers_engine.load import TransformersOptions
        from backends.transformers_engine.load import open_stepper as open_transformers

        return open_transformers(tier.path, TransformersOptions.of(tier, ladder))
    raise LoadError(f"Unknown backend {tier.backend!r} for the {tier.name} tier: use llama, transformers or openai.")
