from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import pytest

from agent.errors import BusyError, DiskFullError, PromptTooLongError, SettingsError, TurnError
from agent.events import Asked, Finished, Reading, Said, Started, Stopped, Wrote
from agent.recall import NullMemory
from agent.tree import Tree
from agent.values import Scope, Status
from backends.errors import EngineBusy, LoadError
from backends.scripted import Script, ScriptedEngine, Word
from backends.types import FOUR, SIXTEEN, Decoder, Failed, Step, Why


def texts(path):
    return [node.text for node in path]


def test_a_turn_streams_and_is_committed(open_fovea):
    fovea = open_fovea("All birds lay eggs.")
    session = fovea.session()
    events = list(session.send("Do penguins lay eggs?"))
    assert isinstance(events[0], Started) and events[0].user.text == "Do penguins lay eggs?"
    assert any(isinstance(e, Reading) for e in events)
    assert "".join(e.step.text for e in events if isinstance(e, Wrote)) == "All birds lay eggs."
    (reply,) = events[-1].replies
    assert reply.status is Status.DONE and reply.tier == FOUR and reply.author == FOUR
    assert reply.usage.completion_tokens == len(reply.steps) == 5
    assert texts(session.path()) == ["Do penguins lay eggs?", "All birds lay eggs."]
    assert session.head == reply.id
    assert session.title == "Do penguins lay eggs?"


def test_the_conversation_is_found_again_by_another_process(open_fovea, folders):
    fovea = open_fovea("One.", "Two.")
    session = fovea.session()
    list(session.send("First"))
    fovea.close()
    again = open_fovea("Two.")
    reopened = again.session(session.id[:4])
    assert reopened.id == session.id
    list(reopened.send("Second"))
    assert texts(reopened.path()) == ["First", "One.", "Second", "Two."]
    sent = again.engine.requests[-1].messages
    assert [m.role for m in sent] == ["system", "user", "assistant", "user"]


def test_nothing_is_written_for_an_empty_or_a_too_long_message(open_fovea):
    fovea = open_fovea(engine=ScriptedEngine(ctx=80))
    session = fovea.session()
    with pytest.raises(TurnError, match="empty"):
        session.send("  \n")
    with pytest.raises(PromptTooLongError, match="set a larger"):
        list(session.send("word " * 200))
    assert fovea.sessions() == []


def test_oldest_messages_are_left_out_and_counted(open_fovea):
    fovea = open_fovea(engine=ScriptedEngine(ctx=120), sampling__max_tokens=20)
    session = fovea.session()
    for number in range(8):
        events = list(session.send(f"question number {number}"))
    started = events[0]
    assert started.left_out > 0
    assert any(isinstance(e, Said) and f"{started.left_out} oldest" in e.text for e in events)
    sent = fovea.engine.requests[-1].messages
    assert sent[0].role == "system" and sent[1].role == "user" and sent[-1].content == "question number 7"
    assert fovea.engine.count(sent) <= 120 - 20
    assert len(session.path()) == 16


def test_the_start_of_the_prompt_moves_rarely(open_fovea):
    fovea = open_fovea(engine=ScriptedEngine(ctx=160), sampling__max_tokens=20)
    session = fovea.session()
    for number in range(12):
        list(session.send(f"question number {number}"))
    firsts = [request.messages[1].content for request in fovea.engine.requests]
    moves = sum(a != b for a, b in pairwise(firsts))
    assert 0 < moves < 6


def test_continuations_are_siblings_and_a_pick_is_stored(open_fovea):
    fovea = open_fovea(Script("One.", continuations=["Two.", "Three."]))
    session = fovea.session()
    events = list(session.send("Choose", n=3))
    replies = events[-1].replies
    assert texts(replies) == ["One.", "Two.", "Three."]
    assert [e.step.seq for e in events if isinstance(e, Wrote)][:3] == [0, 1, 2]
    session.pick(replies[2].id, [r.id for r in replies], blind=True)
    assert session.head == replies[2].id
    (pick,) = fovea.tree.ledger.picks()
    assert pick.blind and pick.chosen == replies[2].id
    assert all("margin_mean" in c["features"] for c in pick.candidates)
    assert [d.kind for d in session.decisions()] == ["pick"]


