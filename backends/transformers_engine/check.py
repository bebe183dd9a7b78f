"""Looks at a folder of safetensors before anything heavy is imported: what is it, is it whole, can it run here.

Never imports torch or transformers, never runs code from the folder, never unpickles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.errors import ModelFileError
from backends.transformers_engine.formats import Quantization, recognise
from backends.transformers_engine.safetensors_header import BITS, TensorInfo, read_header
from backends.types import EIGHT, FOUR

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
INDEX = "model.safetensors.index.json"
MAX_JSON = 64_000_000
"""Larger config or index files are not believed, bytes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that holds a whole, readable model."""

    path: Path
    architecture: str
    """Class name from config.json, such as ``LlamaForCausalLM``."""
    model_type: str
    custom_code: bool
    """The folder brings Python code of its own; fovea never runs it."""
    quantization: Quantization | None
    files: tuple[Path, ...]
    tensors: tuple[TensorInfo, ...]
    context: int = 0
    """Tokens the model was made for; 0 where the config does not tell."""

    @property
    def own_tier(self) -> str:
        """The one tier a folder is that came quantized; empty for one that can become every tier."""
        if self.quantization is None:
            return ""
        return EIGHT if self.quantization.bits == 8 else FOUR

    @property
    def bytes(self) -> int:
        """Size of all weights on disk."""
        return sum(tensor.end - tensor.begin for tensor in self.tensors)

    @property
    def dtype(self) -> str:
        """The type most bytes are stored in, such as ``BF16``."""
        sizes: dict[str, int] = {}
        for tensor in self.tensors:
            sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.end - tensor.begin
        return max(sizes, key=lambda name: (sizes[name], BITS[name])) if sizes else ""


def check(folder: Path) -> Checkpoint:
    """Read and check a checkpoint folder.

    Raises:
        ModelFileError: with one line that says what is wrong and what to do.
    """
    if not folder.is_dir():
        raise ModelFileError(
            f"{folder}: not a folder. The transformers engine wants a folder with config.json and *.safetensors."
        )
    _check_kind(folder)
    config = _json(folder / "config.json")
    quantization = recognise(config, str(folder / "config.json"))
    files = _weight_files(folder)
    tensors = tuple(tensor for file in files for tensor in read_header(file))
    architectures = config.get("architectures")
    return Checkpoint(
        path=folder,
        architecture=str(architectures[0]) if isinstance(architectures, list) and architectures else "",
        model_type=str(config.get("model_type", "")),
        custom_code="auto_map" in config,
        quantization=quantization,
        files=files,
        tensors=tensors,
        context=_context(config),
    )


def _check_kind(folder: Path) -> None:
    """Raises ModelFileError for a folder that is no checkpoint at all, rather than for what such a one would lack."""
    if (folder / "config.json").exists() or any(folder.glob("*.safetensors")):
        return
    files = sorted(path.name for path in folder.glob("*.gguf"))
    if files:
        more = f" (or another of its {len(files)})" if len(files) > 1 else ""
        raise ModelFileError(f"{folder}: a folder; name the file in it: {folder / files[0]}{more}")
    if not any(path.suffix in PICKLES for path in folder.iterdir()):
        raise ModelFileError(f"{folder}: no model in this folder. fovea runs GGUF files and folders of safetensors.")


def _context(config: Mapping[str, object]) -> int:
    """``max_position_embeddings``, 0 where it is absent or no number."""
    inner = config.get("text_config")
    for place in (config, inner if isinstance(inner, dict) else {}):
        value = place.get("max_position_embeddings", 0)
        if type(value) is int and value > 0:
            return value
    return 0


def _json(path: Path) -> dict[str, object]:
    """A JSON object from a file. Raises ModelFileError."""
    try:
        if path.stat().st_size > MAX_JSON:
            raise ModelFileError(f"{path}: larger than any such file should be. Take it from the model's page again.")
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{path}: missing. A model folder holds config.json beside its *.safetensors files."
        ) from error
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not valid JSON ({error}). Take it from the model's page again.") from error
    if not isinstance(loaded, dict):
        raise ModelFileError(f"{path}: holds no JSON object. Take it from the model's page again.")
    return loaded


def _weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a folder, all of them present. Raises ModelFileError."""
    index = folder / INDEX
    if index.exists():
        return _shards(folder, index)
    single = folder / "model.safetensors"
    if single.exists():
        return (single,)
    others = sorted(folder.glob("*.safetensors"))
    if len(others) == 1:
        raise ModelFileError(f"{folder}: {others[0].name} has an unusual name. Rename it to model.safetensors.")
    if others:
        raise ModelFileError(f"{folder}: {len(others)} safetensors files but no {INDEX}. Download that file as well.")
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickled:
        raise ModelFileError(
            f"{folder}: {pickled[0]} is a Python pickle, which can run any program when it is opened; fovea does not "
            "open it. Take the safetensors or GGUF version of this model."
        )
    raise ModelFileError(f"{folder}: no *.safetensors file in it. Is the download complete?")


def _shards(folder: Path, index: Path) -> tuple[Path, ...]:
    """The files an index names. A name that leaves the folder is refused: the index is foreign text."""
    table = _json(index).get("weight_map")
    if not isinstance(table, dict) or not table or not all(isinstance(name, str) for name in table.values()):
        raise ModelFileError(f"{index}: has no proper weight_map. Take it from the model's page again.")
    names = sorted(set(table.values()))
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ModelFileError(
                f"{index}: {name[:80]!r} is not the name of a safetensors file in this folder. It is not opened."
            )
    absent = [name for name in names if not (folder / name).exists()]
    if absent:
        raise ModelFileError(
            f"{folder}: {len(absent)} of {len(names)} weight files are missing, first {absent[0]}. Download them."
        )
    return tuple(folder / name for name in names)
