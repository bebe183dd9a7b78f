"""An embedder that remembers every text it has seen, so that measuring twice embeds once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memory.embed import DEFAULT_MODEL, SentenceEmbedder, identity

Vectors = NDArray[np.float32]


class CachedEmbedder:
    """The default embedding model behind a file of vectors by text.

    Args:
        folder: where the file lies; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "vectors.npz"
        self._known: dict[str, Vectors] = {}
        self._model: SentenceEmbedder | None = None
        if self._path.exists():
            with np.load(self._path) as stored:
                self._known = dict(zip(stored["keys"].tolist(), stored["rows"], strict=True))

    @property
    def name(self) -> str:
        """The model's identity; the cache does not change it."""
        return identity(DEFAULT_MODEL)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embed passages."""
        return self._get([f"p\0{text}" for text in texts])

    def encode_query(self, text: str) -> Vectors:
        """Embed a question."""
        row: Vectors = self._get([f"q\0{text}"])[0]
        return row

    def warm(self, questions: Sequence[str]) -> None:
        """Embed questions beforehand, so that measured times are those of the search."""
        self._get([f"q\0{text}" for text in questions])

    def _get(self, marked: Sequence[str]) -> Vectors:
        keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in marked]
        new = {key: text for key, text in zip(keys, marked, strict=True) if key not in self._known}
        if new:
            self._model = self._model or SentenceEmbedder()
            began = time.monotonic()
            names = list(new)
            for start in range(0, len(names), 256):
                part = names[start : start + 256]
                rows = self._model.encode([new[name][2:] for name in part])
                self._known.update(zip(part, rows, strict=True))
            self._save()
            print(f"embedded {len(new)} texts in {time.monotonic() - began:.1f} s", flush=True)
        return np.stack([self._known[key] for key in keys])

    def _save(self) -> None:
        fresh = self._path.with_suffix(".tmp.npz")
        np.savez(fresh, keys=np.array(list(self._known)), rows=np.stack(list(self._known.values())))
        fresh.replace(self._path)