def test_one_continuation_per_tier(open_fovea):
    fovea = open_fovea(Script("low."), Script("high."))
    session = fovea.session()
    events = list(session.send("Compare", tiers=[FOUR, SIXTEEN]))
    assert [(r.tier, r.text) for r in events[-1].replies] == [(FOUR, "low."), (SIXTEEN, "high.")]
    assert {e.step.seq for e in events if isinstance(e, Wrote)} == {0, 1}
    session.pick(events[-1].replies[1].id, [r.id for r in events[-1].replies], blind=True)
    stats = fovea.pick_stats(SIXTEEN)
    assert (stats.offered, stats.won) == (1, 1)
    low, high = stats.interval()
    assert 0.2 < low < high == pytest.approx(1.0)


def test_a_pick_between_the_same_words_says_nothing_about_a_tier(open_fovea):
    fovea = open_fovea(Script("Same."), Script("Same."), Script("same but more."))
    session = fovea.session()
    low, middle, high = list(session.send("Compare", tiers=[FOUR, "8-bit", SIXTEEN]))[-1].replies
    session.pick(middle.id, [low.id, middle.id, high.id], blind=True)
    counted = {tier: fovea.pick_stats(tier) for tier in (FOUR, "8-bit", SIXTEEN)}
    assert [counted[tier].offered for tier in (FOUR, "8-bit", SIXTEEN)] == [0, 0, 1]
    assert counted[SIXTEEN].won == 0


def test_look_closer_answers_beside_the_first(open_fovea):
    fovea = open_fovea("Nineteen.", "Eighteen.")
    session = fovea.session()
    list(session.send("How many?"))
    first = session.head
    (closer,) = list(session.look_closer(first))[-1].replies
    assert closer.tier == "8-bit" and closer.parent == session.node(first).parent
    assert [n.id for n in session.children(closer.parent)] == [first, closer.id]
    assert fovea.engine.requests[0].messages == fovea.engine.requests[1].messages
    (decision,) = session.decisions()
    assert decision.kind == "manual" and decision.actual_s is not None
    assert session.spending().share == pytest.approx(0.5)


def test_look_closer_at_a_span_keeps_what_stands_before_it(open_fovea):
    reply = [Word("The"), Word(" answer"), Word(" is"), Word(" five"), Word(" eggs")]
    better = [Word("x"), Word("x"), Word(" is"), Word(" two"), Word(" eggs")]
    fovea = open_fovea(Script(reply, by_tier={SIXTEEN: better}))
    session = fovea.session()
    list(session.send("How many?"))
    (repaired,) = list(session.look_closer(session.head, scope=Scope.SPAN, start=2, end=4, tier=SIXTEEN))[-1].replies
    assert repaired.text == "The answer is two eggs"
    assert [s.tier for s in repaired.steps] == [FOUR, FOUR, SIXTEEN, SIXTEEN, FOUR]
    first = session.children(repaired.parent)[0]
    with pytest.raises(TurnError, match="span"):
        list(session.look_closer(first.id, scope=Scope.SPAN, start=3, end=99))


def test_look_closer_at_the_top_says_so(open_fovea):
    fovea = open_fovea("A", engine=ScriptedEngine(["A"], tiers=[FOUR]))
    session = fovea.session()
    list(session.send("Q"))
    with pytest.raises(TurnError, match="only one tier"):
        list(session.look_closer(session.head))
    with pytest.raises(TurnError, match="16-bit tier cannot be used"):
        list(session.send("Q", tier=SIXTEEN))


def test_stop_keeps_the_partial_reply_and_resume_finishes_it(open_fovea):
    session = None
    spoken = []

    def wait(seconds):
        spoken.append(seconds)
        if len(spoken) == 4:
            session.cancel()

    engine = ScriptedEngine([Script("one two three four five", token_s=0.1)], wait=wait)
    fovea = open_fovea(engine=engine)
    session = fovea.session()
    stopped = list(session.send("Count"))[-1]
    assert isinstance(stopped, Stopped) and stopped.problem == ""
    assert stopped.replies[0].text == "one two" and stopped.replies[0].status is Status.STOPPED
    (whole,) = list(session.resume(session.head))[-1].replies
    assert whole.id == stopped.replies[0].id
    assert whole.text == "one two three four five" and whole.status is Status.DONE
    assert engine.text_of(engine.requests[1].prefix) == "one two"


def test_stop_from_another_thread_while_the_prompt_is_read(open_fovea):
    reading, go_on = threading.Event(), threading.Event()

    def wait(seconds):
        reading.set()
        go_on.wait(10)

    fovea = open_fovea(engine=ScriptedEngine([Script("never", prefill_s=5)], wait=wait))
    session = fovea.session()
    events = []
    worker = threading.Thread(target=lambda: events.extend(session.send("Q")))
    worker.start()
    assert reading.wait(10)
    with pytest.raises(BusyError):
        list(session.send("again"))
    session.cancel()
    go_on.set()
    worker.join(10)
    assert isinstance(events[-1], Stopped) and events[-1].replies == ()
    assert texts(session.path()) == ["Q"]
    assert session.node(session.head).role == "user"
    assert list(session.reply())[-1].replies[0].text == "You said: Q"


