from __future__ import annotations

import json
import math
import sys
import time

import pytest

from agent.errors import ConversationFileError
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


@pytest.mark.parametrize(
    "written",
    ["-62135596800", "253402300799.5", "-1", "0", "NaN", "Infinity", "1e400", "true", "null", "[1]", "9" * 300,
     '"%s"' % ("9" * 10_000)],
)  # fmt: skip
def test_a_date_that_cannot_be_is_the_time_of_the_import(open_fovea, tmp_path, written):
    file = tmp_path / "c.json"
    node = '{"id": 1, "parent": null, "role": "user", "text": "hello", "created": %s}'
    file.write_text('{"format": "fovea-conversation", "version": 1, "nodes": [%s]}' % (node % written))
    fovea, told = open_fovea(), []
    began = time.time()
    session = fovea.session(import_file(fovea.tree, file, told.append))
    assert began <= session.path()[0].created <= time.time()
    assert len(told) == 1 and "1 message has no possible date" in told[0]
    assert "hello" in session.export() and "hello" in session.export("json")


@pytest.mark.parametrize(
    "changed",
    [{"id": 10**5000}, {"id": 10**30}, {"parent": 10**30}, {"created": 10**5000}, {"steps": [{"p": math.nan}]}],
)
def test_numbers_that_cannot_be_are_refused_in_one_line(open_fovea, tmp_path, changed):
    step = {"token": 1, "text": "a", "tier": "low", "p": 1.0, "entropy": 0.0, "margin": 0.0, "density": 0.0}
    node = {"id": 1, "parent": None, "role": "user", "text": "hello", "created": 1.0, **changed}
    node["steps"] = [step | one for one in changed.get("steps", [])]
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    text = json.dumps({"format": "fovea-conversation", "version": 1, "nodes": [node]})
    sys.set_int_max_str_digits(before)
    file = tmp_path / "c.json"
    file.write_text(text)
    fovea = open_fovea()
    with pytest.raises(ConversationFileError) as told:
        import_file(fovea.tree, file)
    assert "\n" not in str(told.value) and len(str(told.value)) < 500


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
