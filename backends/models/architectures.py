"""Which model architectures the installed llama.cpp can run.

The authority is the installed library itself: every name it knows stands in it as a C string, so the library file is
searched for the name (a few milliseconds, nothing is loaded). The ``gguf`` package's table of architectures is the
fallback where the library cannot be found; it lags behind (126 names against the library's 154 when this was
written), so it is not asked first. A name that happens to be another string of the library passes here and is refused
by the engine instead, with its own message.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

from backends.llama.build import libraries

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,39}")
NOT_FOR_TEXT = {
    "clip": "the vision part (mmproj) of a model",
    "bert": "an embedding model",
    "modern-bert": "an embedding model",
    "nomic-bert": "an embedding model",
    "nomic-bert-moe": "an embedding model",
    "neo-bert": "an embedding model",
    "jina-bert-v2": "an embedding model",
    "jina-bert-v3": "an embedding model",
    "eurobert": "an embedding model",
    "gemma-embedding": "an embedding model",
    "t5": "an encoder-decoder model",
    "t5encoder": "an embedding model",
    "wavtokenizer-dec": "a speech decoder",
    "eagle3": "a draft head of another model",
    "gemma4-assistant": "a draft head of another model",
}
"""Architectures llama.cpp loads but that write no text on their own -> what they are."""

RECURRENT = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
"""Every layer keeps a state of fixed size instead of a key/value cache."""


def library() -> Path | None:
    """The installed libllama, without importing llama_cpp."""
    found = [path for name in ("libllama.so", "libllama.dylib", "llama.dll") for path in libraries(name)]
    return found[0] if found else None


def is_known(name: str) -> bool:
    """Whether the installed llama.cpp knows this architecture."""
    if not _NAME.fullmatch(name):
        return False
    path = library()
    if path is None:
        import gguf

        return name in gguf.MODEL_ARCH_NAMES.values()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(name.encode() + b"\0") >= 0