def test_a_listener_that_goes_away_stops_the_turn(open_fovea):
    fovea = open_fovea("one two three")
    session = fovea.session()
    stream = session.send("Q")
    while not isinstance(next(stream), Wrote):
        pass
    stream.close()
    assert session.path()[-1].status is Status.STOPPED and session.path()[-1].text == "one"
    assert not session.writing


def test_a_failing_engine_keeps_the_text_and_says_one_line(open_fovea):
    fovea = open_fovea(Script("one two three", fail_after=2, failure=Failed("HostDied", "The engine host died")))
    session = fovea.session()
    last = list(session.send("Q"))[-1]
    assert isinstance(last, Stopped) and last.problem == "The engine host died"
    assert session.path()[-1].text == "one two" and session.path()[-1].status is Status.FAILED


def test_an_edited_reply_goes_on_from_the_edit(open_fovea):
    fovea = open_fovea("I like red apples", "ignored ignored ignored ignored and pears")
    session = fovea.session()
    list(session.send("Q"))
    old = session.head
    (new,) = list(session.continue_from(old, "I like green"))[-1].replies
    assert new.text.startswith("I like green") and new.author == "edited"
    assert [s.tier for s in new.steps][:3] == [FOUR, FOUR, "edited"]
    assert session.node(old).text == "I like red apples"
    assert fovea.engine.text_of(fovea.engine.requests[1].prefix) == "I like green"


def test_editing_a_question_branches(open_fovea):
    fovea = open_fovea("One.", "Two.")
    session = fovea.session()
    list(session.send("First"))
    question = session.path()[0]
    edited = session.edit(question.id, "Other")
    assert session.head == edited.id
    list(session.reply())
    assert texts(session.path()) == ["Other", "Two."]
    assert [n.text for n in session.children(None)] == ["First", "Other"]
    session.move_to(session.children(question.id)[0].id)
    assert texts(session.path()) == ["First", "One."]


def test_delete_and_undo(open_fovea):
    fovea = open_fovea("One.", "Two.")
    session = fovea.session()
    list(session.send("First"))
    list(session.send("Second"))
    second = session.path()[2].id
    session.delete(second)
    assert texts(session.path()) == ["First", "One."]
    assert session.undo()
    assert session.path()[-1].id == second
    session.delete_session()
    assert fovea.sessions() == []
    assert session.undo() and len(fovea.sessions()) == 1 and not session.undo()


def test_the_gate_writes_provenance_and_spending(open_fovea):
    script = Script([Word("two", density=0.0), Word(" legs", density=0.9, high=" eggs"), Word(".", density=0.8)])
    fovea = open_fovea(script, policy__mode="auto", policy__budget=0.5, policy__controller=False)
    session = fovea.session()
    (reply,) = list(session.send("Q"))[-1].replies
    assert fovea.engine.requests[0].decoder is Decoder.GATED
    assert reply.text == "two eggs."
    assert [s.why for s in reply.steps] == [Why.SPOKE, Why.OVERRULED, Why.CONFIRMED]
    spending = session.spending()
    assert (spending.high, spending.all) == (2, 3)
    list(session.send("Again"))
    assert fovea.engine.requests[1].decoder is Decoder.PLAIN, "the budget is spent"


def test_a_tier_that_was_chosen_to_speak_spends_nothing(open_fovea):
    script = Script([Word("two", density=0.0), Word(" legs", density=0.9, high=" eggs")])
    fovea = open_fovea(script, "Two eggs.", tier="8-bit", policy__mode="auto", policy__controller=False)
    session = fovea.session()
    list(session.send("Q"))
    assert (session.spending().high, session.spending().all) == (1, 2)
    list(session.regenerate(session.head, tier="4-bit"))
    assert (session.spending().high, session.spending().high_turns) == (1, 0)


