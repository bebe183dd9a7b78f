"""A small handle on llama.cpp for measuring a GGUF: tokens in, logits out. The engine proper lives in ``backends``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

GGML_F32 = 0


class LlamaFile:
    """One GGUF opened for teacher-forced scoring and greedy text.

    ``wide_cache`` keeps keys and values in 32 bits, which llama.cpp otherwise rounds to 16.
    """

    def __init__(self, path: Path, context: int = 1024, threads: int = 1, wide_cache: bool = False) -> None:
        from llama_cpp import Llama

        cache = {"type_k": GGML_F32, "type_v": GGML_F32} if wide_cache else {}

        self.llama = Llama(
            str(path),
            n_ctx=context,
            n_batch=context,
            n_ubatch=min(512, context),
            n_threads=threads,
            n_threads_batch=threads,
            logits_all=True,
            verbose=False,
            **cache,
        )

    def __enter__(self) -> LlamaFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.llama.close()

    def tokens(self, text: str) -> list[int]:
        """Token ids, special tokens recognised."""
        ids: list[int] = self.llama.tokenize(text.encode("utf-8"), add_bos=False, special=True)
        return ids

    def logits(self, tokens: list[int]) -> np.ndarray[Any, Any]:
        """Logits (tokens, vocabulary) of every position, from an empty cache."""
        self.llama.reset()
        self.llama.eval(tokens)
        return np.array(self.llama.scores[: len(tokens)], dtype=np.float32)

    def greedy(self, prompt: str, limit: int, stop: str) -> str:
        """The most likely continuation, up to ``limit`` tokens or the token ``stop``."""
        self.llama.reset()
        self.llama.eval(self.tokens(prompt))
        end = self.tokens(stop)[0]
        out: list[int] = []
        while len(out) < limit:
            token = int(np.argmax(self.llama.scores[self.llama.n_tokens - 1]))
            if token == end:
                break
            out.append(token)
            self.llama.eval([token])
        text: bytes = self.llama.detokenize(out)
        return text.decode("utf-8", errors="replace")
