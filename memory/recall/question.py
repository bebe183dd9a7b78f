"""What is searched for: the message, and for a follow-up question what it hangs on.

"And for 13B?" finds nothing by itself. Whether a message hangs on the ones before it is told by its form: few words of
content, a beginning like "and …" or "what about …", or a pronoun without a noun. Then the words of the one or two
messages before join in at a lower weight, and what is embedded is both together. A message that stands by itself is
searched by itself: a change of subject must not drag the old one along.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from memory.recall.text import STOP_WORDS, query_terms

MAX_TERMS = 32  # of one question; a pasted page is searched by its rarest words, which the caller picks by rarity
MAX_CHARACTERS = 2000
CONTEXT_WEIGHTS = (0.5, 0.25)  # of the message before, and the one before that
FEW_WORDS = 3

_WORD = re.compile(r"\w+")
_OPENING = re.compile(
    r"^\W*(?:and|but|or|so|then|also|what about|how about|what if|why|why not|how so|same|"
    r"а|но|и|или|тогда|а что|что насч[её]т|а если|почему|а как|как насч[её]т)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|its|that|this|these|those|they|them|their|he|she|him|her|his|there|one|ones|same|former|latter|"
    r"он|она|оно|они|его|ее|её|их|ему|ей|им|это|этот|эта|эти|этого|этой|этих|тот|та|те|там)\b",
    re.IGNORECASE,
)
# Words of greeting, thanks, assent and leave. A message of nothing else asks for nothing that is written anywhere,
# though past conversations are full of the same words.
_TALK_WORDS = """
hello hi hey howdy thanks thank thx cheers bye goodbye ok okay yes yeah yep no nope sorry alright
привет здравствуй здравствуйте приветик спасибо благодарю пока да нет ага ладно окей прости простите извини извините
"""
# They stand beside those; alone they may be what is asked about.
_BESIDE_WORDS = """
good morning evening afternoon night day lot much very great nice fine well welcome please right cool sure
добрый доброе доброй доброго спокойной день дня утро утра вечер вечера ночи большое хорошо понятно ясно пожалуйста
"""
_TALK = frozenset(_TALK_WORDS.split())
_BESIDE = frozenset(_BESIDE_WORDS.split())
_GREETINGS = re.compile(
    r"^\W*(good (morning|evening|afternoon|night|day)|great|nice|fine|cool|sure|very good|"
    r"добр(ый|ое|ой|ого) (день|дня|утро|утра|вечер|вечера|ночи)|спокойной ночи|хорошо|понятно|ясно|"
    r"до (свидания|встречи|завтра)|как дела)\W*$",
    re.IGNORECASE,
)
_HOW_ARE_YOU = re.compile(r"^\W*(and )?how (do you do|are you( doing)?( today)?|is it going)\W*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """A message made ready for both routes."""

    text: str
    """What is embedded and shown."""
    terms: dict[str, float]
    """Terms of the word index with their weights, at most 1."""
    follow_up: bool = False


def question(message: str, previous: Sequence[str] = ()) -> Question:
    """Prepare a message for searching.

    Args:
        message: what the person wrote.
        previous: the person's earlier messages of this conversation, oldest first.

    Returns:
        Text and weighted terms; no terms for a message without words.
    """
    message = message.strip()[:MAX_CHARACTERS]
    terms = dict.fromkeys(query_terms(message), 1.0)
    before = [text.strip()[:MAX_CHARACTERS] for text in previous if text.strip()][-len(CONTEXT_WEIGHTS) :][::-1]
    if not before or not hangs_on_context(message):
        return Question(message, _first(terms))
    for text, weight in zip(before, CONTEXT_WEIGHTS, strict=False):
        for term in query_terms(text):
            terms.setdefault(term, weight)
    return Question(f"{before[0]} {message}", _first(terms), follow_up=True)


def hangs_on_context(message: str) -> bool:
    """Whether a message cannot be understood without the ones before it."""
    count = sum(1 for word in _WORD.findall(message) if word.casefold() not in STOP_WORDS)
    if count <= 1:
        return True
    short = count <= FEW_WORDS
    if short and (_OPENING.match(message) or _PRONOUN.search(message)):
        return True
    return bool(_OPENING.match(message) and _PRONOUN.search(message) and count <= 2 * FEW_WORDS)


def is_small_talk(message: str) -> bool:
    """Whether a message is a greeting, thanks or the like and nothing else: then nothing should be recalled."""
    if _HOW_ARE_YOU.match(message) or _GREETINGS.match(message):
        return True
    words = [word.casefold() for word in _WORD.findall(message)]
    if "?" in message or not set(words) & _TALK:
        return False
    return all(word in _TALK or word in _BESIDE or word in STOP_WORDS for word in words)


def _first(terms: dict[str, float]) -> dict[str, float]:
    return dict(list(terms.items())[:MAX_TERMS])
