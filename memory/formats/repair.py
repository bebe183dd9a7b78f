"""Text that was decoded wrongly once, and is stored that way: found, undone, and marked.

UTF-8 read as cp1252 or Mac Roman ("Ð¿Ñ€Ð¸", "–ø—Ä–∏") can be undone exactly where no character was lost. cp1252 has
five holes (bytes 81, 8D, 8F, 90, 9D), and programs that drop them lose one byte of seven Cyrillic letters; those are
guessed by letter pairs. The heuristics of ftfy (Robyn Speer, https://ftfy.readthedocs.io) go first on everything else;
what is added here is the whole-document view: a document with many undoable runs and hardly any sound foreign text was
misread as a whole, so that every run of it is undone, also the ones that ftfy alone would find too short to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_CODECS = (("sloppy-windows-1252", "cp1252"), ("macroman", "Mac Roman"))
_FOREIGN = re.compile(r"[^\x00-\x7f]+")
_MISREAD_SHARE = 0.6
"""Of the characters outside ASCII, how many must be undoable before a document counts as misread as a whole."""
_MISREAD_RUNS = 3

_LOST_AFTER = {0xD0: "анё", 0xD1: "сяэ"}
"""Lower-case forms of the Russian letters whose second UTF-8 byte falls into a hole of cp1252, by their first byte."""

_ALPHABET = " абвгдежзийклмнопрстуфхцчшщъыьэюя"
_PAIR_COSTS = (
    "]72-41484/Y062-/-5-04>:B3=H]]]8H7",
    "(T:294761A9/,10N9200E?8F98@]]]Y83",
    "4/L=ME+IQ0]90@5+].;J.]?MFG9;(@\\K3",
    "++LFG9,]8.]=6@3*<7.=6ZFIB6LP/=][<",
    "1/WFV/5]X0];-G6$]0EH2\\]]BO]]Y]]V]",
    "2*D3LE*EF-]95>/+@09;/WC:CA]D54]H7",
    "(I6412596B46.0-?7.0/CL:=78:]]]]>?",
    "2+>YC.%D]*]8BH-=]HBH4]]K@]]]]>]J]",
    ".&80505<D4]:66,2N6@H5]]LAK]C37]E5",
    "'B:1:43=3:53-1/@=82/MH464:?]]]U=5",
    '"]QVT6M]O]]9;<2H\\M23]QR>88R]]]]]V',
    "*(];]L6GJ-]J4P4']0;70UTIVL]]]W]X]",
    "**HF?D-;K+]:@L;+C]3B3QX]=SV]6.]43",
    "'-EO:]+]Q,]?<D0+?A>H.N\\HCML]3AYQ7",
    "/*PLE;*MJ,]<WY1*[D;;1IV=?MA]05X@3",
    "(X3.11568;36/1/B80//GA=F69B]]]L;<",
    "A0]]U]-]]2]=3]<&A'G>3R]GDKS]8;XT7",
    "5)?9;8+;E+]:A<5)AG<6/F?E@<F]26U=4",
    "/2D3J=.HK3].05502>7(7O>E;C\\J:/]?.",
    "-,K1LA-XP/]9=H5(D06B4NMB>OLL3,XC9",
    "(D431.:07J<3019O4410TG6K339]]]J2@",
    "1,ZZZZ*ZZ(ZI3@B,Z+=92>ZZNOVZ;4VJF",
    "%-]5KT:]V3]V4;4'R6>B6]PSSD]O]]L]]",
    "+)J5N]']]/]4QGN-]KXQ/T]L]M]]/O]VO",
    "3*]M]](]],]4BJ0;\\>\\(1]W]I:]]]6]]]",
    "8+U>[](]])]//C03@LT;1[]R[Q]]]/]L]",
    ":+]M]]$]](]YYY6E]B]Y1]]]]W]]];Y]]",
    "<PPPLP&PPGPPPPPJPPHPPPPPPPPPPPP0$",
    "']70<:/A>I-8,.7]:712K]0I93F]]]][H",
    "#]=E>?3V;;W/]7/FR[1;]FJ<=5H]]]W54",
    "<WYF@=WYBY?69==Q?@=!YB:Y]J]]]]WY]",
    "#T.ME.LBATN@=::]K74/]LA>780]]]X<W",
    "#]C7;4<95B?8162]A>3.T[9A;D:]]]]<<",
)
"""Cost of each pair of letters (row: first, column: second; one character a cost, from "!" up), word edges as blanks.

