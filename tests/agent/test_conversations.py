"""Past conversations in the memory: taken in when a turn is committed, never the private and the deleted ones."""

from __future__ import annotations

import sqlite3

import pytest

from agent.app import Fovea
from agent.conversations import PastConversations
from agent.local_memory import LocalMemory
from agent.settings import Settings
from backends.scripted import ScriptedEngine
from memory.recall.conversations import stored_conversations
from memory.store import Store
from memory.store.erase import UNFINISHED

QUESTION = "What was the name of the boat in Enkhuizen harbour?"


@pytest.fixture
def opened(folders):
    """Open the program as it is, with words alone; closed at the end."""
    every = []

    def make(*scripts, unsaved=False, **values):
        settings = Settings().with_values(
            {"policy.mode": "manual", "memory.embedding_model": "none", "memory.deadline_s": 30}
            | {key.replace("__", "."): value for key, value in values.items()}
        )
        fovea = Fovea.open(settings, engine=ScriptedEngine(scripts), folders=folders, unsaved=unsaved)
        every.append(fovea)
        return fovea

    yield make
    for fovea in every:
        fovea.close()


def told_of_the_boat(opened, **values):
    """A first program, in which the boat was talked about, and which has ended."""
    with opened("A fine name for a boat.", **values) as fovea:
        session = fovea.session()
        list(session.send("The boat in Enkhuizen harbour got the name Zilvermeeuw."))
        return session.id


def recalled(fovea, session=None):
    return next(iter((session or fovea.session()).send(QUESTION))).passages


def held(folders):
    with Store(folders.data) as store:
        return set(stored_conversations(store))


def test_a_past_conversation_is_recalled_as_a_source_that_opens_at_the_turn(opened):
    first = told_of_the_boat(opened)
    fovea = opened("Zilvermeeuw.")
    passage = recalled(fovea)[0]
    assert (passage.kind, passage.uri, passage.place) == ("conversation", first, f"conversation {first}")
    assert "Zilvermeeuw" in passage.text and "conversation of" in passage.source
    around = fovea.memory.around(passage)
    assert "Zilvermeeuw" in around.text[around.start : around.end]
    assert "fovea: A fine name" in around.text


def test_a_turn_is_recalled_in_another_conversation_of_the_same_process(opened):
    fovea = opened("A fine name.", "Zilvermeeuw.")
    list(fovea.session().send("The boat in Enkhuizen harbour got the name Zilvermeeuw."))
    fovea.memory._remembering.close(30)
    assert [p.kind for p in recalled(fovea)] == ["conversation"]


def test_a_conversation_is_not_recalled_into_itself(opened):
    first = told_of_the_boat(opened)
    fovea = opened("Zilvermeeuw.")
    assert recalled(fovea, fovea.session(first)) == ()


def test_the_same_question_does_not_recall_its_own_earlier_answer(opened):
    told_of_the_boat(opened)
    with opened("I do not know.") as fovea:
        first = recalled(fovea)
    assert [p.text for p in recalled(opened("I do not know."))] == [p.text for p in first]


def test_a_private_conversation_is_never_recalled(opened, folders):
    first = told_of_the_boat(opened)
    with opened("Nothing.") as fovea:
        # From this very moment, even while the memory has not followed yet.
        fovea.tree.shelf.set_private(first, True)
        assert recalled(fovea) == ()
        fovea.session(first).set_private(True)
    assert first not in held(folders)
    assert b"Zilvermeeuw" not in (folders.data / "memory.db").read_bytes()
    with opened() as fovea:
        assert fovea.session(first).private
        fovea.session(first).set_private(False)
    assert first in held(folders)


def test_what_is_said_in_a_private_conversation_is_not_taken_in(opened, folders):
    first = told_of_the_boat(opened)
    with opened("Yes.") as fovea:
        session = fovea.session(first)
        session.set_private(True)
        list(session.send("Its harbour master is called Wiebe."))
    assert first not in held(folders)


def test_a_deleted_conversation_is_forgotten_and_comes_back_with_undo(opened, folders):
    first = told_of_the_boat(opened)
    with opened() as fovea:
        session = fovea.session(first)
        session.delete_session()
        assert session.undo()
    assert first in held(folders)
    with opened("Nothing.") as fovea:
        fovea.session(first).delete_session()
        assert recalled(fovea) == ()
    assert first not in held(folders)
    assert b"Zilvermeeuw" not in (folders.data / "memory.db").read_bytes()


def test_one_setting_switches_it_off_and_what_was_stored_is_forgotten(opened, folders):
    first = told_of_the_boat(opened)
    with opened("Nothing.", memory__conversations=False) as fovea:
        assert recalled(fovea) == ()
        fovea.memory._start_now()
    assert first not in held(folders)
    assert fovea.settings.memory.conversations is False


def test_what_a_kill_left_behind_is_made_up_for(opened, folders):
    first = told_of_the_boat(opened)
    with Store(folders.data) as store:
        store.remove_document("conversation", first)
        store.put_document("conversation", "gone", "Gone", "You: something that was deleted meanwhile")
    with opened() as fovea:
        fovea.memory._start_now()
    assert held(folders) == {first}


def test_an_erasing_that_a_reader_kept_from_ending_is_ended_at_the_next_start(opened, folders):
    told_of_the_boat(opened)
    with Store(folders.data) as store:
        store.set_meta(UNFINISHED, "1")
    with opened() as fovea:
        fovea.memory._start_now()
    with Store(folders.data) as store:
        assert store.meta(UNFINISHED) is None


def test_a_conversation_that_is_not_saved_is_not_remembered(opened, folders):
    with opened("Fine.", unsaved=True) as fovea:
        list(fovea.session().send("The boat in Enkhuizen harbour got the name Zilvermeeuw."))
    assert not (folders.data / "memory.db").exists()


def test_a_branch_that_was_left_is_not_recalled(opened, folders):
    with opened("A fine name.", "Another.") as fovea:
        session = fovea.session()
        list(session.send("The boat in Enkhuizen harbour got the name Zilvermeeuw."))
        session.edit(session.path()[0].id, "The boat in Enkhuizen harbour got the name Albatros.")
        list(session.reply())
    fovea = opened("Albatros.")
    text = " ".join(p.text for p in recalled(fovea))
    assert "Albatros" in text and "Zilvermeeuw" not in text


def test_for_conversations_alone_no_model_is_loaded(opened):
    told_of_the_boat(opened)
    fovea = opened()
    memory = LocalMemory(
        fovea.folders.data,
        model="all-MiniLM-L6-v2",
        index="exact",
        notes_tokens=300,
        past=PastConversations(fovea.tree),
    )
    memory._start_now()
    assert memory._base._background is None
    memory.close()


def test_a_file_of_an_older_version_is_read_where_it_cannot_be_changed(opened, folders):
    first = told_of_the_boat(opened)
    path = folders.data / "conversations.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE sessions DROP COLUMN private")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    from agent.database import _for_reading

    old = _for_reading(path)
    assert old.execute("SELECT id, private FROM sessions").fetchall() == [(first, 0)]
    old.close()
