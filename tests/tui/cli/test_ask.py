from __future__ import annotations

import io
import json
import os
import threading

import pytest

from backends.scripted import Script, Word
from backends.types import SIXTEEN, Failed


def test_the_answer_goes_to_stdout_and_nothing_else(fovea):
    code, out, err = fovea("ask", "Do", "penguins", "fly?", scripts=("No.",))
    assert (code, out, err) == (0, "No.\n", "")


def test_json_holds_exactly_the_documented_keys(fovea, engine):
    code, out, _ = fovea("ask", "--json", "Q", scripts=("two eggs",))
    value = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert set(value) == {"text", "tokens", "usage", "timing", "session"}
    assert value["text"] == "two eggs"
    assert set(value["tokens"][0]) == {"text", "tier", "p", "entropy", "margin"}
    assert "".join(t["text"] for t in value["tokens"]) == value["text"]
    assert set(value["usage"]) == {"prompt_tokens", "cached_tokens", "completion_tokens"}
    assert value["usage"]["completion_tokens"] == 2
    assert set(value["timing"]) == {"prefill_s", "decode_s", "tok_s"}


def test_options_reach_the_engine(fovea, engine):
    options = [
        "--tier",
        "16-bit",
        "--max-tokens",
        "7",
        "--temperature",
        "0.3",
        "--seed",
        "5",
        "--set",
        "sampling.top_k=9",
    ]
    assert fovea("ask", *options, "Q", scripts=("A",))[0] == 0
    request = engine.requests[0]
    assert (request.tier, request.max_tokens) == (SIXTEEN, 7)
    assert (request.sampling.temperature, request.sampling.seed, request.sampling.top_k) == (0.3, 5, 9)


def test_a_conversation_goes_on(fovea, engine):
    _, out, _ = fovea("ask", "--json", "First", scripts=("One.",))
    session = json.loads(out)["session"]
    assert fovea("ask", "--session", session[:4], "Second", scripts=("Two.",))[1] == "Two.\n"
    assert [m.content for m in engine.requests[-1].messages[1:]] == ["First", "One.", "Second"]
    assert json.loads(fovea("ask", "--session", "last", "--json", "Third")[1])["session"] == session


def test_several_continuations(fovea):
    script = Script("One.", continuations=["Two."])
    assert fovea("ask", "-n", "2", "Q", scripts=(script,))[1] == "--- 1 (4-bit) ---\nOne.\n\n--- 2 (4-bit) ---\nTwo.\n"
    value = json.loads(fovea("ask", "--n", "2", "--json", "Q", scripts=(script,))[1])
    assert [c["text"] for c in value["continuations"]] == ["One.", "Two."]


def test_look_closer_at_a_turn_and_at_a_span(fovea, engine):
    assert fovea("ask", "--look-closer", "turn", "Q", scripts=("low", "high"))[1] == "high\n"
    assert [r.tier for r in engine.requests] == ["4-bit", "8-bit"]
    first = [Word("I"), Word(" see"), Word(" legs"), Word("."), Word(" Yes")]
    better = [Word("I"), Word(" see"), Word(" eggs"), Word("."), Word(" Yes")]
    script = Script(first, by_tier={"16-bit": better, "8-bit": better})
    assert fovea("ask", "--look-closer", "span", "Q", scripts=(script,))[1] == "I see eggs. Yes\n"


def piped(monkeypatch, data: bytes):
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    stdin = io.TextIOWrapper(os.fdopen(read, "rb"))
    monkeypatch.setattr("sys.stdin", stdin)
    return stdin


def test_piped_text_is_the_question_or_stands_below_it(fovea, engine, monkeypatch):
    with piped(monkeypatch, b"What is this?\n"):
        assert fovea("ask")[0] == 0
    with piped(monkeypatch, "Пингвин".encode()):
        assert fovea("ask", "Translate")[0] == 0
    assert [r.messages[-1].content for r in engine.requests] == ["What is this?", "Translate\n\nПингвин"]


