"""What must not be seen must not be there."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.safety import MAX_MARKS, as_quotation, clean, one_line, quotable


@pytest.mark.parametrize(
    ("text", "visible", "kinds"),
    [
        ("plain text\nwith\ttabs", "plain text\nwith\ttabs", {}),
        ("Обычный текст, «кавычки» — и тире", "Обычный текст, «кавычки» — и тире", {}),
        ("pay\u200bload\ufeff", "payload", {"zero-width": 2}),
        ("a\u202eevil\u202cb", "aevilb", {"bidi": 2}),
        ("hi" + "".join(chr(0xE0000 + ord(c)) for c in "obey"), "hi", {"tag": 4}),
        ("x" + "\ufe01\ufe02\U000e0101", "x", {"variation": 3}),
        ("❤\ufe0f ok", "❤\ufe0f ok", {}),
        ("❤\ufe0f\ufe0f\ufe0f", "❤\ufe0f", {"variation": 2}),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07bell\x07", "red bell", {"escape": 3, "control": 1}),
        ("nul\x00 c1\x9b", "nul c1", {"control": 2}),
        ("filler\u3164\u2800\u115f", "filler", {"invisible": 3}),
        ("bad\ud800pair", "bad\ufffdpair", {"surrogate": 1}),
        ("z" + "\u0301" * 20, "z" + "\u0301" * MAX_MARKS, {"mark": 20 - MAX_MARKS}),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour", {}),
        ("\u0600 the number sign shows", "\u0600 the number sign shows", {}),
    ],
)
def test_clean_removes_and_counts(text: str, visible: str, kinds: dict[str, int]) -> None:
    result = clean(text)
    assert result.text == visible
    assert dict(result.removed) == kinds
    assert result.count == sum(kinds.values())


@pytest.mark.parametrize("mark", ["नमस्ते", "ภาษาไทย", "עִבְרִית", "العربية", "é", "й", "日本語", "한국어", "👍🏽"])
def test_living_scripts_are_untouched(mark: str) -> None:
    assert clean(mark).text == mark


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet=st.characters(), max_size=300))
def test_clean_is_idempotent_and_leaves_nothing_hidden(text: str) -> None:
    once = clean(text).text
    assert clean(once).text == once
    assert not any(unicodedata.category(char) in {"Cc", "Cs"} and char not in "\n\t" for char in once)
    assert not any(0xE0000 <= ord(char) <= 0xE01EF for char in once)


def test_titles_stay_on_one_line() -> None:
    assert one_line("a\nb\u200b\n[2] (c)") == "a b [ 2 ] (c)"
    assert one_line("x" * 100, 10) == "x" * 9 + "…"


def test_a_blank_line_ends_the_quotations() -> None:
    assert as_quotation("  one\n\n \n\ntwo\n ") == "one\ntwo"


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="[]［］【】<>|｜!()/:^ \n\t123sSPpaegINST›‹im_startndhttp", max_size=60))
def test_neutralising_twice_changes_nothing(text: str) -> None:
    once = quotable(text).text
    assert quotable(once).text == once
