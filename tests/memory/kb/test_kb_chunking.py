from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.chunking import LANGUAGES, Limits, chunk_text
from tests.memory.kb.kb_samples import SENTENCE

FORMATS = ("markdown", "text", "csv", "code", "python")
WORDS = st.text("abcdefghijклмнопяё", min_size=1, max_size=12)
LINES = st.one_of(
    WORDS.map(lambda word: f"# {word}"),
    WORDS.map(lambda word: f"## {word}"),
    st.lists(WORDS, max_size=60).map(" ".join),
    st.lists(WORDS, min_size=1, max_size=30).map(lambda words: ". ".join(words) + "."),
    st.just("```"),
    st.just(""),
    st.just("| a | b |"),
    st.just("|---|---|"),
    st.just("---"),
    st.just("==="),
    WORDS.map(lambda word: f"- {word}"),
    WORDS.map(lambda word: f"def {word}():"),
    WORDS.map(lambda word: f"    return '{word}'"),
)


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(LINES, max_size=60), format=st.sampled_from(FORMATS))
def test_chunks_are_exact_spans_that_cover_the_text_and_never_cut_a_word(lines: list[str], format: str) -> None:
    text = "\n".join(lines)
    pieces = chunk_text(text, format)
    end = 0
    for piece in pieces:
        assert piece.text == text[piece.start : piece.end]
        assert piece.start >= end and not text[end : piece.start].strip(), "something lies between two chunks"
        assert piece.text.strip(), "an empty chunk"
        assert piece.line == text.count("\n", 0, piece.start) + 1
        for edge in (piece.start, piece.end):
            assert not (0 < edge < len(text) and text[edge - 1].isalnum() and text[edge].isalnum()), "inside a word"
        end = piece.end
    assert not text[end:].strip()


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=3000), format=st.sampled_from(FORMATS))
def test_any_text_at_all_is_cut_without_loss(text: str, format: str) -> None:
    pieces = chunk_text(text, format)
    assert "".join("".join(piece.text.split()) for piece in pieces) == "".join(text.split())


LONG = {"words": "слово дела " * 3000, "one word": "a" * 100_000, "unspaced": "汉字" * 5000, "commas": "x, " * 20_000}


@pytest.mark.parametrize("name", sorted(LONG))
def test_sizes_stay_within_the_limits(name: str) -> None:
    text = LONG[name]
    limits = Limits()
    for format in FORMATS:
        for piece in chunk_text(text, format, limits):
            assert len(piece.text) <= 4 * limits.maximum
            if " " in text:
                assert len(piece.text) <= limits.maximum


def test_headings_make_the_path_and_stay_with_what_follows() -> None:
    body = f"{SENTENCE} " * 12
    pieces = chunk_text(f"# Guide\n\n{body}\n\n## Setup\n\n{body}\n\n### Linux\n\n{body}\n\n## Use\n\n{body}")
    assert [piece.heading for piece in pieces] == [
        ("Guide",), ("Guide", "Setup"), ("Guide", "Setup", "Linux"), ("Guide", "Use"),
    ]  # fmt: skip
    assert pieces[2].text.startswith("### Linux")


def test_underlined_headings_links_and_emphasis_are_read() -> None:
    pieces = chunk_text(f"The **big** [guide](http://x)\n===\n\n{SENTENCE * 8}\n\nSecond `part`\n---\n\n{SENTENCE * 8}")
    assert [piece.heading for piece in pieces] == [("The big guide",), ("The big guide", "Second part")]


def test_small_sections_are_joined_under_what_they_share() -> None:
    pieces = chunk_text("# Top\n\n## One\n\nshort\n\n## Two\n\nshort too\n\n## Three\n\nand short")
    assert len(pieces) == 1 and pieces[0].heading == ("Top",)


def test_hash_signs_in_code_are_no_headings() -> None:
    pieces = chunk_text(f"# Real\n\n```sh\n# not a heading\nls\n```\n\n{SENTENCE}")
    assert {piece.heading for piece in pieces} == {("Real",)}


def test_table_parts_carry_their_column_names() -> None:
    rows = "\n".join(f"| name{n} | value {n} of the table |" for n in range(100))
    pieces = chunk_text(f"# T\n\n| name | value |\n|---|---|\n{rows}\n")
    assert len(pieces) > 2
    assert pieces[0].heading == ("T",) and all(piece.heading == ("T", "name | value") for piece in pieces[1:])
    assert all(piece.text.startswith("|") or piece.text.startswith("#") for piece in pieces)


def test_rows_of_a_csv_stay_whole_even_over_several_lines() -> None:
    rows = "".join(f'ann{n},"a remark\nover two lines {n}"\n' for n in range(80))
    pieces = chunk_text("name,remark\n" + rows, "csv")
    assert len(pieces) > 2
    for piece in pieces:
        assert piece.text.count('"') % 2 == 0
    assert pieces[1].heading == ("name | remark",)


PYTHON = f'''"""Module."""
import os

LIMIT = 3


class Gate:
    """A gate."""

    # Opens it.
    @property
    def opened(self) -> bool:
        """{SENTENCE * 14}"""
        return True

    def close(self) -> None:
        """{SENTENCE * 14}"""


def free() -> None:
    """{SENTENCE * 8}"""
'''


def test_python_is_cut_at_definitions_with_their_names() -> None:
    pieces = chunk_text(PYTHON, "python")
    paths = [piece.heading for piece in pieces]
    assert ("Gate", "opened") in paths and ("Gate", "close") in paths and ("free",) in paths
    opened = next(piece for piece in pieces if piece.heading == ("Gate", "opened"))
    assert "# Opens it." in opened.text and "@property" in opened.text


@pytest.mark.parametrize(
    ("language", "code", "name"),
    [
        ("javascript", "export class Gate {\n  open() {\n%s  }\n}\n", "open"),
        ("typescript", "export class Gate {\n  open(): void {\n%s  }\n}\n", "open"),
        ("go", "package x\n\nfunc Open() {\n%s}\n", "Open"),
        ("rust", "impl Gate {\n  fn open(&self) {\n%s  }\n}\n", "open"),
        ("java", "class Gate {\n  void open() {\n%s  }\n}\n", "open"),
        ("c", "int open_gate(int x) {\n%s}\n", "open_gate"),
        ("cpp", "class Gate {\n  void open() {\n%s  }\n};\n", "open"),
        ("c_sharp", "class Gate {\n  void Open() {\n%s  }\n}\n", "Open"),
        ("ruby", "class Gate\n  def open\n%s  end\nend\n", "open"),
        ("bash", "open_gate() {\n%s}\n", "open_gate"),
    ],
)
def test_languages_are_cut_by_their_grammar(language: str, code: str, name: str) -> None:
    comment = "#" if language in ("ruby", "bash") else "//"
    pieces = chunk_text(code % (f"    {comment} {SENTENCE}\n" * 40), language)
    assert language in LANGUAGES
    assert any(name in piece.heading[-1] for piece in pieces if piece.heading)


def test_code_without_a_grammar_is_cut_at_the_outer_level() -> None:
    yaml = "\n".join(f"section{n}:\n" + "".join(f"  key{m}: value {m}\n" for m in range(40)) for n in range(4))
    pieces = chunk_text(yaml, "code")
    assert any(piece.heading == ("section2",) for piece in pieces)
    assert all(re.match(r"section\d|  key", piece.text) for piece in pieces)
