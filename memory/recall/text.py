"""Words as the index knows them: one normalisation for what is stored and for what is asked.

Contract: ``index_terms`` turns any text into terms made of letters and digits only, joined by single spaces, so that
every FTS5 tokenizer keeps them whole; ``query_terms`` turns a question into the same terms. Nothing here knows of
SQLite.

What happens to a text, in this order:

1. NFKC (ligatures, full-width and other compatibility forms), invisible characters dropped;
2. split into words; identifiers are split at humps, underscores and digits, and the whole is kept as well
   (``getUserName`` gives ``getusername get user name``);
3. casefold, accents off Latin letters, ``ё`` written as ``е``;
4. stemming: Cyrillic words by the Russian Snowball stemmer, Latin words by the English one;
5. Chinese and Japanese, which put no spaces between words, become overlapping pairs of characters.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TERM = 64  # longer runs are hashes, base64, or an attack on the index; their head still finds them

REMEMBERED_WORDS = 65_536  # about 10 MB; beyond the common words of a language a lookup seldom helps

_STEMMER_LOCK = (
    threading.Lock()
)  # a Snowball stemmer carries its word in itself and is not safe to share between threads
# A word: letters and digits, joined inside by single underscores or apostrophes.
_WORD = re.compile(r"[^\W_]+(?:(?:_+|['’])[^\W_]+)*")
# The humps of an identifier: HTTPServer2 -> HTTP, Server, 2.
_HUMP = re.compile(r"[A-ZА-ЯЁ]+(?=[A-ZА-ЯЁ][a-zа-яё])|[A-ZА-ЯЁ]?[a-zа-яё]+|[A-ZА-ЯЁ]+|\d+|[^\W\d_]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_CYRILLIC = re.compile(r"[а-я]")
_LATIN = re.compile(r"[a-z]+(?:'[a-z]+)?")

# Function words carry no meaning for a search and match almost every chunk, which makes them slow as well as useless.
_STOP_ENGLISH = (
    "a about after again all also am an and any are as at be because been before being both but by can could did do "
    "does doing done for from further had has have having he her here hers him his how i if in into is it its "
    "itself just many me more most much my no nor not of off on once only or other our ours out over own same she "
    "should so some such than that the their theirs them then there these they this those through to too under "
    "until up upon us very was we were what when where which while who whom whose why will with would you your "
    "yours"
)
_STOP_RUSSIAN = (
    "а без бы был была были было быть в вам вас весь во вот все всего всех вы где да даже для до его ее ей ему если "
    "есть еще же за зачем здесь и из или им их к как какая какие каким каких каков какова каковы какого какое какой "
    "каком какому какую ко когда которая которого которое которой которую которые который которых кто ли либо мне "
    "мы на над не него нее нет ни них но ну о об он она они оно от очень по под при про с скольких сколько со так "
    "такая также такие такое такой там те тем то того тоже той только том ты у уже хотя чего чей чем что чтобы эта "
    "эти это этого этой этом этот я"
)
STOP_WORDS = frozenset(f"{_STOP_ENGLISH} {_STOP_RUSSIAN}".split())


def normalise(text: str) -> str:
    """NFKC with invisible format characters and soft hyphens dropped; line structure kept."""
    text = unicodedata.normalize("NFKC", text)
    if text.isascii():
        return text
    return "".join(char for char in text if unicodedata.category(char) != "Cf")


def index_terms(text: str) -> str:
    """The terms of a text, in order and with repetitions, as one string for the word index.

    Args:
        text: any text; code is welcome.

    Returns:
        Terms of letters and digits joined by single spaces; empty for a text without words.
    """
    return " ".join(_terms(text))


def query_terms(text: str) -> list[str]:
    """The terms to search for, each once, in order of appearance.

    Function words are left out unless the question has nothing else ("who are you?").

    Args:
        text: a question, in any mixture of languages.

    Returns:
        Unique terms as ``index_terms`` would store them.
    """
    kept = list(dict.fromkeys(_terms(text, skip=STOP_WORDS)))
    return kept or list(dict.fromkeys(_terms(text)))


def _terms(text: str, skip: frozenset[str] = frozenset()) -> Iterator[str]:
    for word in _WORD.findall(normalise(text)):
        yield from (_word_terms if len(word) <= MAX_TERM else _word_terms.__wrapped__)(word, skip)


@lru_cache(maxsize=REMEMBERED_WORDS)
def _word_terms(word: str, skip: frozenset[str]) -> tuple[str, ...]:
    """The terms of one word; texts repeat their words, so most are looked up."""
    if _UNSPACED.search(word):
        return tuple(_unspaced_terms(word))
    whole = _fold(word)
    if whole in skip:
        return ()
    parts = _parts(word)
    if len(parts) == 1:
        return (_stem(whole),)
    return (_clip(whole), *(_stem(part) for part in parts if part not in skip))


def _parts(word: str) -> list[str]:
    """The folded parts of an identifier; one part for an ordinary word."""
    if "'" in word or "’" in word:
        return [_fold(word)]
    if "_" not in word and (word.islower() or word.istitle() or word.isdigit() or word.isupper()) and not _mixed(word):
        return [_fold(word)]
    return [_fold(hump) for hump in _HUMP.findall(word)]


def _mixed(word: str) -> bool:
    """Whether letters and digits stand together in one word (utf8, q4, 13b)."""
    return any(char.isdigit() for char in word) and not word.isdigit()


def _fold(word: str) -> str:
    folded = word.casefold().replace("_", "").replace("’", "'")
    if folded.isascii():
        return folded
    plain = "".join(
        char
        for char in unicodedata.normalize("NFD", folded.replace("й", "\0").replace("ё", "е"))
        if not unicodedata.combining(char)
    )
    return plain.replace("\0", "й")


@lru_cache(maxsize=REMEMBERED_WORDS)
def _stem(word: str) -> str:
    if _CYRILLIC.search(word):
        return _clip(_snowball("russian", word))
    if _LATIN.fullmatch(word):
        return _clip(_snowball("english", word))
    return _clip(word)


def _snowball(language: str, word: str) -> str:
    with _STEMMER_LOCK:
        return str(_stemmer(language).stemWord(word))


@lru_cache(maxsize=4)
def _stemmer(language: str) -> _Stemmer:
    import snowballstemmer  # loads some thirty languages: only once a text is indexed

    stemmer: _Stemmer = snowballstemmer.stemmer(language)
    return stemmer


def _clip(term: str) -> str:
    return term.replace("'", "")[:MAX_TERM]


def _unspaced_terms(word: str) -> Iterator[str]:
    """Pairs of neighbouring characters, and the spaced pieces between them."""
    position = 0
    for match in _UNSPACED.finditer(word):
        if match.start() > position:
            yield from _terms(word[position : match.start()])
        run = match.group()
        if len(run) == 1:
            yield run
        yield from (run[index : index + 2] for index in range(len(run) - 1))
        position = match.end()
    if position < len(word):
        yield from _terms(word[position:])


if TYPE_CHECKING:
    from typing import Protocol

    class _Stemmer(Protocol):
        def stemWord(self, word: str) -> str: ...  # the library's own name
