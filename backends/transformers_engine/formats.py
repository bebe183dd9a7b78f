"""Recognises how a checkpoint is quantized, from ``config.json`` alone, and says what running it needs.

Written from transformers' quantizers (``transformers/quantizers/auto.py`` and the ``validate_environment`` of each), so
that a missing package or card is named before gigabytes are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from backends.errors import ModelFileError


@dataclass(frozen=True, slots=True)
class Need:
    """What one quantization method needs beyond torch and transformers."""

    name: str
    """The name people know it by."""
    packages: tuple[tuple[str, str], ...] = ()
    """(module to import, package to install)."""
    cuda: float = 0.0
    """Smallest CUDA compute capability; 0: runs on a CPU as well."""
    note: str = ""


RUNS = (("torch", "torch"), ("transformers", "transformers"), ("safetensors", "safetensors"))
"""What any folder of safetensors needs, quantized or not: (module, package)."""
OWN_EXTRA = {"gptq": "gptqmodel", "awq": "gptqmodel", "auto-round": "autoround"}
"""Methods whose packages have wishes of their own about versions -> the extra of fovea that knows them."""

NEEDS = {
    "bitsandbytes": Need("bitsandbytes", (("bitsandbytes", "bitsandbytes"), ("accelerate", "accelerate"))),
    "gptq": Need("GPTQ", (("gptqmodel", "gptqmodel"), ("optimum", "optimum"))),
    "awq": Need("AWQ", (("gptqmodel", "gptqmodel"), ("accelerate", "accelerate"))),
    "auto-round": Need("AutoRound", (("auto_round", "auto-round"),)),
    "compressed-tensors": Need("compressed-tensors", (("compressed_tensors", "compressed-tensors"),)),
    "fp8": Need(
        "FP8 (E4M3)", (("accelerate", "accelerate"),),
        note="without a card of compute capability 8.9 (RTX 40, H100) it is unpacked to bf16: twice the memory",
    ),
    "fbgemm_fp8": Need("FBGEMM FP8", (("fbgemm_gpu", "fbgemm-gpu"), ("accelerate", "accelerate")), cuda=9.0),
    "hqq": Need("HQQ", (("hqq", "hqq"),)),
    "quanto": Need("Quanto", (("optimum.quanto", "optimum-quanto"),)),
    "torchao": Need("torchao", (("torchao", "torchao"),)),
    "aqlm": Need("AQLM", (("aqlm", "aqlm"),), cuda=7.0),
    "eetq": Need("EETQ", (("kernels", "kernels"),), cuda=7.0),
    "mxfp4": Need("MXFP4", (("triton", "triton"), ("kernels", "kernels")), cuda=7.5),
    "bitnet": Need("BitNet", (("accelerate", "accelerate"),)),
}  # fmt: skip
"""``quant_method`` of a config.json -> what it needs."""

ALIASES = {
    "autoround": "auto-round",
    "intel/auto-round": "auto-round",
    "gptqmodel": "gptq",
    "compressed_tensors": "compressed-tensors",
}
NAMED_WIDTHS = {"hqq": "quant_config", "quanto": "weights", "torchao": "quant_type"}
"""Methods that write the width into a name or a nested object -> the field it is in."""
_WIDTH = re.compile(r"(?:nbits\W+|int|float)([1-8])(?![0-9])", re.IGNORECASE)
_HQQ_WIDTH = re.compile(r"weight_quant_params\W.{0,500}?nbits\W+([1-8])(?![0-9])", re.DOTALL)
"""The weights' own, not that of their scales, which may stand before it."""
_WEIGHT_WIDTH = re.compile(r"(?:int|float)([1-8])_?weight", re.IGNORECASE)
"""``'nbits': 8``, ``int8``, ``Int4WeightOnlyConfig``, ``float8``."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """How a checkpoint is quantized."""

    method: str
    """A key of ``NEEDS``."""
    bits: int
    """Bits of a weight where the config tells, else 0."""
    group_size: int = 0

    @property
    def need(self) -> Need:
        """What running it needs."""
        return NEEDS[self.method]


def recognise(config: Mapping[str, object], where: str) -> Quantization | None:
    """The quantization a ``config.json`` declares, or None for plain weights.

    Args:
        config: the parsed config.json.
        where: the file, for messages.

    Raises:
        ModelFileError: the config names a method fovea does not know.
    """
    text_config = config.get("text_config")
    declared = config.get("quantization_config")
    if declared is None and isinstance(text_config, dict):
        declared = text_config.get("quantization_config")
    if declared is None:
        declared = config.get("compression_config")
    if declared is None:
        return None
    if not isinstance(declared, dict):
        raise ModelFileError(
            f"{where}: quantization_config is not an object. Take config.json from the model's page again."
        )
    named = declared.get("quant_method", "")
    if not named and (declared.get("load_in_4bit") or declared.get("load_in_8bit")):
        named = "bitsandbytes"
    method = ALIASES.get(str(named).lower(), str(named).lower())
    if method not in NEEDS:
        raise ModelFileError(
            f"{where}: unknown quantization {str(named)[:40]!r}. Known: {', '.join(sorted(NEEDS))}. "
            "Take the 16-bit checkpoint or a GGUF file of this model instead."
        )
    return Quantization(method, _bits(method, declared), _number(declared.get("group_size")))


def _bits(method: str, declared: Mapping[str, object]) -> int:
    """Bits of a weight, 0 when the config does not tell."""
    if method == "bitsandbytes":
        return 4 if declared.get("load_in_4bit") else 8
    if method in {"fp8", "fbgemm_fp8", "eetq"}:
        return 8
    if method in NAMED_WIDTHS:
        told = str(declared.get(NAMED_WIDTHS[method]))[:2000]
        found = _WEIGHT_WIDTH.search(told) or _HQQ_WIDTH.search(told) or _WIDTH.search(told)
        return int(found[1]) if found else 0
    if method == "compressed-tensors":
        groups = declared.get("config_groups")
        for group in groups.values() if isinstance(groups, dict) else ():
            weights = group.get("weights") if isinstance(group, dict) else None
            if isinstance(weights, dict):
                return _number(weights.get("num_bits"))
        return 0
    return _number(declared.get("bits", declared.get("w_bit")))


def _number(value: object) -> int:
    """``value`` as a small non-negative integer, 0 for anything else."""
    return value if type(value) is int and 0 <= value <= 4096 else 0


def missing(quantization: Quantization, capability: float | None) -> str:
    """One line on what stops this machine from running a quantized checkpoint; empty when nothing does.

    Args:
        quantization: from ``recognise``.
        capability: CUDA compute capability of the card, None without one.
    """
    need = quantization.need
    if need.cuda and (capability is None or capability < need.cuda):
        return (
            f"{need.name} needs an NVIDIA card of compute capability {need.cuda} or newer "
            f"({'none is here' if capability is None else f'this one has {capability}'}). "
            "Take a GGUF file of this model instead."
        )
    absent = absent_packages(need.packages)
    if not absent:
        return ""
    if extra := OWN_EXTRA.get(quantization.method):
        return (
            f"{need.name} needs {' and '.join(absent)}: pip install 'fovea-agent[transformers,{extra}]', best in an "
            "environment of its own (it has its own wishes about versions)"
        )
    return f"{need.name} needs {' and '.join(absent)}: pip install {' '.join(absent)}"


def absent_packages(wanted: Iterable[tuple[str, str]]) -> list[str]:
    """Those of (module, package) that are not installed, by the name to install."""
    return [package for module, package in wanted if not _importable(module)]


def folders_need(absent: Iterable[str]) -> str:
    """What to install before any folder of safetensors runs."""
    return f"Folders of safetensors need {' and '.join(absent)}: pip install 'fovea-agent[transformers]'"


def _importable(module: str) -> bool:
    """Whether a module is installed, without importing it (its parent packages are)."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
