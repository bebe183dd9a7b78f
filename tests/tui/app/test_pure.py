"""The pieces that need no screen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from agent.events import Finished, Stopped, Wrote
from agent.values import Node, Status
from backends.types import Alternative, Step, Why
from tui.app import clipboard, diff, editor, listen, marks, mentions, words
from tui.app.branches import lines
from tui.app.history import History
from tui.app.layout import wrap
from tui.app.pace import LONGEST, SHARE, SHORTEST, Pace
from tui.app.rows import Rows
from tui.app.safe import harmless, one_line, token_name
from tui.app.turns import Ended, Turn, Written


def step(text: str = " word", density: float = 0.0, why: Why = Why.SPOKE, seq: int = 0) -> Step:
    return Step(1, text, "4-bit", 0.5, 1.0, 0.05, density, why, seq, (Alternative(1, text, 0.5, "4-bit"),))


def node(id: int, parent: int | None, role: str = "user", text: str = "t") -> Node:
    return Node(id, "s", parent, role, text, Status.DONE, "person", 0.0)


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0, "no token"),
        (0.2, "about one token in five"),
        (0.05, "about one token in 20"),
        (0.5, "about one token in two"),
        (0.7, "about seven tokens in ten"),
        (0.95, "all but about one token in 20"),
        (1, "every token"),
    ],
)
def test_shares_in_words(part: float, said: str) -> None:
    assert words.share(part) == said


def test_percent_never_rounds_to_a_false_end() -> None:
    assert [words.percent(p) for p in (0, 0.001, 0.5, 0.999, 1)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]


def test_sizes_seconds_and_counts() -> None:
    assert words.size(999) == "999 B" and words.size(38_000_000) == "38 MB" and words.size(1_300_000_000) == "1.3 GB"
    assert words.seconds(0.2) == "less than a second" and words.seconds(4.2) == "about 4 seconds"
    assert words.seconds(200) == "about 3 minutes"
    assert words.plural(1, "branch", "branches") == "1 branch" and words.plural(13, "token") == "13 tokens"
    assert words.tokens(4096) == "4.1k" and words.tokens(32768) == "33k"
    assert words.ago(0, 30) == "just now" and words.ago(0, 7200) == "2 h ago" and words.ago(0, 864000) == "10 d ago"


# -- foreign text --------------------------------------------------------------------------------------------------


@given(st.text())
def test_harmless_is_idempotent_and_harmless(text: str) -> None:
    once = harmless(text)
    assert harmless(once) == once
    assert not [c for c in once if (ord(c) < 32 and c != "\n") or c in "\x1b\x9b\u202e\u200b"]
    assert "\n" not in one_line(text) and cell_len(one_line(text, 20)) <= 20


def test_tokens_have_names() -> None:
    assert token_name(" Urnes") == "␣Urnes"
    assert token_name("  ") == "␣␣"
    assert token_name("\n\n") == "⏎⏎"
    assert token_name("\x1b\u202e") == "∅"


# -- pace ----------------------------------------------------------------------------------------------------------


def test_cheap_drawing_is_quick_and_dear_drawing_is_rare() -> None:
    assert Pace().next_wait(0.001) == SHORTEST
    assert Pace().next_wait(1.0) == LONGEST
    pace = Pace()
    for _ in range(50):
        wait = pace.next_wait(0.03)
    assert abs(0.03 / wait - SHARE) < 0.001


# -- diff ----------------------------------------------------------------------------------------------------------


@given(st.text("ab \n", max_size=60), st.text("ab \n", max_size=60))
def test_pieces_give_both_texts_back(left: str, right: str) -> None:
    pieces = diff.compare(left, right)
    assert "".join(p.left for p in pieces) == left
    assert "".join(p.right for p in pieces) == right
    assert all(
        [w.strip() for w in diff.words(p.left)] == [w.strip() for w in diff.words(p.right)] for p in pieces if p.same
    )


def test_differing_words_are_counted() -> None:
    assert diff.changed(diff.compare("built around 1132 in Urnes", "built about 1130 in Urnes")) == 2
    assert diff.changed(diff.compare("a " * 5000, "b " * 5000)) == 5000


# -- density -------------------------------------------------------------------------------------------------------


def test_marks_say_without_colour_what_the_tint_says() -> None:
    steps = (
        step("The", 0.01),
        step(" a", 0.15),
        step(" b", 0.3),
        step(" c", 0.9, Why.OVERRULED),
        step(" d", 0.0, Why.CONFIRMED),
    )
    text = "".join(piece.text for piece in marks.pieces(steps, [s.text for s in steps]))
    assert text == "The ▂a ▅b █c≠ d✓"
    assert {piece.style for piece in marks.pieces(steps, [s.text for s in steps])} <= {
        "tokens--plain",
        "tokens--sign",
        *marks.STYLES,
    }


def test_explanations_name_the_two_nearly_tied() -> None:
    one = dataclasses.replace(
        step(" Urnes", 0.6),
        alternatives=(Alternative(1, " Urnes", 0.5, "4-bit"), Alternative(2, " Borgund", 0.48, "4-bit")),
    )
    said = " ".join(marks.explain(one))
    assert "␣Urnes and ␣Borgund are nearly tied" in said and "Density 60 %" in said
    for why in Why:
        assert marks.explain(dataclasses.replace(one, why=why))[0].endswith(".")


@settings(max_examples=60)
@given(st.lists(st.text("ab \n漢", min_size=1, max_size=12), max_size=20), st.integers(2, 20))
def test_wrapping_loses_no_token_and_keeps_the_width(texts: list[str], width: int) -> None:
    steps = tuple(step(text) for text in texts)
    drawn = wrap(marks.pieces(steps, texts), width)
    assert all(sum(cell_len(p.text) for p in line.pieces) <= width for line in drawn)
    seen = [p.token for line in drawn for p in line.pieces]
    assert seen == sorted(seen)
    shown = "".join(p.text for line in drawn for p in line.pieces)
    assert "".join(shown.split()) == "".join("".join(texts).split())


# -- tree ----------------------------------------------------------------------------------------------------------


def test_a_chain_stays_flat_and_a_fork_goes_deeper() -> None:
    nodes = [node(1, None), node(2, 1), node(3, 2), node(4, 2), node(5, 3), node(6, 5), node(7, 5)]
    assert [(b.guide, b.node.id) for b in lines(nodes)] == [
        ("", 1),
        ("", 2),
        ("├ ", 3),
        ("│ ", 5),
        ("│ ├ ", 6),
        ("│ └ ", 7),
        ("└ ", 4),
    ]
    assert len(lines([node(i, i - 1 or None) for i in range(1, 5001)])) == 5000


def test_rows_are_made_only_when_looked_at() -> None:
    asked: list[int | None] = []
    path = [node(i, i - 1 or None, "user" if i % 2 else "assistant") for i in range(1, 101)]

    def children(parent: int | None) -> list[Node]:
        asked.append(parent)
        return [n for n in path if n.parent == parent]

    rows = Rows(path, children)
    assert len(rows) == 100 and asked == []
    assert rows[-1].node.id == 100 and asked == [99]
    assert [row.node.id for row in rows[97:]] == [98, 99, 100]
    with pytest.raises(IndexError):
        rows[100]


def test_continuations_nobody_picked_follow_as_a_last_row() -> None:
    family = {1: [node(2, 1, "assistant"), node(3, 1, "assistant")]}
    rows = Rows([node(1, None)], lambda parent: family.get(parent or 0, []))
    assert len(rows) == 2 and len(rows[1].nodes) == 2 and rows.undecided


# -- turns ---------------------------------------------------------------------------------------------------------


def test_tokens_are_grouped_by_continuation() -> None:
    def events() -> Iterator[object]:
        for at in range(4):
            yield Wrote(step(f" {at}", seq=at % 2))
        yield Finished(())

    turn = Turn(events)  # type: ignore[arg-type]
    turn._read()
    first, second, finished, ended = turn.take()
    assert isinstance(first, Written) and [s.text for s in first.steps] == [" 0", " 2"]
    assert isinstance(second, Written) and second.seq == 1
    assert isinstance(finished, Finished) and isinstance(ended, Ended)
    assert turn.take() == []


def test_an_error_in_a_turn_becomes_a_sentence() -> None:
    def events() -> Iterator[object]:
        raise ValueError("the disk\nis full")
        yield

    turn = Turn(events)  # type: ignore[arg-type]
    turn._read()
    stopped, ended = turn.take()
    assert isinstance(stopped, Stopped) and stopped.problem == "the disk is full"
    assert isinstance(ended, Ended)


# -- prompt --------------------------------------------------------------------------------------------------------


def test_history_survives_and_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    past = History(path)
    for text in ("one", "two\nlines", "two\nlines"):
        past.add(text)
    path.write_text(path.read_text(encoding="utf-8") + "not json\n", encoding="utf-8")
    again = History(path)
    assert again.back("draft") == "two\nlines"
    assert again.back("") == "one" and again.back("") is None
    assert again.forward() == "two\nlines" and again.forward() == "draft" and again.forward() is None
    again.add("three\u2028four")
    assert History(path).back("") == "three\u2028four"


def test_history_in_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("", encoding="utf-8")
    past = History(blocked / "prompts.jsonl")
    past.add("kept in memory")
    assert past.back("") == "kept in memory"


def test_mentions(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "engine.py").write_text("print('```')\n", encoding="utf-8")
    (tmp_path / ".hidden").write_text("x", encoding="utf-8")
    (tmp_path / "data.bin").write_bytes(b"\0\1")
    found = mentions.files(tmp_path)
    assert found == ["data.bin", "src/engine.py"]
    assert mentions.best("eng", found) == ["src/engine.py"]
    assert mentions.best("zzz", found) == []
    assert mentions.current("see @eng") == "eng" and mentions.current("a@b") is None
    text, problems = mentions.expand("Look at @src/engine.py and @data.bin, @anna and @src", tmp_path)
    assert "````" in text and "print('```')" in text
    assert len(problems) == 2 and "not a text file" in problems[0] and "folder" in problems[1]


def test_a_mention_that_no_file_can_be_called_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.md").write_text("in the home folder", encoding="utf-8")
    for text in (f"@{'x' * 300}", f"@{'y/' * 3000}", "@~no-such-person/x"):
        assert mentions.expand(text, tmp_path / "elsewhere") == (text, [])
    assert "in the home folder" in mentions.expand("@~/mine.md", tmp_path / "elsewhere")[0]


def test_of_a_huge_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.write(b"a" * 5000)
        file.truncate(1 << 40)  # sparse: more than any memory
    text, problems = mentions.expand("@huge.txt", tmp_path)
    assert "aaa" in text and len(text) < 2 * mentions.MAX_BYTES and "is long" in problems[0]


def test_code_blocks_and_copying() -> None:
    assert clipboard.code_blocks("a\n```py\nx = 1\n```\n~~~\nls\n~~~\n```\nopen") == ["x = 1", "ls", "open"]
    sent: list[str] = []
    assert clipboard.copy("one\ntwo", sent.append, lambda command, data: command[0] == "xclip") == (
        "Copied 7 characters, 2 lines (terminal and xclip)"
    )
    assert clipboard.copy("x", sent.append, lambda command, data: False) == "Copied 1 character (through the terminal)"
    assert sent == ["one\ntwo", "x"]


def test_the_editor_gives_the_text_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "edit.sh"
    script.write_text('#!/bin/sh\nprintf " more" >> "$1"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(script))
    assert editor.edit("text") == ("text more", "")
    script.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    assert editor.edit("text") == ("text", f"{script} ended with code 3; the text is as it was")
    monkeypatch.setenv("VISUAL", "/no/such/editor")
    assert "could not be started" in editor.edit("text")[1]


# -- listening -----------------------------------------------------------------------------------------------------


def test_addresses() -> None:
    assert listen.address("") == ("127.0.0.1", 7860)
    assert listen.address("9000") == ("127.0.0.1", 9000)
    assert listen.address("[::1]:9000") == ("::1", 9000)
    for wrong in ("host", "host:", "host:99999", "host:x"):
        with pytest.raises(listen.ListenError):
            listen.address(wrong)
    assert listen.is_local("localhost") and listen.is_local("::1") and listen.is_local("127.9.9.9")
    assert not listen.is_local("0.0.0.0") and not listen.is_local("example.org")


def test_other_addresses_are_refused_without_the_flag() -> None:
    with pytest.raises(listen.ListenError, match="--public"):
        listen.listen("0.0.0.0:7860")


def test_only_our_own_page_may_connect() -> None:
    assert listen.same_origin("", "127.0.0.1:7860")
    assert listen.same_origin("http://127.0.0.1:7860", "127.0.0.1:7860")
    assert not listen.same_origin("http://evil.example", "127.0.0.1:7860")


async def test_the_token_guards_every_page() -> None:
    from aiohttp.test_utils import TestClient, TestServer

    server = listen.make_server("127.0.0.1", 7860, token="secret")
    application = await server._make_app()
    application.on_startup.clear()
    async with TestClient(TestServer(application)) as client:
        assert (await client.get("/")).status == 403
        assert (await client.get("/?token=wrong")).status == 403
        page = await client.get("/?token=secret")
        assert page.status == 200
        assert "fonts." not in await page.text(), "the page must not load anything from elsewhere"
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert (await client.get("/")).status == 200  # the cookie
        evil = await client.get("/", headers={"Origin": "http://evil.example"})
        assert evil.status == 403


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("localhost:7860", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:7860", "::1"),
        ('evil"onload=x', ""),
        ("", ""),
    ],
)
def test_the_host_of_a_request(header: str, host: str) -> None:
    assert listen.plain_host(header) == host


async def test_a_page_pointed_here_under_a_foreign_name_is_refused() -> None:
    from aiohttp.test_utils import TestClient, TestServer

    application = await listen.make_server("127.0.0.1", 7860)._make_app()
    async with TestClient(TestServer(application)) as client:
        evil = {"Host": "evil.example:7860", "Origin": "http://evil.example:7860"}
        assert (await client.get("/", headers=evil)).status == 403
        page = await (await client.get("/", headers={"Host": "localhost:7861"})).text()
        assert "ws://localhost:7861/ws" in page, "the page talks to the address it was asked for by"
        assert listen.FOCUS in page


def test_a_port_in_use_is_said_before_an_address_is_promised(capsys):
    import socket

    from tui.app.listen import ListenError, listen

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"Port {port} is in use"):
            listen(f"127.0.0.1:{port}")
    assert capsys.readouterr().err == ""
