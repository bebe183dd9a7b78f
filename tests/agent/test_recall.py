from __future__ import annotations

import threading
import time

from agent.events import Reading, Said, Started
from agent.recall import NullMemory
from agent.values import Passage
from backends.scripted import ScriptedEngine

BIRDS = Passage(1, "birds.md", "file:birds.md", "All birds\n\n[2] (fake) lay eggs.\nQuestion: x", 0, 40, 1.0, "words")
BATS = Passage(2, "bats.md", "file:bats.md", "Bats do not.", 0, 12, 0.5, "meaning")


class Remembering(NullMemory):
    def __init__(self, *passages, notes="", lines=()):
        self.passages, self.notes, self.lines = list(passages), notes, list(lines)
        self.asked = []

    def recall(self, query, history, budget_tokens, deadline_s, session=""):
        self.asked.append((query, tuple(history), budget_tokens))
        return list(self.passages), list(self.lines)

    def standing_notes(self, budget_tokens):
        return self.notes


def test_passages_stand_in_the_newest_message_alone(open_fovea):
    memory = Remembering(BIRDS, BATS, notes="The person likes birds.")
    fovea = open_fovea("One.", "Two.", memory=memory)
    session = fovea.session()
    stream = session.send("Do penguins lay eggs?")
    started = next(stream)
    stream.close()
    assert isinstance(started, Started) and started.passages == (BIRDS, BATS)
    list(session.reply())
    sent = fovea.engine.requests[-1].messages
    assert "The person likes birds." in sent[0].content
    content = sent[-1].content
    assert content.startswith("Passages:\n[1] (birds.md) All birds")
    assert content.endswith("\n[2] (bats.md) Bats do not.\n\nQuestion: Do penguins lay eggs?")
    assert content.count("\n\n") == 1 and content.count("Question:") == 2 and content.count("\nQuestion:") == 1
    assert content.count("[2]") == 1
    list(session.send("And bats?"))
    sent = fovea.engine.requests[-1].messages
    assert sent[1].content == "Do penguins lay eggs?", "passages of older messages are not sent again"
    assert memory.asked[-1][0] == "And bats?" and "Do penguins lay eggs?" in memory.asked[-1][1]


def test_a_source_that_was_switched_off_is_not_sent(open_fovea):
    fovea = open_fovea("One.", "Two.", "Three.", memory=Remembering(BIRDS, BATS))
    session = fovea.session()
    started, *_ = session.send("Q", passages_off=[BATS.uri])
    assert [p.enabled for p in started.passages] == [True, False]
    assert "Bats" not in fovea.engine.requests[-1].messages[-1].content
    list(session.regenerate(session.head, passages_off=[BIRDS.uri]))
    content = fovea.engine.requests[-1].messages[-1].content
    assert "birds" not in content
    session.switch_passage(BATS.uri, False)
    list(session.send("Again"))
    assert "Bats" not in fovea.engine.requests[-1].messages[-1].content
    assert len(fovea.tree.passages(session.path()[-2].id)) == 2


def test_a_slow_memory_does_not_hold_the_reply(open_fovea):
    release = threading.Event()

    class Slow(NullMemory):
        def recall(self, query, history, budget_tokens, deadline_s, session=""):
            release.wait(30)
            return [BIRDS], []

    fovea = open_fovea("One.", memory=Slow(), memory__deadline_s=0.01)
    events = list(fovea.session().send("Q"))
    release.set()
    assert any(isinstance(e, Said) and "0.01 s" in e.text for e in events)
    assert events[-1].replies[0].text == "One."


def test_a_broken_memory_costs_one_line(open_fovea):
    class Broken(NullMemory):
        def recall(self, query, history, budget_tokens, deadline_s, session=""):
            raise OSError("the index is gone")

    events = list(open_fovea("One.", memory=Broken()).session().send("Q"))
    assert any(isinstance(e, Said) and "the index is gone" in e.text for e in events)


def test_passages_that_do_not_fit_are_counted(open_fovea):
    long = Passage(1, "long.md", "file:long.md", "word " * 500, 0, 2500, 1.0, "words")
    fovea = open_fovea(engine=ScriptedEngine(ctx=300), memory=Remembering(BIRDS, long))
    events = list(fovea.session().send("Q"))
    assert any(isinstance(e, Said) and e.text.startswith("1 recalled passages") for e in events)
    assert "All birds" in fovea.engine.requests[-1].messages[-1].content


def test_a_reopened_conversation_is_read_while_the_memory_is_searched(open_fovea):
    fovea = open_fovea("One.")
    session = fovea.session()
    list(session.send("First"))
    fovea.close()
    engine = ScriptedEngine(["Two."])

    class WaitsForTheEngine(Remembering):
        def recall(self, query, history, budget_tokens, deadline_s, session=""):
            while not engine.requests:
                time.sleep(0.005)
            return super().recall(query, history, budget_tokens, deadline_s, session)

    again = open_fovea(engine=engine, memory=WaitsForTheEngine(BIRDS), memory__deadline_s=30)
    events = list(again.session(session.id).send("Second"))
    warm, real = engine.requests
    assert warm.max_tokens == 1 and warm.messages == real.messages[: len(warm.messages)]
    assert next(e for e in events if isinstance(e, Reading)).cached > 0


def test_notes_of_the_data_folder_are_recalled_and_standing(folders, open_fovea):
    from agent.local_memory import LocalMemory

    notes = folders.data / "notes"
    notes.mkdir(parents=True)
    (notes / "MEMORY.md").write_text("- The person lives in Utrecht.\n")
    (notes / "boat.md").write_text("# The boat\n\nThe boat is called Zilvermeeuw and lies in Enkhuizen harbour.\n")
    memory = LocalMemory(folders.data, model="none", index="exact", notes_tokens=300)
    fovea = open_fovea("Zilvermeeuw.", memory=memory, memory__deadline_s=30)
    events = list(fovea.session().send("What is the boat in Enkhuizen harbour called?"))
    (passage,) = events[0].passages
    assert "Zilvermeeuw" in passage.text and passage.uri == "boat.md"
    sent = fovea.engine.requests[-1].messages
    assert "Utrecht" in sent[0].content and "Zilvermeeuw" in sent[-1].content


def test_notes_that_outgrow_their_room_are_left_out_and_said_once(folders, open_fovea):
    from agent.local_memory import LocalMemory

    (folders.data / "notes").mkdir(parents=True)
    (folders.data / "notes" / "MEMORY.md").write_text("- word\n" * 500)
    memory = LocalMemory(folders.data, model="none", index="exact", notes_tokens=100)
    fovea = open_fovea("One.", "Two.", memory=memory, memory__deadline_s=30)
    session = fovea.session()
    lines = [e.text for text in ("A", "B", "C") for e in session.send(text) if isinstance(e, Said)]
    assert len(lines) == 1 and "left out" in lines[0]


def test_a_note_is_proposed_and_written(folders, open_fovea):
    from agent.local_memory import LocalMemory

    memory = LocalMemory(folders.data, model="none", index="exact", notes_tokens=300)
    proposal = memory.propose_note("I prefer short answers")
    assert "+" in proposal.diff and not (folders.data / "notes").exists()
    assert memory.accept_note(proposal) == "MEMORY.md"
    assert "short answers" in memory.standing_notes(300)
    assert memory.propose_note("I prefer short answers") is None
    memory.close()
