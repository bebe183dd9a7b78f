from __future__ import annotations

import json

from backends.scripted import Script


def test_list_show_rename_search_export_rm(fovea, home):
    fovea("ask", "Do penguins lay eggs?", scripts=("All birds do.",))
    fovea("ask", "Кто поёт?", scripts=("Птица.",))
    listed = fovea("sessions", "list")[1].splitlines()
    assert len(listed) == 2 and "Кто поёт?" in listed[0]
    assert "penguins" in fovea("sessions", "list", "penguin")[1]
    assert fovea("sessions", "list", "elephant")[1] == ""
    found = fovea("sessions", "search", "птица")[1]
    assert "‹Птица›" in found
    assert json.loads(fovea("sessions", "search", "--json", "birds")[1])["found"][0]["role"] == "assistant"
    ident = listed[0].split()[0]
    assert fovea("sessions", "rename", ident, "A", "song")[0] == 0
    assert "A song" in fovea("sessions", "list")[1]
    shown = fovea("sessions", "show", ident)[1]
    assert "## You" in shown and "pocket · 4-bit" in shown
    target = home / "out.json"
    assert fovea("sessions", "export", ident, "--format", "json", "-o", str(target))[0] == 0
    content = json.loads(target.read_text())
    assert content["title"] == "A song" and content["nodes"][1]["steps"]
    assert fovea("sessions", "export", ident, "--format", "json", "-o", "-")[1] == target.read_text()
    assert not (home / "-").exists()
    code, _, err = fovea("sessions", "rm", ident)
    assert code == 1 and "--yes" in err, "nobody is there to ask"
    assert len(fovea("sessions", "list")[1].splitlines()) == 2
    assert fovea("sessions", "rm", "--yes", ident)[0] == 0
    assert len(fovea("sessions", "list")[1].splitlines()) == 1
    assert fovea("sessions", "show", ident)[0] == 1
    assert "Птица".encode() not in (home / "data" / "conversations.sqlite").read_bytes()


def test_import_gives_the_same_conversation(fovea, home, engine):
    fovea("ask", "--look-closer", "turn", "First", scripts=("One.", "Two."))
    for form in ("json", "markdown"):
        file = home / f"export.{form}"
        fovea("sessions", "export", "last", "--format", form, "-o", str(file))
        code, out, _ = fovea("sessions", "import", str(file))
        assert code == 0
        shown = fovea("sessions", "show", out.strip())[1]
        assert "First" in shown and "Two." in shown
    engine.add(Script("Three."))
    assert fovea("ask", "--session", "last", "Go on")[1] == "Three.\n"


def test_files_that_are_no_conversation(fovea, home):
    for name, content in {
        "a.md": b"just text",
        "b.json": b"{}",
        "c.json": b'{"format": "fovea-conversation", "version": 99, "nodes": []}',
        "d.md": b"\xff\xfe",
        "e.json": b'{"format": "fovea-conversation", "version": 1, "nodes": [{"id": 1, "parent": 7, "role": "user", '
        b'"text": "x", "created": 1.0}]}',
    }.items():
        (home / name).write_bytes(content)
        code, out, err = fovea("sessions", "import", str(home / name))
        assert code == 1 and out == "" and err.count("\n") == 1 and name in err
    assert fovea("sessions", "list")[1] == ""


def test_forks_as_text_and_json(fovea):
    fovea("ask", "Q", scripts=(Script("two legs", by_tier={"16-bit": "two eggs"}),))
    text = fovea("forks")[1]
    assert text.startswith("1 forks in 2 tokens, judged by 16-bit") and "two[ legs → eggs]" in text
    (fork,) = json.loads(fovea("forks", "last", "--json")[1])["forks"]
    assert (fork["at"], fork["text"], fork["best_text"]) == (1, " legs", " eggs")
    assert json.loads(fovea("forks", "--with", "8-bit", "--json")[1])["forks"] == []


def test_forks_without_a_reply(fovea):
    code, out, err = fovea("forks")
    assert code == 1 and out == "" and "no conversation" in err
