"""Opens a folder of safetensors as a Stepper.

Only files on this machine are read: the hub is never asked, code from the folder is never run, pickles are never
opened.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backends.errors import BackendError, LoadError, ModelFileError
from backends.stepper import Stepper
from backends.transformers_engine.check import Checkpoint, check
from backends.transformers_engine.formats import NEEDS, RUNS, absent_packages, folders_need, missing
from backends.types import EIGHT, FOUR, SIXTEEN, LadderSpec, TierSpec

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
UNPACKED = frozenset({"fp8"})
"""Methods whose weights transformers unpacks while loading where there is no card."""
QUANTS = ("none", "int8", "nf4", "fp4")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Set before transformers is imported."""


@dataclass(frozen=True, slots=True)
class TransformersOptions:
    """How to open a folder of safetensors."""

    dtype: str = "auto"
    """Type of unquantized weights and of the cache: ``auto`` (as stored), ``bf16``, ``fp16`` or ``fp32``."""
    quant: str = "none"
    """Quantize while loading, through bitsandbytes: ``none``, ``int8``, ``nf4`` or ``fp4``."""
    device: str = "auto"
    """``auto`` (CUDA where there is a card), ``cpu``, ``cuda`` or ``cuda:N``."""
    ctx: int = 4096
    batch_size: int = 512
    sequences: int = 8
    threads: int = 0
    tensor_split: tuple[float, ...] = ()
    """Shares of the cards when there are several."""
    tier: str = ""
    """Where ``quant`` follows from the name of a tier, that name: a checkpoint that is quantized already is that tier
    or none."""

    @classmethod
    def of(cls, tier: TierSpec, ladder: LadderSpec) -> TransformersOptions:
        """From a ladder's settings: 4-bit means nf4 and 8-bit means int8, unless the tier's options say otherwise.

        Raises:
            LoadError: an option has a value that is not known.
        """
        usual = {FOUR: "nf4", EIGHT: "int8"}.get(tier.name, "none")
        return cls(
            dtype=_choice(tier.options, "dtype", ("auto", *DTYPES), "auto"),
            quant=_choice(tier.options, "quant", QUANTS, usual),
            device=tier.options.get("device", "auto"),
            ctx=ladder.ctx,
            batch_size=ladder.batch_size,
            sequences=ladder.n_parallel + 12,  # those being written, and the conversations a ladder keeps
            threads=ladder.threads,
            tensor_split=tier.tensor_split,
            tier="" if "quant" in tier.options else tier.name,
        )


def _choice(options: Mapping[str, str], name: str, allowed: tuple[str, ...], usual: str) -> str:
    """One option, checked. Raises LoadError."""
    value = options.get(name, usual)
    if value not in allowed:
        raise LoadError(f"The option {name}: {value[:40]!r} of a transformers tier is none of {', '.join(allowed)}.")
    return value


def open_stepper(folder: Path, options: TransformersOptions | None = None) -> Stepper:
    """Load a checkpoint.

    Raises:
        ModelFileError: the folder is not a whole model, or one fovea does not run.
        LoadError: a package or the hardware is missing, or the model could not be loaded.
    """
    options = options or TransformersOptions()
    checkpoint = check(folder)
    options = _as_stored(checkpoint, options)
    _require(RUNS)
    os.environ.update(OFFLINE)
    return _open(checkpoint, options)


def _as_stored(checkpoint: Checkpoint, options: TransformersOptions) -> TransformersOptions:
    """For a checkpoint that is quantized already: the options of the one tier it is. Raises LoadError for others."""
    found = checkpoint.quantization
    if found is None or options.tier not in {FOUR, EIGHT, SIXTEEN}:
        return options
    own = checkpoint.own_tier
    if options.tier != own:
        raise LoadError(
            f"{checkpoint.path.name}: holds {own} weights ({found.need.name}); it has no {options.tier} tier."
        )
    return replace(options, quant="none")


def _open(checkpoint: Checkpoint, options: TransformersOptions) -> Stepper:
    """Load a checked checkpoint as a Stepper."""
    from backends.transformers_engine.stepper import TransformersStepper
    from backends.transformers_engine.tokens import Vocabulary

    model, tokenizer = open_model(checkpoint, options)
    output = model.get_output_embeddings()
    if output is None:
        raise ModelFileError(f"{checkpoint.path}: {checkpoint.architecture} is not a model that writes text.")
    vocabulary = Vocabulary(tokenizer, int(output.weight.shape[0]), _end_ids(model))
    if checkpoint.quantization is not None:
        _try_it(checkpoint, model)
    return TransformersStepper(
        model, vocabulary, ctx=options.ctx, batch_size=options.batch_size, sequences=options.sequences
    )


def _try_it(checkpoint: Checkpoint, model: Any) -> None:
    """One token through a model that came quantized. Raises LoadError.

    Kernels of such formats are chosen, and packed weights unpacked, when they are first used. Better here, with a line
    that names the folder, than in the middle of a reply.
    """
    import torch

    with _named(checkpoint), torch.inference_mode():
        device = model.get_input_embeddings().weight.device
        model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=device), use_cache=False)


