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
_TALK_ENGLISH = """
hello hi hey howdy greetings morning evening afternoon night day good thanks thank thx cheers lot much please welcome
bye goodbye later tomorrow ok okay yes yeah yep sure fine great nice cool well no nope sorry pardon right alright
"""
_TALK_RUSSIAN = """
привет здравствуй здравствуйте приветик добрый доброе доброго доброй день дня утро утра вечер вечера ночи спокойной
спасибо большое благодарю пожалуйста пока свидания встречи завтра да нет ага ладно хорошо окей понятно ясно отлично
прости простите извини извините дела поживаешь
"""
_SMALL_TALK = frozenset(f"{_TALK_ENGLISH} {_TALK_RUSSIAN}".split())
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
    if _HOW_ARE_YOU.match(message):
        return True
    words = [word.casefold() for word in _WORD.findall(message)]
    content = [word for word in words if word not in STOP_WORDS]
    return bool(set(words) & _SMALL_TALK) and all(word in _SMALL_TALK for word in content)


def _first(terms: dict[str, float]) -> dict[str, float]:
    return dict(list(terms.items())[:MAX_TERMS])