def test_asks_are_proposed_stored_and_answered_once(open_fovea):
    doubtful = Script([Word("two"), Word(" legs", density=0.9)])
    fovea = open_fovea(doubtful, "better", policy__mode="ask")
    session = fovea.session()
    events = list(session.send("Q"))
    ask = next(e.ask for e in events if isinstance(e, Asked))
    assert isinstance(events[-1], Finished) and ask.tier == "16-bit" and "legs" in ask.why
    assert session.pending_asks() == [ask]
    (closer,) = list(session.answer(ask, "look"))[-1].replies
    assert closer.tier == "16-bit" and session.head == closer.id
    assert session.pending_asks() == []
    with pytest.raises(TurnError, match="already"):
        list(session.answer(ask, "stay"))
    assert [d.kind for d in session.decisions()] == ["asked", "approved"]
    assert session.decisions()[1].actual_s is not None


@pytest.mark.parametrize("choice", ["look", "both", "continuations", "always"])
def test_a_proposal_stays_open_when_its_look_cannot_begin(open_fovea, choice):
    fovea = open_fovea(Script([Word("legs", density=0.9)]), "better", policy__mode="ask")
    session = fovea.session()
    list(session.send("Q"))
    (ask,) = session.pending_asks()
    fovea.rest("16-bit", True)
    with pytest.raises(TurnError, match="16-bit"):
        list(session.answer(ask, choice))
    assert session.pending_asks() == [ask]
    assert [d.kind for d in session.decisions()] == ["asked"] and session.policy.mode == "ask"
    fovea.rest("16-bit", False)
    assert list(session.answer(ask, choice))[-1].replies
    assert session.pending_asks() == []


@pytest.mark.parametrize("choice", ["stay", "refuse"])
def test_a_refused_ask_writes_nothing_but_its_reason(open_fovea, choice):
    fovea = open_fovea(Script([Word("legs", density=0.9)]), policy__mode="ask")
    session = fovea.session()
    list(session.send("Q"))
    head = session.head
    (ask,) = session.pending_asks()
    assert list(session.answer(ask, choice, reason="good enough")) == []
    assert session.head == head and len(fovea.engine.requests) == 1
    assert "good enough" in session.decisions()[-1].text


def test_both_keeps_the_head_and_always_changes_the_policy(open_fovea):
    doubtful = Script([Word("legs", density=0.9)])
    fovea = open_fovea(doubtful, "better", doubtful, policy__mode="ask")
    session = fovea.session()
    list(session.send("Q"))
    head = session.head
    list(session.answer(session.pending_asks()[0], "both"))
    assert session.head == head and len(session.children(session.node(head).parent)) == 2
    session.set_policy(budget=1.0)
    list(session.send("Q2"))
    list(session.answer(session.pending_asks()[0], "always"))
    assert session.policy.mode == "auto"


def test_forks_are_found(open_fovea):
    fovea = open_fovea(Script("two legs", by_tier={SIXTEEN: "two eggs"}))
    session = fovea.session()
    list(session.send("Q"))
    forks = session.forks(session.head)
    assert forks.tier == SIXTEEN and forks.forks() == [1]
    assert forks.judgements[1].best_text == " eggs"


def test_compaction_keeps_the_persons_words(open_fovea):
    fovea = open_fovea("One.", "Two.", "They spoke of birds.", "Three.")
    session = fovea.session()
    list(session.send("First question"))
    list(session.send("Second question"))
    (node,) = list(session.compact())[-1].replies
    assert node.role == "summary" and session.head == node.id
    list(session.send("Third"))
    system = fovea.engine.requests[-1].messages[0].content
    assert "They spoke of birds." in system and "- First question\n- Second question" in system
    assert [m.role for m in fovea.engine.requests[-1].messages] == ["system", "user"]
    assert len(session.path()) == 7


def test_folding_a_long_conversation_says_what_the_summary_is_without(open_fovea):
    engine = ScriptedEngine(["A summary."], ctx=400)
    fovea = open_fovea(engine=engine)
    parent = None
    with fovea.tree.transaction():
        for number in range(1000):
            role = "assistant" if number % 2 else "user"
            parent = fovea.tree.add("long", parent, role, f"words of message {number}", author="imported").id
        fovea.tree.shelf.set_head("long", parent)
    session = fovea.session("long")
    counted = []
    engine.count = lambda messages, count=engine.count: counted.append(messages) or count(messages)
    events = list(session.compact())
    (left_out,) = [event.text for event in events if isinstance(event, Said)]
    assert "oldest 9" in left_out and "without them" in left_out
    assert session.path()[-1].role == "summary"
    assert len(counted) < 25
    assert "message 999" in engine.requests[-1].messages[0].content


def test_an_empty_summary_is_refused(open_fovea):
    fovea = open_fovea("One.", "Two.", "  ")
    session = fovea.session()
    list(session.send("First"))
    list(session.send("Second"))
    head = session.head
    last = list(session.compact())[-1]
    assert isinstance(last, Stopped) and "no summary" in last.problem and session.head == head


