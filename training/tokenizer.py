"""The pocket tokenizer: byte-level BPE (Sennrich et al. 2016, Radford et al. 2019), digits one by one.

The pre-tokenizer is exactly the one llama.cpp calls ``smollm``: single digits, then GPT-2's pattern. Digits alone make
numbers copyable by a small model; every byte has a token, so nothing is ever unknown.

    python -m training.tokenizer --corpus ../shared/corpus --out build/pocket/tokenizer.json
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from training.formats import SPECIAL_TOKENS
from training.sources import FILES, read_rows, split_prose, split_questions

GGUF_PRE_TOKENIZER = "smollm"


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer.

    Args:
        texts: what to learn merges from.
        vocabulary: number of tokens, the special ones and the 256 bytes included.

    Returns:
        A ``tokenizers.Tokenizer``.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load_tokenizer(path: Path) -> Any:
    """Read a stored tokenizer."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def sample_texts(corpus: Path, seed: int, megabytes: float) -> Iterator[str]:
    """Text in about the proportions of the training mix, from the training part only."""
    from training.jobs import job_texts

    rng = random.Random(seed)
    shares = {"prose_en": 0.42, "prose_ru": 0.25}
    for name, share in shares.items():
        rows = split_prose(read_rows(corpus / FILES[name])).train
        if name == "prose_en":
            rows = [row for row in rows if row["source"] != "classic-books" or rng.random() < 0.25]
        yield from take([row["text"] for row in rows], share * megabytes, rng)
    questions = split_questions(row for row in read_rows(corpus / FILES["qa_en"]) if row["source"] == "squad1.1-train")
    yield from take([row["question"] for row in questions.train], 0.08 * megabytes, rng)
    yield from job_texts(rng, int(0.25 * megabytes * 1e6))


def take(texts: list[str], megabytes: float, rng: random.Random) -> Iterator[str]:
    """Texts in random order until ``megabytes`` characters are reached."""
    rng.shuffle(texts)
    left = megabytes * 1e6
    for text in texts:
        if left <= 0:
            return
        left -= len(text)
        yield text


def main() -> None:
    """Train and store a tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--out", type=Path, default=Path("build/pocket/tokenizer.json"))
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--megabytes", type=float, default=12.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(
        sample_texts(arguments.corpus, arguments.seed, arguments.megabytes), arguments.vocabulary
    )
    tokenizer.save(str(arguments.out))
    print(f"{arguments.out}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
