"""What is read off a note."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.notes import Link, parse, render


def test_front_matter_is_read() -> None:
    note = parse(
        "trip.md",
        "---\ntitle: The trip\ntags: [sea, Крым]\nprivate: true\n---\n\n# Heading\n\nText [[Ann]].\n".encode(),
    )
    assert (note.title, note.tags, note.private) == ("The trip", ("sea", "Крым"), True)
    assert note.body == "# Heading\n\nText [[Ann]].\n"
    assert note.links == (Link("Ann"),)


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (b"# From heading #\n\ntext", "From heading"),
        (b"no heading", "my trip"),
        (b"---\n: : :\n---\n# After a broken block", "After a broken block"),
        (b"---\n- a list\n---\ntext", "my trip"),
        (b"\xef\xbb\xbf# With a byte order mark", "With a byte order mark"),
        (b"---\r\ntitle: Windows\r\n---\r\ntext", "Windows"),
    ],
)
def test_titles(content: bytes, title: str) -> None:
    assert parse("my-trip.md", content).title == title


@pytest.mark.parametrize("value", ["true", "yes", "on", "1", "True", "да", "'true'", "[x]"])
def test_private_values(value: str) -> None:
    assert parse("a.md", f"---\nprivate: {value}\n---\ntext".encode()).private


@pytest.mark.parametrize("value", ["false", "no", "off", "0", "нет"])
def test_values_that_are_not_private(value: str) -> None:
    assert not parse("a.md", f"---\nprivate: {value}\n---\ntext".encode()).private


def test_a_slip_in_the_front_matter_does_not_publish_a_private_note() -> None:
    assert parse("a.md", b"---\ntitle: [unclosed\nprivate: true\n---\ntext").private
    assert not parse("a.md", b"---\ntitle: [unclosed\n---\nprivate thoughts").private


@pytest.mark.parametrize(
    "hostile", ["[" * 4000, "a: &a [*a,*a]\nb: *a", "!!python/object/apply:os.system [ls]", "? " * 1500]
)
def test_hostile_front_matter_is_text(hostile: str) -> None:
    assert parse("a.md", f"---\n{hostile}\n---\nbody".encode()).body.endswith("body")


def test_front_matter_that_was_never_closed_does_not_publish_a_private_note() -> None:
    assert parse("a.md", b"---\nprivate: true\n\nthe plan").private
    assert parse("a.md", b"---\r\nprivate: true").private
    assert not parse("a.md", b"---\nbelow a rule\n\nprivate thoughts").private


def test_aliases_do_not_grow() -> None:
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lists += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    for use in ("tags: [*a11, sea]", "title: *a11", "private: *a11"):
        note = parse("trip.md", "\n".join(["---", *lists, use, "---", "text"]).encode())
        assert note.title == "trip"
        assert note.tags == (("sea",) if "tags" in use else ())
        assert note.private == ("private" in use)


def test_a_heading_with_a_long_gap_takes_no_time() -> None:
    assert parse("a.md", b"# a" + b" " * 100_000 + b"b").title == "a b"


def test_bytes_that_are_not_utf8_are_marked() -> None:
    note = parse("a.md", "Привет".encode("cp1251"))
    assert note.damaged
    assert "\ufffd" in note.text


def test_wiki_links() -> None:
    body = "[[One]] [[two words#Part|shown]] [[One]] `[[code]]`\n```\n[[block]]\n```\n[[a\nb]] [[]]"
    assert parse("a.md", body.encode()).links == (Link("One"), Link("two words", "Part", "shown"))


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.text(max_size=80),
    st.text(alphabet="abc def: #'\"-[]", max_size=30).map(str.strip),
    st.lists(st.from_regex(r"[a-zа-я]{1,8}", fullmatch=True), max_size=3, unique=True),
    st.booleans(),
)
def test_what_is_rendered_is_read_back(body: str, title: str, tags: list[str], private: bool) -> None:
    text = render(body, title=title, tags=tuple(tags), private=private)
    note = parse("name.md", text.encode("utf-8", "replace"))
    assert note.private is private
    assert set(note.tags) == set(tags)
    assert (
        note.body.strip() == body.encode("utf-8", "replace").decode().strip("\r\n").strip()
        or "\r" in body
        or "\ufeff" in body
    )