Counted over 30 million characters of Russian Wikipedia prose; costs are -3.75 log2 of the share, at most 60.
"""


@dataclass(frozen=True, slots=True)
class Repair:
    """A repaired text and, for a person, what was done; ``mark`` is empty where nothing was."""

    text: str
    mark: str = ""


def repair(text: str) -> Repair:
    """Undo a wrong decoding, of the whole document or of parts of it; sound text comes back unchanged."""
    if text.isascii():
        return Repair(text)
    for codec, name in _CODECS:
        undone = _undo_whole(text, codec, name)
        if undone is not None:
            return undone
    return _undo_parts(text)


def _undo_whole(text: str, codec: str, name: str) -> Repair | None:
    import ftfy.bad_codecs  # registers the "sloppy" codecs

    ftfy.bad_codecs.ok()
    runs = foreign = undoable = 0
    for match in _FOREIGN.finditer(text):
        run = match.group()
        foreign += len(run)
        fixed, guesses = _undo_run(run, codec)
        if fixed != run and guesses <= max(1, len(fixed) // 2):
            runs += 1
            undoable += len(run)
    if runs < _MISREAD_RUNS or undoable < _MISREAD_SHARE * foreign:
        return None
    guessed = 0

    def undo(match: re.Match[str]) -> str:
        nonlocal guessed
        fixed, guesses = _undo_run(match.group(), codec)
        guessed += guesses
        return fixed

    out = _fill(_FOREIGN.sub(undo, text))
    note = f", {guessed} lost letters guessed" if guessed else ""
    return Repair(out, f"repaired: UTF-8 once read as {name}{note}")


def _undo_run(run: str, codec: str) -> tuple[str, int]:
    """Undo one run of characters outside ASCII; lost letters come back as private placeholders.

    Returns:
        The text and how many placeholders it holds; the run itself where it is not undoable.
    """
    try:
        data = run.encode(codec)
    except UnicodeEncodeError:
        return run, 0
    try:
        return data.decode("utf-8"), 0
    except UnicodeDecodeError:
        if codec != "sloppy-windows-1252":
            return run, 0
    out: list[str] = []
    guesses = at = 0
    while at < len(data):
        length = next((n for n in (2, 3, 4) if _decodes(data[at : at + n])), 0)
        if length:
            out.append(data[at : at + length].decode("utf-8"))
            at += length
        elif data[at] in _LOST_AFTER:
            out.append(_PLACEHOLDERS[data[at]])
            guesses += 1
            at += 1
        elif data[at : at + 2] in _SHORTENED:
            out.append(_SHORTENED[data[at : at + 2]])
            guesses += 1
            at += 2
        else:
            out.append(data[at : at + 1].decode(codec))  # a symbol that lost more than can be guessed stays as it is
            at += 1
    return "".join(out), guesses


_SHORTENED = {b"\xe2\x80": "”", b"\xef\xb8": "\ufe0f"}
"""The commonest characters of three bytes whose last one falls into a hole."""
_PLACEHOLDERS = {0xD0: "\ue0d0", 0xD1: "\ue0d1"}
_LOST = {mark: _LOST_AFTER[byte] for byte, mark in _PLACEHOLDERS.items()}
_WORD = re.compile(r"[а-яёА-ЯЁ\ue0d0\ue0d1]*[\ue0d0\ue0d1][а-яёА-ЯЁ\ue0d0\ue0d1]*")


def _decodes(data: bytes) -> bool:
    try:
        return len(data.decode("utf-8")) == 1 and data[0] >= 0x80
    except UnicodeDecodeError:
        return False


_RARE = {"ё": 15}
"""Added to the cost of a letter, in the units of the pair costs: most writers put е for ё."""
# What letter pairs cannot see: the preposition "с", words that begin with "э", verbs in -яет, -ять, -ял.
_ALONE = re.compile(r"(?<![\w\ue0d0\ue0d1])\ue0d1(?![\w\ue0d0\ue0d1])")
_BEGINS_WITH_E = re.compile(
    r"(?<![\w\ue0d0\ue0d1])\ue0d1(?=т(?:о|а|и|у|от|их|им|ими|ой|ом|ому|ого)(?![\w\ue0d0\ue0d1])|тап|тал|кон|коло|кзе|кспе|кспо"
    r"|кра|нер|лект|леме|ффек|мбед|мул|волю|пох|врис|в\ue0d1|стет)",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"(?<=[илнрвдзбпмкч])\ue0d1(?=(?:ет|ют|ешь|ем|ете|ющ\w*)(?:\ue0d1|\ue0d1ь)?\b)"
    r"|(?<=[лнрвдзбпмтч])\ue0d1(?=(?:ть|л[аои]?)(?:\ue0d1|\ue0d1ь)?\b)"
)


def _fill(text: str) -> str:
    """Put the likeliest letters in the places of the placeholders: a few rules, then letter pairs (Viterbi)."""
    text = _ALONE.sub("с", text)
    text = _BEGINS_WITH_E.sub("э", text)
    text = _VERB.sub("я", text)
    return _WORD.sub(lambda match: _likeliest(match.group()), text)


def _likeliest(word: str) -> str:
    # A lost letter after D0 is А, Н or Ё in capitals: so a word that is otherwise small begins with it.
    paths: dict[str, tuple[int, str]] = {" ": (0, "")}
    for char in word:
        options = _LOST.get(char, char.lower())
        step: dict[str, tuple[int, str]] = {}
        for option in options:
            cost, path = min((held + _cost(last, option), so_far) for last, (held, so_far) in paths.items())
            cost += _RARE.get(option, 0) if char in _LOST else 0
            step[option] = (cost, path + (_cased(option, char) if char in _LOST else char))
        paths = step
    return min((cost + _cost(last, " "), path) for last, (cost, path) in paths.items())[1]


def _cased(option: str, mark: str) -> str:
    return option.upper() if mark == _PLACEHOLDERS[0xD0] else option


def _cost(first: str, second: str) -> int:
    row = _ALPHABET.find("е" if first == "ё" else first)
    column = _ALPHABET.find("е" if second == "ё" else second)
    return 0 if row < 0 or column < 0 else ord(_PAIR_COSTS[row][column]) - 33


def _undo_parts(text: str) -> Repair:
    """Let ftfy undo what is certainly damaged in an otherwise sound text; nothing else of its repertoire is used."""
    from ftfy import TextFixerConfig, fix_encoding

    config = TextFixerConfig(unescape_html=False, explain=False)
    fix: Callable[[str], str] = lambda line: str(fix_encoding(line, config))  # noqa: E731 (typed alias)
    lines = text.split("\n")
    fixed = [line if line.isascii() or len(line) > 100_000 else fix(line) for line in lines]
    count = sum(before != after for before, after in zip(lines, fixed, strict=True))
    if not count:
        return Repair(text)
    return Repair("\n".join(fixed), f"repaired: {count} lines of wrongly decoded text (ftfy)")
