"""Decoding and repair: what damaged files become, and that sound ones stay as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.errors import DocumentTooLargeError
from memory.formats.decode import decode
from memory.formats.repair import repair
from memory.formats.values import DEFAULT_LIMITS, ReadLimits

RUSSIAN = (
    "Квантование моделей — это снижение требований к памяти. Настройка влияет на скорость; с помощью шлюза и это ясно."
)
HOLES = {0x81, 0x8D, 0x8F, 0x90, 0x9D}


def as_mac_roman(text: str) -> str:
    return text.encode().decode("mac_roman")


def as_cp1252(text: str) -> str:
    """Misread as cp1252 by a program that drops what cp1252 does not know."""
    return "".join(bytes([byte]).decode("cp1252") for byte in text.encode() if byte not in HOLES)


def test_mac_roman_is_undone_exactly() -> None:
    fixed = repair(as_mac_roman(RUSSIAN))
    assert fixed.text == RUSSIAN and "Mac Roman" in fixed.mark


def test_cp1252_is_undone_and_lost_letters_are_guessed() -> None:
    fixed = repair(as_cp1252(RUSSIAN))
    right = sum(a == b for a, b in zip(fixed.text.split(), RUSSIAN.split(), strict=True))
    assert right >= 0.9 * len(RUSSIAN.split())
    assert "cp1252" in fixed.mark and "guessed" in fixed.mark
    assert "с помощью" in fixed.text and "это" in fixed.text and "влияет" in fixed.text


def test_markup_and_identifiers_around_the_damage_stay() -> None:
    text = f"# Title\n\n```sh\nls -la\n```\n\n> {as_mac_roman(RUSSIAN)}\n<!-- id: 1b1b-6b75 -->\n"
    assert repair(text).text == text.replace(as_mac_roman(RUSSIAN), RUSSIAN)


@pytest.mark.parametrize(
    "text",
    [
        RUSSIAN,
        "Ünïcödé très français — “quotes” … señor",
        "中文文本和日本語のテキスト",
        "café Ã la carte",
        "naïve façade, Ångström, Übergröße, ÀÉÎÕÜ",
        "emoji 🙂 and symbols → ≤ ≥ ∞ √",
        "Ελληνικά και עברית وعربي",
        "def f(x): return x  # ascii only",
    ],
)
def test_sound_text_stays_as_it_is(text: str) -> None:
    assert repair(text).text == text


@given(text=st.text(st.characters(codec="ascii"), max_size=300))
def test_ascii_is_never_touched(text: str) -> None:
    assert repair(text).text == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1251", "koi8-r"])
def test_encodings_are_found_and_marked(encoding: str) -> None:
    text, marks = decode(RUSSIAN.replace("—", "-").encode(encoding), DEFAULT_LIMITS)
    assert "Квантование моделей" in text
    assert (marks == ()) == (encoding == "utf-8-sig")


def test_a_declared_encoding_is_tried_first() -> None:
    text, marks = decode("Straße".encode("iso-8859-1"), DEFAULT_LIMITS, "iso-8859-1")
    assert text == "Straße" and marks == ("decoded as iso-8859-1",)


def test_a_cut_character_at_the_end_does_not_change_the_encoding() -> None:
    text, marks = decode((RUSSIAN + RUSSIAN.rstrip(".")).encode()[:-1], DEFAULT_LIMITS)
    assert text.startswith(RUSSIAN) and "invalid bytes replaced" in marks[0]


def test_positions_stay_those_of_the_file() -> None:
    raw = "one\r\ntwo\x00\x07three\n"
    text, marks = decode(raw.encode() + b"x" * 200, DEFAULT_LIMITS)
    assert len(text) == len(raw) + 200 and text.startswith("one\r\ntwo") and "control characters blanked" in marks


def test_too_much_text_is_refused() -> None:
    with pytest.raises(DocumentTooLargeError, match="limit"):
        decode(b"x\n" * 1000, ReadLimits(text_bytes=1000))
    with pytest.raises(DocumentTooLargeError, match="one line"):
        decode(b"x" * 3_000_000, ReadLimits(line_chars=2_000_000))
