"""Everything recalled is data: what foreign text must lose before it may stand in a prompt.

Contract: ``clean`` drops what cannot be seen and counts it; ``quotable`` also takes the teeth out of what could pass
for fovea's own words: role tokens of chat templates, our citation marks, our ``Passages:`` header, role lines, and
images that would be fetched. Both are idempotent, and what they return still reads as the document does. Whether an
instruction inside a quotation is obeyed cannot be settled here: quotation has no authority because tools, notes and
settings ask the person, never the text.

Why exact spellings matter: a tokenizer turns ``<|im_start|>`` into a control token wherever these characters stand in
this order, and only then; one foreign character between them is enough to keep them text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# --- what cannot be seen ------------------------------------------------------------------------------------------

# Format characters (category Cf) that do show ink: Arabic and Syriac number signs.
_VISIBLE_FORMAT = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
# Characters outside Cf that are blank all the same: grapheme joiner, Hangul and Khmer fillers, braille blank.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ZERO_WIDTH = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e")
_EMOJI_SELECTORS = frozenset("\ufe0e\ufe0f")
# ANSI escape sequences: CSI, OSC and the string commands up to their terminator, then any other two-byte escape.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]{0,4096}(?:\x07|\x1b\\)|\x1b[@-Z\\-_]?")
_KEPT_CONTROLS = frozenset("\n\t")
# Among these nothing is hidden and no mark combines: letters, punctuation, arrows, mathematics, East Asian scripts.
_SUSPECT = re.compile(
    r"[^\t\n -~\u00a1-\u00ac\u00ae-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u1eff\u2010-\u2027\u2030-\u205e\u20a0-\u20bf"
    r"\u2190-\u23ff\u2500-\u27bf\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]"
)
MAX_MARKS = 4  # combining marks on one letter; real scripts use up to three or four, "zalgo" text dozens


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A text made visible, and what was taken out of it."""

    text: str
    removed: Mapping[str, int] = field(default_factory=dict)
    """How many of each kind: bidi, zero-width, tag, variation, control, escape, surrogate, mark, invisible."""

    @property
    def count(self) -> int:
        """How many characters or sequences were removed or changed in all."""
        return sum(self.removed.values())


