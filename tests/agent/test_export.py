from __future__ import annotations

import json

from agent.importing import import_file
from backends.scripted import Script, Word


def test_json_holds_everything_and_comes_back(open_fovea, tmp_path):
    fovea = open_fovea(Script([Word("two", density=0.4), Word(" eggs")]), "Again.", "Third.")
    session = fovea.session()
    list(session.send("How many?"))
    list(session.regenerate(session.head))
    session.bookmark(session.head, "here")
    file = tmp_path / "c.json"
    file.write_text(session.export("json"))
    content = json.loads(file.read_text())
    assert content["format"] == "fovea-conversation" and len(content["nodes"]) == 3
    again = fovea.session(import_file(fovea.tree, file))
    assert [n.text for n in again.path()] == [n.text for n in session.path()]
    assert [n.steps for n in again.path()] == [n.steps for n in session.path()]
    assert again.path()[-1].bookmark == "here" and again.title == "How many?"
    assert len(again.children(again.path()[0].id)) == 2
    list(again.send("More"))
    assert again.path()[-1].text == "Third."


def test_a_private_conversation_comes_back_private(open_fovea, tmp_path):
    fovea = open_fovea("Fine.")
    session = fovea.session()
    list(session.send("Just between us."))
    fovea.tree.shelf.set_private(session.id, True)
    file = tmp_path / "c.json"
    file.write_text(session.export("json"))
    again = import_file(fovea.tree, file)
    assert again not in fovea.tree.shelf.recallable()


def test_markdown_says_who_wrote_what(open_fovea):
    script = Script([Word("two"), Word(" legs", density=0.9, high=" eggs")])
    fovea = open_fovea(script, policy__mode="auto", policy__budget=1.0)
    session = fovea.session()
    list(session.send("How many?"))
    text = session.export()
    assert "# How many?" in text and "two eggs" in text
    assert "tokens 16-bit" in text and "1 overruled by the high tier" in text and "## Decisions" in text


def test_markdown_of_other_programs_is_imported(open_fovea, tmp_path):
    file = tmp_path / "chat.md"
    file.write_text(
        "# Birds\n\n## User\n\nDo they sing?\n\n```md\n# not a heading of a message\n```\n\n"
        "## Assistant\n\nMost do.\n\n> 4-bit\n"
    )
    fovea = open_fovea()
    session = fovea.session(import_file(fovea.tree, file))
    question, reply = session.path()
    assert session.title == "Birds" and reply.text == "Most do." and reply.author == "imported"
    assert question.text.endswith("# not a heading of a message\n```")