def test_the_meter_counts_and_says_when_it_estimates(open_fovea):
    fovea = open_fovea("One.")
    session = fovea.session()
    assert session.meter("a draft").estimated
    list(session.send("First"))
    before = session.meter()
    assert not before.estimated and before.available == 4096 and before.reserved == 512
    assert session.meter("a long draft of many words").used > before.used


def test_the_meter_estimates_where_the_engine_cannot_be_asked(open_fovea, monkeypatch):
    def refuse(self, messages):
        raise EngineBusy("in the middle of a reply")

    session = open_fovea("One.").session()
    list(session.send("First"))
    monkeypatch.setattr(ScriptedEngine, "count", refuse)
    meter = session.meter("a draft")
    assert meter.estimated and meter.available == 4096 and meter.used > 0


class FarHigh(ScriptedEngine):
    """Its highest tier is a server."""

    def _tier(self, name):
        return replace(super()._tier(name), remote=name == SIXTEEN)


def test_a_server_on_top_takes_nothing_from_the_tiers_below_it(open_fovea):
    script = Script([Word("two"), Word(" legs", density=0.9, high=" eggs")])
    fovea = open_fovea(engine=FarHigh([script, script]), policy__mode="auto", policy__budget=1.0)
    session = fovea.session()
    list(session.send("Q"))
    assert (fovea.engine.requests[0].decoder, fovea.engine.requests[0].high) == (Decoder.GATED, "8-bit")
    assert session.forks(session.head).tier == "8-bit"
    with pytest.raises(TurnError, match="no part of it"):
        list(session.look_closer(session.head, scope=Scope.SPAN, start=0, end=1, tier=SIXTEEN))
    fovea.change({"high": SIXTEEN})
    said = [e.text for e in session.send("Q") if isinstance(e, Said)]
    assert fovea.engine.requests[-1].decoder is Decoder.PLAIN
    assert any("16-bit is a server" in text for text in said)


def test_a_reply_written_plainly_at_the_tier_that_was_asked_for_lost_none(open_fovea):
    class Plain(ScriptedEngine):
        def run(self, request):
            at_high = replace(request, tier=request.high or request.tier, decoder=Decoder.PLAIN)
            yield from super().run(at_high)

    fovea = open_fovea(engine=Plain(["One."]), policy__mode="auto", policy__faithful=True)
    session = fovea.session()
    list(session.send("Q"))
    assert [d.kind for d in session.decisions()] == ["auto"]


def test_a_reply_bears_the_name_of_the_tier_that_wrote_it(open_fovea):
    class Away(ScriptedEngine):
        """Its server does not answer."""

        def run(self, request):
            yield from super().run(replace(request, tier=FOUR) if request.tier == SIXTEEN else request)

    session = open_fovea(engine=Away(["One.", "Two."])).session()
    (reply,) = list(session.send("Q", tier=SIXTEEN))[-1].replies
    assert (reply.tier, reply.author) == (FOUR, FOUR)
    (reply,) = list(session.send("Q", tier="8-bit"))[-1].replies
    assert (reply.tier, reply.author) == ("8-bit", "8-bit")


def test_a_lost_tier_is_recorded(open_fovea):
    class Losing(ScriptedEngine):
        def run(self, request):
            for event in super().run(request):
                yield replace(event, decoder=Decoder.PLAIN) if hasattr(event, "decoder") else event

    fovea = open_fovea(engine=Losing([Script([Word("One", density=0.0)])]), policy__mode="auto")
    session = fovea.session()
    list(session.send("Q"))
    assert [d.kind for d in session.decisions()] == ["auto", "lost-tier"]


def test_notices_of_the_ladder_are_told_once(open_fovea):
    fovea = open_fovea(engine=ScriptedEngine(problems={SIXTEEN: "not enough memory"}))
    session = fovea.session()
    first = [e.text for e in session.send("Q") if isinstance(e, Said)]
    second = [e.text for e in session.send("Q") if isinstance(e, Said)]
    assert any("not enough memory" in text for text in first) and second == []


def test_versions_differ_also_with_a_fixed_seed(open_fovea):
    fovea = open_fovea(sampling__seed=5)
    session = fovea.session()
    list(session.send("Q"))
    list(session.regenerate(session.head))
    list(session.regenerate(session.head))
    assert [request.sampling.seed for request in fovea.engine.requests] == [5, 6, 7]