def clean(text: str) -> Cleaned:
    """Drop invisible, control and direction-changing characters, and count them.

    Zero-width joiners go too: an emoji family comes apart into its members, which is the price of nothing hidden.
    Line ends become newlines; tabs stay.

    Args:
        text: foreign text.

    Returns:
        The visible text and the number of removals by kind.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    removed: Counter[str] = Counter()
    if "\x1b" in text:
        text, removed["escape"] = _ANSI.subn("", text)
    if not _SUSPECT.search(text):
        return Cleaned(text, dict(removed))
    kept: list[str] = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        kind = "mark" if marks > MAX_MARKS else _hidden_kind(char, kept[-1] if kept else "")
        if kind is None:
            kept.append(char)
        else:
            removed[kind] += 1
            if kind == "surrogate":
                kept.append("\ufffd")
    return Cleaned("".join(kept), dict(removed))


def _hidden_kind(char: str, before: str) -> str | None:
    """The kind of a character that must go, or None for one that stays."""
    code = ord(char)
    if 0xE0000 <= code <= 0xE007F:
        return "tag"
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF or 0x180B <= code <= 0x180D or code == 0x180F:
        # One selector after a symbol chooses how an emoji is drawn; anything else can carry hidden bytes.
        return None if char in _EMOJI_SELECTORS and before and _takes_selector(before) else "variation"
    if char in _BIDI:
        return "bidi"
    if char in _ZERO_WIDTH:
        return "zero-width"
    category = unicodedata.category(char)
    if category == "Cc":
        return None if char in _KEPT_CONTROLS else "control"
    if category == "Cs":
        return "surrogate"
    if (category == "Cf" and char not in _VISIBLE_FORMAT) or char in _BLANK:
        return "invisible"
    return None


def _takes_selector(before: str) -> bool:
    return before in "#*0123456789©®" or unicodedata.category(before) in {"So", "Sm", "Po", "Pd"}


# --- what could pass for ours -------------------------------------------------------------------------------------

# Names that stand in angle brackets as control tokens of known chat templates and tool protocols.
_BRACKETED = (
    "s|/s|bos|eos|pad|unk|mask|sep|cls|start_of_turn|end_of_turn|start_of_image|end_of_image|image_soft_token|"
    "start_header_id|end_header_id|eot_id|endoftext|im_start|im_end|im_sep|think|thinking|tool_call|tool_calls|"
    "tool_response|tool_result|tool_results|tools|function_call|function_calls|function_results|functions|invoke|"
    "parameter|system|user|assistant|human|system-reminder|sys|instructions?|passages?|extra_id_\\d+|unused\\d+|"
    "function=[^>\\n]{0,60}|function"
)
_ANGLE_TOKEN = re.compile(rf"[<＜](?=[|｜]|<SYS>>|</SYS>>|/?(?:{_BRACKETED})\s*/?[>＞\s])", re.IGNORECASE)
_PIPE_CLOSE = re.compile(r"([|｜])[>＞]")
_SQUARE_TOKEN = re.compile(
    r"\[(?=/?(?:INST|AVAILABLE_TOOLS|TOOL_CALLS?|TOOL_RESULTS?|TOOL_CONTENT|SYSTEM_PROMPT|CLS|SEP|MASK|PAD|UNK|gMASK|sop)\])",
)
# Our citation mark: digits in square brackets, plain, full-width, lenticular or doubled, as answers carry it.
_LABEL_AT_START = re.compile(r"^([ \t>*#\-–—•‹›|]*)[\[［【]+\s*\^?(\d{1,4})\s*[\]］】]+", re.MULTILINE)
_LABEL = re.compile(r"[\[［【]\^?(\d{1,4})[\]］】]")
_DOUBLE_LABEL = re.compile(r"[\[［【]{2,}\s*\^?(\d{1,4})\s*[\]］】]{2,}")
_HEADER = re.compile(r"\b(passages)[ \t]*[:：]", re.IGNORECASE)
_ROLE_LINE = re.compile(
    r"^([ \t#*>]*)((?:system|assistant|user|human|ai|developer|tool|question|answer|"
    r"система|ассистент|пользователь|вопрос|ответ)"
    r"(?:[ \t]+(?:prompt|message|instruction|note|override))?[*]*[ \t]*[:：])",
    re.IGNORECASE | re.MULTILINE,
)
_REMOTE_IMAGE = re.compile(r"!\[([^\]\n]{0,500})\]\(\s*<?\s*(?:https?:|ftp:|data:|//)[^)\n]{0,4000}\)?", re.IGNORECASE)
_LIVE_TAG = re.compile(r"<(?=\s*(?:img|iframe|script|object|embed|link|meta|style|svg)\b)", re.IGNORECASE)


def quotable(text: str) -> Cleaned:
    """Make foreign text fit to stand as a quotation in a prompt.

    Args:
        text: a passage, a title, a tool's output.

    Returns:
        The text without invisible characters, with control tokens, citation marks, headers, role lines and remote
        images neutralised, and the counts by kind (``token``, ``label``, ``header``, ``role``, ``image`` beside those
        of ``clean``).
    """
    cleaned = clean(text)
    result, removed = cleaned.text, Counter(cleaned.removed)
    while (
        "](" in result and (found := _REMOTE_IMAGE.subn(r"(image: \1)", result))[1]
    ):  # taking one out may uncover the one around it
        result = found[0]
        removed["image"] += found[1]
    for kind, marks, pattern, replacement in _NEUTRALISE:
        for mark in marks:  # a plain loop: this runs for every passage that might be quoted
            if mark in result:
                break
        else:
            continue
        result, count = pattern.subn(replacement, result)
        if count:
            removed[kind] += count
    return Cleaned(result, dict(removed))


# Kind, characters without one of which the pattern cannot match, pattern, replacement.
_NEUTRALISE: tuple[tuple[str, str, re.Pattern[str], str], ...] = (
    ("image", "<", _LIVE_TAG, "‹"),
    ("token", "<＜", _ANGLE_TOKEN, "‹"),
    ("token", "|｜", _PIPE_CLOSE, r"\1›"),
    ("token", "[", _SQUARE_TOKEN, "("),
    # At the head of a line a number in brackets is a passage's label; inside a line it is a citation, or code's index.
    ("label", "[［【", _LABEL_AT_START, r"\1(\2)"),
    ("label", "[［【", _DOUBLE_LABEL, r"(\1)"),
    ("label", "[［【", _LABEL, r"[ \1 ]"),
    ("header", ":：", _HEADER, r"\1 –"),
    ("role", ":：", _ROLE_LINE, r"\1› \2"),
)


def one_line(text: str, limit: int = 80) -> str:
    """A foreign title, path or name on one line: quotable, without line breaks, cut with an ellipsis.

    Args:
        text: a title or a name.
        limit: most characters kept.

    Returns:
        At most ``limit`` characters without newlines or surrounding blanks.
    """
    flat = " ".join(quotable(text.replace("\n", " ")).text.split())
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def as_quotation(text: str) -> str:
    """One passage for a prompt: quotable, blank lines squeezed, so that a blank line ends the quotations."""
    return re.sub(r"\n[ \t]*(?:\n[ \t]*)+", "\n", quotable(text).text).strip()
