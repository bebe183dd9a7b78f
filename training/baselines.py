"""What the pocket model must be compared with so that its figures mean something."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from training.jobs import sentences_of


class ByteNgram:
    """A byte n-gram model with Witten-Bell interpolation (Witten & Bell 1991): compression without any network."""

    def __init__(self, order: int = 5) -> None:
        self.order = order
        self.counts: Counter[bytes] = Counter()
        self.totals: Counter[bytes] = Counter()
        self.kinds: Counter[bytes] = Counter()

    def train(self, texts: Iterable[str]) -> None:
        """Count all n-grams up to the order."""
        for text in texts:
            data = text.encode("utf-8")
            for end in range(1, len(data) + 1):
                for length in range(1, min(self.order, end) + 1):
                    gram = data[end - length : end]
                    self.counts[gram] += 1
                    self.totals[gram[:-1]] += 1
                    if self.counts[gram] == 1:
                        self.kinds[gram[:-1]] += 1

    def probability(self, context: bytes, byte: bytes) -> float:
        """Probability of a byte after a context, interpolated from the uniform distribution upwards."""
        value = 1.0 / 256.0
        for length in range(min(self.order - 1, len(context)) + 1):
            history = context[len(context) - length :]
            total = self.totals[history]
            if not total:
                break
            kinds = self.kinds[history]
            value = (self.counts[history + byte] + kinds * value) / (total + kinds)
        return value

    def bits_per_byte(self, texts: Sequence[str]) -> float:
        """Mean bits a byte of held-out texts costs."""
        bits, count = 0.0, 0
        for text in texts:
            data = text.encode("utf-8")
            for index in range(len(data)):
                context = data[max(0, index - self.order + 1) : index]
                bits -= math.log2(self.probability(context, data[index : index + 1]))
            count += len(data)
        return bits / count


def words(text: str) -> list[str]:
    """Lower-case words and numbers."""
    return re.findall(r"\w+", text.casefold())


def best_sentence(question: str, passages: Sequence[str]) -> str:
    """The sentence that shares most with the question, rare words counting more: an answer by retrieval alone."""
    sentences = [sentence for passage in passages for sentence in sentences_of(passage)]
    found = [set(words(sentence)) for sentence in sentences]
    asked = set(words(question))
    spread = Counter(word for sentence in found for word in sentence)

    def score(index: int) -> float:
        common = asked & found[index]
        return sum(math.log(1.0 + len(sentences) / spread[word]) for word in common) / (1.0 + 0.02 * len(found[index]))

    return sentences[max(range(len(sentences)), key=score)] if sentences else ""