def test_continuations_are_varied_also_at_temperature_zero(open_fovea):
    fovea = open_fovea(sampling__temperature=0)
    session = fovea.session()
    said = [e.text for e in session.send("Q", n=2) if isinstance(e, Said)]
    assert fovea.engine.requests[0].sampling.temperature == 0.7 and "0.7" in said[0]


def test_the_prompt_has_the_form_the_built_in_model_is_trained_on(open_fovea):
    from agent.recall import NullMemory
    from training import formats

    class Noting(NullMemory):
        def standing_notes(self, budget_tokens):
            return "- The key is in the hall."

    session = open_fovea(memory=Noting()).session()
    list(session.send("Where?"))
    assert session.prompt()[0].content == formats.system_prompt(notes=["The key is in the hall."])


def test_an_edited_reply_can_be_continued_again_and_repaired(open_fovea):
    fovea = open_fovea("I like red apples", "ignored ignored and pears", "ignored ignored ignored too", "x y z")
    session = fovea.session()
    list(session.send("Q"))
    (first,) = list(session.continue_from(session.head, "We love green tea"))[-1].replies
    assert "".join(step.text for step in first.steps) == first.text
    (second,) = list(session.continue_from(first.id, "We love green tea, hot"))[-1].replies
    assert second.text.startswith("We love green tea, hot")
    assert fovea.engine.text_of(fovea.engine.requests[-1].prefix) == "We love green tea, hot"
    (repaired,) = list(session.look_closer(second.id, scope=Scope.SPAN, start=2, end=3))[-1].replies
    assert repaired.text.startswith("We love ")
    assert "green" not in repaired.text


def test_a_tier_rests_and_comes_back(open_fovea):
    fovea = open_fovea("One.", "Two.")
    assert fovea.rest("8-bit", True).loaded() == [FOUR, SIXTEEN]
    session = fovea.session()
    first = list(session.send("Q"))[-1].replies[0]
    (closer,) = list(session.look_closer(first.id))[-1].replies
    assert closer.tier == SIXTEEN
    with pytest.raises(TurnError, match="it is unloaded"):
        list(session.send("Q", tier="8-bit"))
    fovea.rest(SIXTEEN, True)
    with pytest.raises(TurnError, match="only tier"):
        fovea.rest(FOUR, True)
    assert fovea.rest("8-bit", False).loaded() == [FOUR, "8-bit"]
    assert fovea.ladder().tiers[2].resting


class OneDies(ScriptedEngine):
    """Its host dies of loading one tier."""

    def load(self, ladder):
        if self.loads and SIXTEEN not in ladder.resting:
            self.loads, self.closed = 0, True
            raise LoadError("The engine ended while it loaded the model: killed by SIGKILL")
        return super().load(ladder)


def test_a_tier_that_the_host_dies_of_stays_unloaded_and_the_conversation_goes_on(open_fovea):
    fovea = open_fovea(engine=OneDies(["One."]))
    fovea.rest(SIXTEEN, True)
    with pytest.raises(LoadError, match="SIGKILL"):
        fovea.rest(SIXTEEN, False)
    assert fovea.ladder().loaded() == [FOUR, "8-bit"]
    assert list(fovea.session().send("Q"))[-1].replies[0].text == "One."
    fovea.rest("8-bit", True)
    assert fovea.ladder().tiers[2].resting


def test_the_reply_of_a_server_is_read_anew_before_it_goes_on(open_fovea):
    fovea = open_fovea("Red and white.", "and white.", "and blue.")
    session = fovea.session()
    list(session.send("Q"))
    first = session.node(session.head)
    red = Step(-1, "Red", SIXTEEN, p=1.0, entropy=0.0, margin=10.0, density=0.0)
    half = fovea.tree.add(
        session.id, first.parent, "assistant", "Red", author=SIXTEEN, status=Status.STOPPED, model=first.model,
        tier=SIXTEEN, steps=[red],
    )  # fmt: skip
    with pytest.raises(TurnError, match="the server of its 16-bit tier"):
        session.forks(half.id)
    for go_on in (session.resume(half.id), session.continue_from(half.id, "Red ")):
        (reply,) = list(go_on)[-1].replies
        assert reply.text.startswith("Red")
        assert fovea.engine.requests[-1].prefix and min(fovea.engine.requests[-1].prefix) >= 0


def test_a_model_changed_before_one_was_loaded_is_the_one_that_replies(open_fovea):
    fovea = open_fovea("One.", model="/nowhere/old.gguf")
    fovea.change({"model": "/elsewhere/new.gguf"})
    session = fovea.session()
    assert list(session.send("Q"))[-1].replies[0].model == "new"


