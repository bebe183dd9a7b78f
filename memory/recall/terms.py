"""A question's terms as this store sees them: how rare each one is, and which are worth searching for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from memory.recall.variants import with_variants
from memory.recall.vocabulary import counts_of
from memory.store import Store

AFFORDABLE = 12_000
"""Entries of the word index one search may rank; each takes a microsecond or two."""

SETTLED = 500
"""Chunks from which on a word the store does not know counts fully against a passage."""


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms a question is searched with."""

    weights: Mapping[str, float]
    """The question's own weight of each term times its rarity (inverse document frequency, always positive)."""
    counts: Mapping[str, int]
    """How many chunks hold each term; terms that none holds are missing."""

    def searched(self, affordable: int = AFFORDABLE) -> list[str]:
        """The terms to ask the word index for, rarest first.

        In a large store a common word matches tens of thousands of chunks and decides nothing beside a rare one, so the
        commonest are left out of the search once their entries add up; they still count where candidates are scored.
        """
        known = sorted(self.counts, key=lambda term: (self.counts[term], term))
        chosen: list[str] = []
        spent = 0
        for term in known:
            spent += self.counts[term]
            if chosen and spent > affordable:
                break
            chosen.append(term)
        return chosen


def weigh_terms(store: Store, asked: Mapping[str, float], total: int) -> Terms:
    """Look up how rare a question's terms are, exchanging those the store does not know for the nearest it does.

    The rarity is Lucene's form, ``ln(1 + (N - n + 0.5) / (n + 0.5))``, which stays positive in a store of three notes.

    Args:
        store: the store; where it holds the counts in memory they are taken from there.
        asked: the question's terms with their weights.
        total: chunks in the store.
    """
    counts = _counts(store, asked)
    terms = with_variants(store.database.connection, asked, counts)
    if terms.keys() != asked.keys():
        counts = _counts(store, terms)
    # Three notes lack most words of the language: there, a word they do not know says little about the question.
    unknown = min(1.0, math.log1p(total) / math.log1p(SETTLED))
    weights = {}
    for term, weight in terms.items():
        held = min(counts.get(term, 0), total)
        rarity = math.log(1 + (total - held + 0.5) / (held + 0.5))
        weights[term] = weight * rarity * (1.0 if held else unknown)
    return Terms(weights, counts)


def _counts(store: Store, terms: Mapping[str, float]) -> dict[str, int]:
    known = store.word_counts(list(terms))
    if known is None:
        return counts_of(store.database.connection, list(terms))
    return {term: count for term, count in known[1].items() if count}