def open_model(checkpoint: Checkpoint, options: TransformersOptions) -> tuple[Any, Any]:
    """The model and the tokenizer of a checked checkpoint. Raises LoadError or ModelFileError."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    _quieten()
    if options.threads > 0:
        torch.set_num_threads(options.threads)
    device = _device(options.device, torch)
    _check_hardware(checkpoint, device, torch)
    safe: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    with _named(checkpoint):
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, **safe)
        model, report = AutoModelForCausalLM.from_pretrained(
            checkpoint.path,
            use_safetensors=True,
            dtype=getattr(torch, DTYPES.get(options.dtype, ""), "auto"),
            # Without these, tensors that do not fit raise a pointer to a log, and missing ones are made up at random.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_bitsandbytes(checkpoint, options, torch),
            **_placement(device, options, torch),
            **safe,
        )
    _check_report(checkpoint, report)
    if checkpoint.quantization is not None and checkpoint.quantization.method in UNPACKED and device == "cpu":
        _one_type(model)
    return model.eval(), tokenizer


def _one_type(model: Any) -> None:
    """Give all weights the type of the embeddings: unpacked formats may mix types that cannot be multiplied."""
    dtype = model.get_input_embeddings().weight.dtype
    if {p.dtype for p in model.parameters() if p.is_floating_point()} > {dtype}:
        model.to(dtype)


def _device(wanted: str, torch: Any) -> str:
    """``auto`` resolved; a CUDA device that is not there is a LoadError."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise LoadError(
            f"device: {wanted} was asked for, but torch {torch.__version__} sees no CUDA card here. Set device: cpu."
        )
    return wanted


def _check_hardware(checkpoint: Checkpoint, device: str, torch: Any) -> None:
    """Raises LoadError when a quantized checkpoint cannot run here."""
    if checkpoint.quantization is None:
        return
    capability = None
    if device.startswith("cuda"):
        major, minor = torch.cuda.get_device_capability()
        capability = major + minor / 10
    problem = missing(checkpoint.quantization, capability)
    if problem:
        raise LoadError(f"{checkpoint.path.name}: {problem}")


def _bitsandbytes(checkpoint: Checkpoint, options: TransformersOptions, torch: Any) -> dict[str, Any]:
    """The settings for quantizing while loading; none for weights as they are. Raises LoadError."""
    if options.quant == "none":
        return {}
    if checkpoint.quantization is not None:
        raise LoadError(
            f"{checkpoint.path.name}: is already quantized ({checkpoint.quantization.need.name}) and cannot be turned "
            f"into {options.quant}. Set quant: none, or take the 16-bit checkpoint."
        )
    _require(NEEDS["bitsandbytes"].packages)
    from transformers import BitsAndBytesConfig

    if options.quant == "int8":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    stored = {"F16": "float16", "F32": "float32"}.get(checkpoint.dtype, "bfloat16")
    compute = getattr(torch, DTYPES.get(options.dtype, stored))
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type=options.quant, bnb_4bit_compute_dtype=compute)
    return {"quantization_config": config}


def _check_report(checkpoint: Checkpoint, report: Mapping[str, Any]) -> None:
    """Raises ModelFileError when config.json and the weights are not of one model."""
    odd = sorted(str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"])
    if odd:
        raise ModelFileError(
            f"{checkpoint.path}: {len(odd)} weights, first {odd[0]}, have another shape than config.json says. "
            "Take both from the same model."
        )
    absent = sorted(map(str, report["missing_keys"]))
    if absent:
        raise ModelFileError(
            f"{checkpoint.path}: lacks {len(absent)} weights of a {checkpoint.architecture}, first {absent[0]}. "
            "Is the download complete, and is it a model that writes text?"
        )


def _placement(device: str, options: TransformersOptions, torch: Any) -> dict[str, Any]:
    """Where the weights go: one device, or spread over the cards in the shares of ``tensor_split``."""
    cards = torch.cuda.device_count() if device == "cuda" else 0
    if cards < 2:
        return {"device_map": {"": device}}
    shares = options.tensor_split or tuple(1.0 for _ in range(cards))
    whole = sum(shares[:cards]) or 1.0
    free = [torch.cuda.mem_get_info(card)[0] for card in range(cards)]
    # The largest total that respects every share and every card's free memory, with a tenth left for the cache.
    total = min((free[i] * whole / share for i, share in enumerate(shares[:cards]) if share > 0), default=0)
    budget = {i: int(0.9 * total * share / whole) for i, share in enumerate(shares[:cards])}
    return {"device_map": "auto", "max_memory": budget}


def _end_ids(model: Any) -> list[int]:
    """Tokens the checkpoint's generation settings call an end."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    if ends is None:
        ends = getattr(model.config, "eos_token_id", None)
    if isinstance(ends, int):
        return [ends]
    return [end for end in ends or () if isinstance(end, int)]


def _require(packages: Iterable[tuple[str, str]]) -> None:
    """Raises LoadError that names what to install. ``packages``: (module, package)."""
    if absent := absent_packages(packages):
        raise LoadError(f"{folders_need(absent)} (or use a GGUF file).")


@contextlib.contextmanager
def _named(checkpoint: Checkpoint) -> Iterator[None]:
    """Turns what transformers raises into one line that names the folder."""
    try:
        yield
    except BackendError:
        raise
    except (MemoryError, RuntimeError, ImportError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
            hint = "Not enough memory; take a lower tier or a smaller ctx."
        elif "same dtype" in str(error):
            hint = "Its weights are unpacked to another type than the rest has; set the tier's option dtype: bf16."
        elif checkpoint.custom_code:
            hint = (
                "The folder brings Python code of its own, which fovea never runs; take the GGUF version of this model."
            )
        else:
            hint = "Update transformers, or take the GGUF version of this model."
        raise LoadError(f"{checkpoint.path.name}: transformers could not load it: {first[:300]} {hint}") from error


def _quieten() -> None:
    """No progress bars and no advice on the terminal."""
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    for name in ("bitsandbytes", "accelerate", "torch"):
        logging.getLogger(name).setLevel(logging.ERROR)