def test_a_server_named_before_a_model_was_loaded_is_reached(folders):
    from agent.app import Fovea
    from agent.settings import Settings

    with Fovea.open(Settings(), memory=NullMemory(), folders=folders) as fovea:
        fovea.change({"tiers": {"far": {"url": "http://127.0.0.1:9/v1", "model": "big"}}})
        assert fovea.ladder().loaded()[-1] == "far"


def test_changed_settings_count_at_once_and_a_changed_ladder_is_loaded_anew(open_fovea):
    fovea = open_fovea("One.", "Two.")
    session = fovea.session()
    list(session.send("Q"))
    fovea.change({"sampling.max_tokens": 7, "system_prompt": "Be brief."})
    assert fovea.ladder_current and fovea.engine.loads == 1
    list(session.send("Again"))
    sent = fovea.engine.requests[-1]
    assert sent.max_tokens == 7 and sent.messages[0].content == "Be brief."
    fovea.change({"engine.threads": 3})
    assert not fovea.ladder_current and session.meter().estimated
    fovea.ladder()
    assert fovea.ladder_current and fovea.engine.loads == 2
    with pytest.raises(SettingsError):
        fovea.change({"engine.threads": "many"})
    assert fovea.settings.engine.threads == 3


def test_a_stop_before_the_first_event_is_meant_for_that_turn(open_fovea):
    fovea = open_fovea("One.", "Two.")
    session = fovea.session()
    events = session.send("First")
    session.cancel()
    *_, last = list(events)
    assert isinstance(last, Stopped) and last.replies == ()
    assert texts(session.path()) == ["First"]
    again = list(session.reply())  # and for no other
    assert isinstance(again[-1], Finished)
    closer = session.look_closer(again[-1].replies[0].id)
    session.cancel()
    *_, last = list(closer)
    assert isinstance(last, Stopped) and texts(session.path()) == ["First", "One."]


def test_a_turn_that_was_refused_does_not_take_the_stop_away(open_fovea):
    fovea = open_fovea("A long reply that is stopped in its middle.")
    session = fovea.session()
    events = session.send("First")
    next(events)
    session.cancel()
    with pytest.raises(BusyError):
        list(session.send("Second"))
    assert isinstance(list(events)[-1], Stopped)


def stopped_after(fovea, words, question="Count"):
    session = fovea.session()
    for event in session.send(question):
        if isinstance(event, Wrote):
            words -= 1
            if not words:
                session.cancel()
    return session, session.node(session.head)


def test_a_resumed_reply_keeps_its_speed(open_fovea):
    """The tokens of each run beside its time, however often it was stopped."""
    fovea = open_fovea(Script("one two three four five six", token_s=0.1))
    session, partial = stopped_after(fovea, 4)
    before = session.speed(FOUR).decode_tok_s
    assert (partial.usage.completion_tokens, before) == (4, pytest.approx(10))
    (reply,) = list(session.resume(partial.id))[-1].replies
    assert reply.text == "one two three four five six"
    assert reply.usage.completion_tokens == 6 and reply.timing.decode_s == pytest.approx(0.6)
    assert session.speed(FOUR).decode_tok_s == pytest.approx(before)
    assert session.spending().all == 6


def of_another_model(open_fovea):
    """A conversation with a stopped reply of a model whose token ids mean other words here."""
    first = open_fovea(Script("one two three four five six", token_s=0.1), model="/models/other.gguf")
    session, partial = stopped_after(first, 3)
    assert partial.model == "other"
    first.close()
    engine = ScriptedEngine([Script("x x x four five six")])
    engine.tokenize("all ids are shifted by these words")
    fovea = open_fovea(engine=engine)
    return fovea, fovea.session(session.id), partial


def test_another_model_resumes_the_text_and_not_the_tokens(open_fovea):
    fovea, session, partial = of_another_model(open_fovea)
    (reply,) = list(session.resume(partial.id))[-1].replies
    assert fovea.engine.text_of(fovea.engine.requests[-1].prefix) == partial.text == "one two three"
    assert reply.text == "one two three four five six" and reply.id != partial.id
    assert (reply.model, session.node(partial.id).model) == (fovea.session()._desk.model, "other")
    assert [d.text for d in session.decisions() if d.node == reply.id] == ["pocket went on with a reply of other"]


