"""Whether a person's message asks for something to be remembered, and what exactly.

Plain rules instead of a model: they work on the smallest machine, they are the same every time, and a proposal is
shown before anything is written, so a missed case costs a `fovea note add` and a wrong one costs a "no".

A request is an imperative at the head of a sentence ("remember that …", "запомни, что …"). Questions ("do you
remember …?"), reports ("I remember that …") and negations ("don't remember …") are not requests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memory.safety import clean

MAX_LENGTH = 2000  # characters; longer texts are documents, not memories

_POLITE = (
    r"(?:(?:please|pls|kindly|ok(?:ay)?|hey|and|also|now|fovea|пожалуйста|так|и|ещё|еще|теперь)[,:!]?\s+)*"
    r"(?:(?:can|could|would|will)\s+you\s+(?:please\s+)?|i(?:'d| would)\s+like\s+you\s+to\s+|i\s+want\s+you\s+to\s+|"
    r"(?:можешь|можете|мог бы ты|прошу(?:\s+тебя|\s+вас)?)\s+)?(?:please\s+|пожалуйста,?\s+)?"
)
_VERB_ENGLISH = (
    r"(?:always\s+)?(?:remember|memori[sz]e|keep\s+in\s+mind|bear\s+in\s+mind|(?:don't|do\s+not|never)\s+forget|"
    r"make\s+(?:a\s+)?note(?:\s+of)?|take\s+(?:a\s+)?note(?:\s+of)?|note\s+down|write\s+down|"
    r"(?:add|save|put|store)(?:\s+(?:this|it|that))?\s+(?:to|in|into)\s+(?:your\s+|my\s+|the\s+)?(?:memory|notes?))"
)
_VERB_RUSSIAN = (
    r"(?:запомни(?:те|ть)?|помни(?:те)?|не\s+забудь(?:те)?|не\s+забывай(?:те)?|имей(?:те)?\s+в\s+виду|"
    r"учти(?:те)?|(?:запиши(?:те)?|сохрани(?:те)?|добавь(?:те)?)(?:\s+(?:это|себе))?\s+в\s+(?:память|заметки)|"
    r"запиши(?:те)?|сделай(?:те)?\s+заметку)"
)
_TAIL = r"(?:\s+this|\s+это)?\s*(?:[:\-–—,]\s*(?:that|what|что)?\s*|\s+(?:that|what|что)\s+|\s+)"
_REQUEST = re.compile(
    rf"(?:^|(?<=[.!?…]\s)|(?<=\n))[ \t]*{_POLITE}"
    rf"(?P<verb>{_VERB_ENGLISH}|{_VERB_RUSSIAN})(?P<tail>{_TAIL})(?P<what>\S.*)",
    re.IGNORECASE | re.DOTALL,
)
# "Remember when we …", "remember me?", "помнишь …": talk, not a request to store.
_NOT_A_MEMORY = re.compile(
    r"(?:when|how|why|the\s+time|me\b|us\b|last\s+(?:time|week|year)|when\s+we|как\s+мы|когда\s+мы)\b", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+(?=[A-ZА-ЯЁ«“\"(])|\n")
_WRITE_DOWN = re.compile(r"write\s+down|note\s+down|запиши", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked to be remembered, word for word, and what else the message says."""

    text: str
    rest: str = ""


def requested(message: str) -> Request | None:
    """Find the request to remember in a message.

    Args:
        message: what the person wrote; text quoted from documents does not belong here.

    Returns:
        The text to remember and the rest of the message, or None where nothing is asked for.
    """
    visible = clean(message).text.strip()
    match = _REQUEST.search(visible)
    if not match:
        return None
    what, after = _extent(match["what"], whole=":" in match["tail"] or "\n" in match["tail"])
    if _is_talk(match, what):
        return None
    what = what.strip(" \t\n\"“”«»'").rstrip(" .…") if _quoted(what) else what.strip().rstrip(" .…?")
    if not what or len(what) > MAX_LENGTH or not any(char.isalnum() for char in what):
        return None
    rest = " ".join(part for part in (visible[: match.start()].strip(), after.strip()) if part)
    return Request(what[0].upper() + what[1:] if _ordinary(what) else what, rest)


def _extent(what: str, *, whole: bool) -> tuple[str, str]:
    """What belongs to the memory: one sentence, or after a colon everything up to an empty line."""
    if whole:
        head, _, after = what.partition("\n\n")
        return head, after
    parts = _SENTENCE_END.split(what, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _is_talk(match: re.Match[str], what: str) -> bool:
    direct = ":" in match["tail"] or re.search(r"that|что", match["tail"], re.IGNORECASE)
    if what.rstrip().endswith("?"):
        # "can you remember that I …?" is a request in the dress of a question; "remember Anna?" is not.
        return not direct
    if direct:
        return False
    if _WRITE_DOWN.search(match["verb"]):
        return True  # "write down the formula" asks for text, not for a memory
    return bool(_NOT_A_MEMORY.match(what))


def _quoted(what: str) -> bool:
    text = what.strip().rstrip(".")
    return len(text) > 2 and text[0] in "\"“«'" and text[-1] in "\"”»'"


def _ordinary(what: str) -> bool:
    """Whether the first word is a plain word, not an identifier like ``iPhone`` or ``x_max``."""
    first = what.split()[0].strip(",.;:")
    return first.isalpha() and first.islower()