def test_a_pipe_that_stays_silent_is_left_alone_unless_it_is_asked_for(fovea, engine, monkeypatch):
    monkeypatch.setattr("tui.commands.piped.PATIENCE_S", 0.05)
    read, write = os.pipe()
    with io.TextIOWrapper(os.fdopen(read, "rb")) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code, _, err = fovea("ask", "Q")
        assert code == 0 and "nothing came on standard input" in err and err.count("\n") == 1
        late = threading.Timer(0.3, lambda: (os.write(write, b"late"), os.close(write)))
        late.start()
        code, _, err = fovea("ask", "Q", "-")
        assert code == 0 and err == ""
    assert [r.messages[-1].content for r in engine.requests] == ["Q", "Q\n\nlate"]


@pytest.mark.parametrize(("data", "word"), [(b"caf\xe9", "byte 3"), (b"  \n", "no question")])
def test_unusable_input_is_one_line_and_changes_nothing(fovea, engine, home, monkeypatch, data, word):
    with piped(monkeypatch, data):
        code, out, err = fovea("ask")
    assert code == 4 and out == "" and err.count("\n") == 1 and word in err
    assert not (home / "data" / "conversations.sqlite").exists() and engine.requests == []


def test_a_prompt_longer_than_the_context(fovea, engine):
    engine.ctx = 60
    code, out, err = fovea("ask", "word " * 300)
    assert code == 4 and out == "" and err.count("\n") == 1 and "too long" in err
    assert fovea("sessions", "list")[1] == ""


def test_an_engine_that_fails_keeps_the_text(fovea):
    script = Script("one two three", fail_after=2, failure=Failed("HostDied", "The engine died\x1b[31m twice"))
    code, out, err = fovea("ask", "Q", scripts=(script,))
    assert code == 3 and out == "one two\n" and err == "fovea: The engine died twice\n"
    assert "one two" in fovea("sessions", "show", "last")[1]


def test_foreign_text_is_harmless(fovea):
    evil = [Word("\x1b"), Word("]0;owned\x07"), Word("[red]bold[/red]"), Word("\u202eabc"), Word("a\r"), Word("\nb")]
    code, out, _ = fovea("ask", "Q", scripts=(Script(evil),))
    assert code == 0
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    assert "[red]bold[/red]" in out and "a\nb" in out
    title = fovea("ask", "evil \x1b[2J title", scripts=(Script(evil),))
    assert title[0] == 0
    assert "\x1b" not in fovea("sessions", "list")[1] + fovea("sessions", "show", "last")[1]


def test_half_a_character_is_shown_as_a_replacement(fovea):
    code, out, _ = fovea("ask", "Q", scripts=(Script([Word("a\udce9b")]),))
    assert code == 0 and out == "a\ufffdb\n"


def test_a_second_process_asks_without_saving(fovea, home, engine):
    from agent.app import Fovea
    from agent.settings import Settings
    from backends.scripted import ScriptedEngine

    with Fovea.open(Settings(), engine=ScriptedEngine()) as first:
        list(first.session().send("Hello"))
        code, out, err = fovea("ask", "Q", scripts=("A.",))
        assert code == 0 and out == "A.\n" and "not saved" in err and "another fovea" in err
        code, out, err = fovea("ask", "--session", "last", "Q")
        assert code == 1 and out == "" and "Nothing can be saved" in err
        assert fovea("sessions", "list")[1].count("\n") == 1


def test_no_save(fovea):
    assert fovea("ask", "--no-save", "Q", scripts=("A.",))[1] == "A.\n"
    assert fovea("sessions", "list")[1] == ""


def test_proposals_stay_low_when_nobody_answers(fovea, engine):
    script = Script([Word("legs", density=0.9)])
    code, out, _ = fovea("ask", "--policy", "ask", "--budget", "30%", "Q", scripts=(script,))
    assert (code, out) == (0, "legs\n") and len(engine.requests) == 1


def test_the_policy_reaches_the_engine(fovea, engine):
    fovea("ask", "--policy", "auto", "--scope", "span", "--budget", "0.1", "Q")
    assert engine.requests[0].decoder == "gated"