def test_another_model_continues_from_text_and_rewrites_a_span_of_it(open_fovea):
    fovea, session, partial = of_another_model(open_fovea)
    (edited,) = list(session.continue_from(partial.id, "one two more"))[-1].replies
    assert fovea.engine.text_of(fovea.engine.requests[-1].prefix) == "one two more"
    assert edited.text.startswith("one two more")
    list(session.look_closer(partial.id, scope=Scope.SPAN, start=1, end=2))
    assert fovea.engine.text_of(fovea.engine.requests[-2].prefix) == "one"


def test_another_model_does_not_judge_tokens_that_are_not_its_own(open_fovea):
    fovea, session, partial = of_another_model(open_fovea)
    with pytest.raises(TurnError, match="was written by other"):
        session.forks(partial.id)
    assert fovea.engine.scored == []


class Loading(ScriptedEngine):
    """Looks at what is on the disk while it loads, as somebody does who kills the program meanwhile."""

    def __init__(self, *scripts: str, look, **options) -> None:
        super().__init__(scripts, **options)
        self._look = look

    def load(self, ladder):
        self._look()
        return super().load(ladder)


def test_a_message_is_saved_before_a_model_is_loaded_for_it(open_fovea, folders):
    found = []

    def look():
        with closing(sqlite3.connect(folders.conversations)) as connection:
            found.extend(connection.execute("SELECT text, head = nodes.id FROM nodes JOIN sessions"))

    fovea = open_fovea(engine=Loading("One.", look=look))
    session = fovea.session()
    list(session.send("A long thought"))
    assert found == [("A long thought", 1)]
    assert texts(session.path()) == ["A long thought", "One."]


BROKEN = {FOUR: "damaged", "8-bit": "damaged", SIXTEEN: "damaged"}


def test_a_message_no_model_can_be_loaded_for_is_taken_back(open_fovea):
    fovea = open_fovea(engine=ScriptedEngine(problems=BROKEN))
    session = fovea.session()
    with pytest.raises(LoadError, match="damaged"):
        list(session.send("First"))
    assert session.head is None and fovea.sessions() == [] and fovea.search("First") == []


def test_in_an_older_conversation_it_is_taken_back_to_where_that_was(open_fovea):
    fovea = open_fovea("One.")
    list(fovea.session().send("First"))
    fovea.close()
    fovea = open_fovea(engine=ScriptedEngine(problems=BROKEN))
    session = fovea.session("last")
    with pytest.raises(LoadError, match="damaged"):
        list(session.send("Second"))
    assert texts(session.path()) == texts(fovea.session("last").path()) == ["First", "One."]
    assert fovea.search("Second") == []


def test_a_message_that_was_sent_stays_when_its_loading_is_stopped_and_fails(open_fovea):
    """Which is what leaving the program while it loads amounts to."""
    engine = Loading(look=lambda: session.cancel(), problems=BROKEN)
    fovea = open_fovea(engine=engine)
    session = fovea.session()
    with pytest.raises(LoadError):
        list(session.send("A long thought"))
    assert texts(session.path()) == ["A long thought"]
    assert texts(fovea.session("last").path()) == ["A long thought"]


def test_a_policy_that_cannot_be_written_to_the_log_does_not_change(open_fovea, monkeypatch):
    fovea = open_fovea("One.")
    session = fovea.session()
    list(session.send("First"))

    def full(*parts):
        raise DiskFullError("no room")

    monkeypatch.setattr(fovea.tree.ledger, "note", full)
    with pytest.raises(DiskFullError):
        session.set_policy(budget=0.5)
    assert session.policy.budget == 0.2


def test_a_conversation_made_private_while_its_model_loads_stays_private_when_loading_fails(open_fovea):
    fovea = open_fovea("One.")
    session, load = fovea.session(), fovea.engine.load

    def fails(ladder):
        session.set_private(True)
        fovea.engine.load = load
        raise LoadError("no memory")

    fovea.engine.load = fails
    with pytest.raises(Exception, match="no memory"):
        list(session.send("A secret"))
    assert session.path() == []
    list(session.send("A secret"))
    assert session.private and [node.text for node in session.path()] == ["A secret", "One."]


def test_a_question_is_taken_back_where_its_reply_cannot_be_begun(open_fovea, monkeypatch):
    fovea = open_fovea("One.")
    session = fovea.session()

    def full(*_):
        raise DiskFullError("full")

    with monkeypatch.context() as patch:
        patch.setattr(Tree, "set_passages", full)
        with pytest.raises(DiskFullError):
            list(session.send("First"))
    list(session.send("First"))
    assert [node.text for node in session.path()] == ["First", "One."]
    assert len(fovea.search("First")) == 1
