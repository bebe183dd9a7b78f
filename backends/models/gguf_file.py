"""One GGUF model, possibly in several parts: what it is, checked before native code sees it.

``read_model`` is the door every model file goes through. What it returns is safe to hand to llama.cpp as far as a
look at the header can tell; what is not a text model gets one ``ModelFileError`` sentence instead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from backends.errors import ModelFileError
from backends.models.architectures import NOT_FOR_TEXT, RECURRENT, is_known
from backends.models.gguf_header import Header, Tensor, Value, read_header, shown
from backends.models.gguf_types import recipe_name
from backends.types import EIGHT, FOUR, SIXTEEN

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_MAX_LAYERS = 512
"""llama.cpp's own limit (LLAMA_MAX_LAYERS)."""
_MAX_PARTS = 1000


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model as its file or files describe it. Sizes in bytes, lengths in elements."""

    path: Path
    """The file to load: the first part when there are several."""
    parts: tuple[Path, ...]
    size: int
    """Bytes of all parts."""
    version: int
    architecture: str
    name: str
    """``general.name``, or the file's name. Foreign text."""
    recipe: str
    """What the file says it was made as, e.g. ``Q4_K_M``; empty when it does not say."""
    context: int
    """Tokens the model was trained for."""
    layers: int
    embedding: int
    heads: int
    kv_heads: tuple[int, ...]
    """Key/value heads of each layer; 0 where a layer has no attention."""
    head_k: int
    """Elements of one key head."""
    head_v: int
    vocabulary: int
    experts: int
    experts_used: int
    sliding_window: int
    """Tokens; 0 when every layer sees everything."""
    recurrent: bool
    """Some or all layers keep a recurrent state: the cache cannot be cut back."""
    template: str
    """The chat template, empty when there is none. Foreign text."""
    tensors: tuple[Tensor, ...]
    header: Header
    """Of the first part, for the plan's finer questions."""

    @property
    def weights(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        """Number of weights, all experts counted."""
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def bits_per_weight(self) -> float:
        """Average over all tensors, scales included."""
        return 8 * self.weights / self.parameters

    def types(self) -> dict[str, tuple[int, int]]:
        """Type name -> (number of tensors, bytes), largest first."""
        count: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for tensor in self.tensors:
            count[tensor.kind.name] += 1
            size[tensor.kind.name] += tensor.bytes
        return {name: (count[name], bytes_) for name, bytes_ in size.most_common()}

    @property
    def tier(self) -> str:
        """The tier this file represents: see ``tier_of``."""
        return tier_of(self.tensors)


def read_model(path: Path) -> ModelFile:
    """The model a path names, checked.

    Raises:
        ModelFileError: the file (or one of its parts) is missing, damaged, cut short, holds no weights, has an
            architecture the installed llama.cpp does not know, or is not a text model.
    """
    headers = _all_parts(path)
    first = headers[0]
    architecture = _text(first, "general.architecture")
    _check_kind(first, architecture)
    tensors = tuple(tensor for header in headers for tensor in header.tensors)
    model = _Facts(first, architecture).model(headers, tensors)
    _check_weights(model)
    return model


def tier_of(tensors: Iterable[Tensor]) -> str:
    """The tier a set of tensors represents, by the precision that holds most of the matrix weights.

    F16, BF16 and F32 are 16-bit (or better), Q8_0 is 8-bit, types of 3.9 to 5 bits are 4-bit. Anything else is named
    by its type (``q6_k``). In a hybrid file the inner layers decide: they are the bulk of the arithmetic.
    """
    inner: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    bits: dict[str, float] = {}
    for tensor in tensors:
        if len(tensor.shape) < 2:
            continue
        whole[tensor.kind.name] += tensor.elements
        bits[tensor.kind.name] = tensor.kind.bits
        if tensor.name.startswith("blk."):
            inner[tensor.kind.name] += tensor.elements
    counted = inner or whole
    if not counted:
        return ""
    kind = counted.most_common(1)[0][0]
    if bits[kind] >= 16:
        return SIXTEEN
    if kind.startswith("Q8"):
        return EIGHT
    return FOUR if 3.9 <= bits[kind] <= 5.0 else kind.lower()


# Parts of a split model ---------------------------------------------------------------------------------------------


def _all_parts(path: Path) -> list[Header]:
    header = read_header(path)
    count = header.metadata.get("split.count", 0)
    if not isinstance(count, int) or count <= 1:
        return [header]
    match = _PART.fullmatch(path.name)
    if match is None or int(match["count"]) != count or count > _MAX_PARTS:
        raise ModelFileError(
            f"{shown(path)} is one of {count} parts of a model, but its name does not say which; "
            f"name the parts MODEL-00001-of-{min(count, 99999):05}.gguf and so on"
        )
    paths = [path.with_name(f"{match['stem']}-{n:05}-of-{count:05}.gguf") for n in range(1, count + 1)]
    missing = [part.name for part in paths if not part.is_file()]
    if missing:
        rest = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        names = ", ".join(shown(Path(name)) for name in missing[:3])
        raise ModelFileError(f"{shown(path)} is one of {count} parts; missing beside it: {names}{rest}")
    headers = [header if part == path else read_header(part) for part in paths]
    for number, part in enumerate(headers):
        if part.metadata.get("split.count") != count or part.metadata.get("split.no") != number:
            raise ModelFileError(f"{shown(part.path)} is not part {number + 1} of {count} of this model")
    total = headers[0].metadata.get("split.tensors.count", 0)
    found = sum(len(part.tensors) for part in headers)
    if total and total != found:
        raise ModelFileError(f"{shown(headers[0].path)}: its parts hold {found} tensors where {total} are announced")
    return headers


# Checks -------------------------------------------------------------------------------------------------------------


def _check_kind(header: Header, architecture: str) -> None:
    path = shown(header.path)
    if header.metadata.get("general.type", "model") != "model":
        kind = ascii(str(header.metadata["general.type"])[:40])
        raise ModelFileError(f"{path} is of type {kind}, not a model of its own; name the model it belongs to")
    if not architecture:
        raise ModelFileError(f"{path} does not say which architecture it is; it is not a complete model file")
    if architecture in NOT_FOR_TEXT:
        raise ModelFileError(f"{path} is {NOT_FOR_TEXT[architecture]} and writes no text; name a text model")
    if not is_known(architecture):
        raise ModelFileError(
            f"{path} has the architecture {architecture[:40]!a}, which the installed llama.cpp does not know; "
            "update llama-cpp-python, or use another model"
        )
    if not header.tensors and "split.count" not in header.metadata:
        raise ModelFileError(f"{path} holds only a vocabulary, no weights; name a complete model file")


def _check_weights(model: ModelFile) -> None:
    by_name = {tensor.name: tensor for tensor in model.tensors}
    path = shown(model.path)
    table = by_name.get("token_embd.weight")
    if table is None:
        raise ModelFileError(f"{path} holds no token embeddings; it is not a complete model file")
    if len(table.shape) != 2 or table.shape[0] != model.embedding:
        raise ModelFileError(f"{path} is damaged: its token embeddings do not fit its embedding length")
    if model.vocabulary and table.shape[1] < model.vocabulary:
        raise ModelFileError(
            f"{path} is damaged: its vocabulary has {model.vocabulary:,} entries, its embeddings {table.shape[1]:,}"
        )
    blocks = {name.split(".", 2)[1] for name in by_name if name.startswith("blk.")}
    absent = [n for n in range(model.layers) if str(n) not in blocks]
    if absent:
        raise ModelFileError(f"{path} is incomplete: layer {absent[0]} of {model.layers} has no weights")


# Facts --------------------------------------------------------------------------------------------------------------


def _text(header: Header, key: str) -> str:
    value = header.metadata.get(key, "")
    return value if isinstance(value, str) else ""


class _Facts:
    """Reads the settings of one architecture; each missing or impossible one is a sentence."""

    def __init__(self, header: Header, architecture: str) -> None:
        self._header = header
        self._architecture = architecture

    def _raw(self, key: str) -> Value | None:
        return self._header.metadata.get(f"{self._architecture}.{key}")

    def number(self, key: str, default: int | None = None, limit: int = 1 << 31) -> int:
        """One whole number; for a list, its largest. Without a default the setting is required."""
        value = self._raw(key)
        if isinstance(value, tuple) and value:
            value = max((item for item in value if isinstance(item, int)), default=0)
        if isinstance(value, int) and 0 <= value < limit:
            return int(value)
        if value is None and default is not None:
            return default
        what = "lacks" if value is None else "has an impossible value for"
        raise ModelFileError(f"{shown(self._header.path)} {what} the setting {self._architecture}.{key}")

    def per_layer(self, key: str, layers: int, default: int) -> tuple[int, ...]:
        """One number for each layer, from a list or one number for all."""
        value = self._raw(key)
        if isinstance(value, tuple):
            numbers = [int(item) for item in value if isinstance(item, int) and 0 <= item < 1 << 16]
            if len(numbers) < layers or len(numbers) != len(value):
                raise ModelFileError(
                    f"{shown(self._header.path)} has an impossible value for the setting {self._architecture}.{key}"
                )
            return tuple(numbers[:layers])
        return (self.number(key, default, 1 << 16),) * layers

    def model(self, headers: list[Header], tensors: tuple[Tensor, ...]) -> ModelFile:
        layers = self.number("block_count", limit=_MAX_LAYERS + 1)
        embedding = self.number("embedding_length", limit=1 << 24)
        if not layers or not embedding:
            raise ModelFileError(f"{shown(self._header.path)} claims a model without layers or without width")
        stateful = self._architecture in RECURRENT
        heads = self.number("attention.head_count", 0 if stateful else None, 1 << 16)
        kv_heads = (0,) * layers if stateful else self.per_layer("attention.head_count_kv", layers, heads)
        head = embedding // heads if heads else 0
        metadata = self._header.metadata
        recipe = metadata.get("general.file_type")
        return ModelFile(
            path=self._header.path,
            parts=tuple(header.path for header in headers),
            size=sum(header.size for header in headers),
            version=self._header.version,
            architecture=self._architecture,
            name=_text(self._header, "general.name") or self._header.path.stem,
            recipe=recipe_name(recipe) if isinstance(recipe, int) else "",
            context=self.number("context_length", 0),
            layers=layers,
            embedding=embedding,
            heads=heads,
            kv_heads=kv_heads,
            head_k=self.number("attention.key_length", head, 1 << 16),
            head_v=self.number("attention.value_length", head, 1 << 16),
            vocabulary=self._header.lengths.get("tokenizer.ggml.tokens", self.number("vocab_size", 0)),
            experts=self.number("expert_count", 0, 1 << 16),
            experts_used=self.number("expert_used_count", 0, 1 << 16),
            sliding_window=self.number("attention.sliding_window", 0),
            recurrent=stateful or self._raw("ssm.state_size") is not None or 0 in kv_heads,
            template=_text(self._header, "tokenizer.chat_template"),
            tensors=tensors,
            header=self._header,
        )
