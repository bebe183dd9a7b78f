from __future__ import annotations

import asyncio
import threading

import pytest
from textual import events

from agent.values import Status
from backends.scripted import Script, ScriptedEngine
from tests.tui.app.conftest import Driver, Open
from tui.app.widgets.group import ReplyGroup
from tui.app.widgets.queue import Queue
from tui.app.widgets.reply import Reply
from tui.app.widgets.said import Said
from tui.app.widgets.welcome import Welcome

LONG = " ".join(f"word{i}" for i in range(3000))
READING = 7.0
"""Seconds a script pretends to read its prompt."""


def slowly(seconds: float) -> None:
    """Half a minute for a whole reply, so that there is still a middle to stop in on a busy machine."""
    if seconds:
        threading.Event().wait(0.05)


async def test_the_first_screen_is_there_before_the_model(opened: Open) -> None:
    async with opened(ready=False) as driver:
        await driver.until(lambda: driver.chat.query(Welcome))
        assert driver.chat.prompt.has_focus
        await driver.until(lambda: driver.chat.ladder is not None)
        assert "4-bit · 8-bit · 16-bit ready" in driver.shown()


async def test_a_message_is_sent_and_the_reply_shown_with_its_tier(opened: Open) -> None:
    async with opened(["All **birds** lay eggs."]) as driver:
        await driver.ask("Why eggs?")
        assert driver.texts == ["Why eggs?", "All **birds** lay eggs."]
        assert not driver.chat.query(Welcome)
        shown = driver.shown()
        assert "All birds lay eggs." in shown
        assert "4-bit" in shown.split("Why eggs?")[2]
        assert driver.chat.prompt.text == ""


async def test_enter_sends_and_ctrl_j_makes_a_new_line(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.type("one")
        await driver.press("ctrl+j")
        await driver.type("two")
        assert driver.chat.prompt.text == "one\ntwo"
        await driver.press("enter")
        await driver.idle()
        assert driver.texts[0] == "one\ntwo"


async def test_letters_and_enter_in_one_burst_arrive_in_order(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        driver.chat.prompt.focus()
        await driver.pilot.pause()
        for key, character in [("a", "a"), ("ctrl+j", None), ("b", "b"), ("enter", "\r")]:
            driver.app.post_message(events.Key(key, character))
        await driver.until(lambda: driver.texts)
        await driver.idle()
        assert driver.texts == ["a\nb", "Yes."]


async def test_what_is_typed_behind_enter_is_the_next_message(opened: Open) -> None:
    async with opened(["Yes.", "No."]) as driver:
        driver.chat.prompt.focus()
        await driver.pilot.pause()
        for key in ["o", "n", "e", "enter", "t", "w", "o", "enter", "x", "y"]:
            driver.app.post_message(events.Key(key, "\r" if key == "enter" else key))
        await driver.until(lambda: len(driver.texts) == 4)
        await driver.idle()
        assert driver.texts == ["one", "Yes.", "two", "No."]
        assert driver.chat.prompt.text == "xy"


async def test_a_command_that_does_not_exist_stays_in_the_prompt(opened: Open) -> None:
    async with opened() as driver:
        await driver.type("/nonsense")
        await driver.press("enter")
        assert driver.chat.prompt.text == "/nonsense"


async def test_a_paste_never_sends_and_loses_what_cannot_be_seen(opened: Open) -> None:
    async with opened() as driver:
        driver.chat.prompt.focus()
        driver.chat.prompt.post_message(events.Paste("line one\nline\u202e two\x1b[31m\n"))
        await driver.pilot.pause()
        assert driver.chat.prompt.text == "line one\nline two\n"
        assert driver.texts == []


async def test_stop_keeps_the_part_and_c_continues_it(opened: Open) -> None:
    async with opened([Script(LONG, token_s=1)], wait=slowly) as driver:
        await driver.type("Talk")
        await driver.press("enter")
        await driver.until(lambda: driver.chat.live and driver.chat.live.tokens > 5)
        await driver.press("escape")
        await driver.idle()
        reply = driver.chat.session.path()[-1]
        assert reply.status is Status.STOPPED
        assert LONG.startswith(reply.text) and 0 < len(reply.text) < len(LONG)
        # (Its caption says so too, but may have scrolled out of sight: how much is written before the stop is chance.)
        assert "the part written is kept" in driver.shown()
        await driver.press("ctrl+t", "c")
        await driver.until(lambda: driver.chat.live and driver.chat.live.tokens > 5)
        await driver.press("escape")
        await driver.idle()
        again = driver.chat.session.path()[-1]
        assert again.id == reply.id
        assert LONG.startswith(again.text) and len(again.text) > len(reply.text)


async def test_stop_works_while_the_prompt_is_read(opened: Open) -> None:
    reading, told = threading.Event(), threading.Event()

    def wait(seconds: float) -> None:
        """The prompt takes until the engine is told to stop."""
        if seconds == READING:
            reading.set()
            told.wait(20)

    engine = ScriptedEngine([Script(LONG, prefill_s=READING)], wait=wait)
    cancel = engine.cancel

    def cancelled() -> None:
        cancel()
        if reading.is_set():
            told.set()

    engine.cancel = cancelled  # type: ignore[method-assign]
    async with opened(engine=engine) as driver:
        await driver.type("Talk")
        await driver.press("enter")
        await driver.until(reading.is_set)
        await driver.press("escape")
        await driver.idle()
        assert told.is_set()
        assert driver.texts == ["Talk"]


async def be_brief(driver: Driver) -> None:
    """A reply is being written, and a message waits."""
    await driver.type("Talk")
    await driver.press("enter")
    await driver.until(lambda: driver.chat.live and driver.chat.live.tokens > 5)
    await driver.type("Be brief")
    await driver.press("enter")


async def test_a_waiting_message_steers_the_reply(opened: Open) -> None:
    async with opened([Script(LONG, token_s=1), "Shorter."], wait=slowly) as driver:
        await be_brief(driver)
        assert "Enter alone stops the reply and sends it now" in driver.shown()
        await driver.press("enter")
        await driver.until(lambda: driver.texts[-1] == "Shorter.")
        question, part, steering, reply = driver.chat.session.path()
        assert part.status is Status.STOPPED and 0 < len(part.text) < len(LONG)
        assert (question.text, steering.text, reply.text) == ("Talk", "Be brief", "Shorter.")
        engine = driver.fovea.engine
        assert isinstance(engine, ScriptedEngine)
        assert part.text in [message.content for message in engine.requests[-1].messages], "it goes on from the part"


async def test_steering_stops_the_reply_also_while_completions_are_open(opened: Open) -> None:
    async with opened([Script(LONG, token_s=1), "Shorter."], wait=slowly) as driver:
        await be_brief(driver)
        await driver.type("/")
        await driver.until(lambda: driver.chat.prompt.completing)
        await driver.pilot.pause()
        await driver.chat.submit("")
        assert not driver.chat.prompt.completing
        await driver.until(lambda: driver.texts[-1] == "Shorter.")
        assert driver.chat.session.path()[1].status is Status.STOPPED


async def test_messages_typed_meanwhile_wait_and_are_sent_in_order(opened: Open) -> None:
    hold = threading.Event()
    async with opened(
        [Script("one two", token_s=1), "Second.", "Third."], wait=lambda s: hold.wait(10) if s else None
    ) as driver:
        await driver.type("first")
        await driver.press("enter")
        await driver.until(lambda: driver.chat.busy)
        for text in ("second", "third"):
            await driver.type(text)
            await driver.press("enter")
        assert list(driver.chat.waiting) == ["second", "third"]
        assert driver.chat.query_one(Queue).display
        await driver.press("up")
        assert driver.chat.prompt.text == "third"
        await driver.press("enter")
        hold.set()
        await driver.until(lambda: len(driver.texts) == 6)
        await driver.idle()
        assert driver.texts == ["first", "one two", "second", "Second.", "third", "Third."]
        assert not driver.chat.query_one(Queue).display


async def test_stopping_holds_the_queue_until_enter(opened: Open) -> None:
    async with opened([Script(LONG, token_s=1), "Second."], wait=slowly) as driver:
        await driver.type("first")
        await driver.press("enter")
        await driver.until(lambda: driver.chat.live and driver.chat.live.tokens)
        await driver.type("second")
        await driver.press("enter")
        await driver.press("escape")
        await driver.idle()
        assert list(driver.chat.waiting) == ["second"]
        assert "waiting · Enter sends the next" in driver.shown()
        driver.chat.prompt.focus()
        await driver.press("enter")
        await driver.until(lambda: len(driver.texts) == 4)


async def test_a_stop_that_comes_as_the_reply_ends_holds_the_queue_too(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends, late = threading.Event(), asyncio.Event()
    async with opened([Script("First.", token_s=1)], wait=lambda s: ends.wait(20) if s else None) as driver:
        monkeypatch.setattr(driver.chat.transcript, "forget_oldest", late.wait)
        await driver.type("first")
        await driver.press("enter")
        await driver.until(lambda: driver.chat.busy)
        await driver.type("second")
        await driver.press("enter")
        ends.set()
        while driver.chat.busy:
            await asyncio.sleep(0.01)
        driver.chat.action_stop()
        late.set()
        await driver.until(lambda: "Enter sends the next" in driver.shown())
        assert list(driver.chat.waiting) == ["second"]


async def test_what_waited_in_one_conversation_does_not_hold_the_next(opened: Open) -> None:
    scripts = [Script(LONG, token_s=1), Script("Other.", token_s=0.2), "Next."]
    async with opened(scripts, wait=slowly) as driver:
        await driver.type("first")
        await driver.press("enter")
        await driver.until(lambda: driver.chat.live and driver.chat.live.tokens)
        await driver.type("second")
        await driver.press("enter")
        await driver.press("escape")
        await driver.idle()
        await driver.command("/new")
        assert not driver.chat.query_one(Queue).display and not driver.chat.prompt.queued
        await driver.type("other")
        await driver.press("enter")
        await driver.type("next")
        await driver.press("enter")
        await driver.until(lambda: len(driver.texts) == 4)


async def test_up_and_down_walk_the_earlier_prompts(opened: Open) -> None:
    async with opened(["1.", "2."]) as driver:
        await driver.ask("first")
        await driver.ask("second")
        await driver.type("draft")
        await driver.press("up")
        assert driver.chat.prompt.text == "second"
        await driver.press("up")
        assert driver.chat.prompt.text == "first"
        await driver.press("down", "down")
        assert driver.chat.prompt.text == "draft"


async def test_look_closer_answers_beside_the_first(opened: Open) -> None:
    async with opened([Script("Low."), Script("High.")]) as driver:
        await driver.ask("Which?")
        await driver.press("ctrl+r")
        await driver.idle()
        group = driver.chat.query_one(ReplyGroup)
        assert group.beside
        assert [pane.node.tier for pane in group.panes if pane.node] == ["4-bit", "8-bit"]
        assert [pane.text for pane in group.panes] == ["Low.", "High."]
        assert group.has_class("-columns")
        assert driver.texts[-1] == "High."


async def test_ctrl_r_does_nothing_when_the_policy_is_off(opened: Open) -> None:
    async with opened(["Low."], policy__mode="off") as driver:
        await driver.ask("Which?")
        await driver.press("ctrl+r")
        await driver.idle()
        assert len(driver.chat.session.nodes()) == 2
        assert "policy is off" in driver.shown()


async def test_regenerate_keeps_every_version(opened: Open) -> None:
    async with opened(["One.", "Two.", "Three."]) as driver:
        await driver.ask("Count")
        await driver.press("ctrl+t", "r")
        await driver.idle()
        await driver.press("r")
        await driver.idle()
        assert driver.texts[-1] == "Three."
        assert "version 3 of 3" in driver.shown()
        await driver.press("h")
        await driver.idle()
        assert driver.texts[-1] == "Two."
        assert "Two." in driver.shown()
        await driver.press("v")
        assert driver.chat.query_one(ReplyGroup).beside
        assert len(driver.chat.query(Reply)) == 3


async def test_a_version_goes_on_where_it_was_left(opened: Open) -> None:
    async with opened(["One.", "More.", "Two."]) as driver:
        await driver.ask("Count")
        await driver.ask("On")
        await driver.press("ctrl+t", "k", "k", "r")
        await driver.idle()
        assert driver.texts == ["Count", "Two."]
        await driver.press("h")
        await driver.idle()
        assert driver.texts == ["Count", "One."]


async def test_editing_my_message_makes_a_branch(opened: Open) -> None:
    async with opened(["One.", "Deux."]) as driver:
        await driver.ask("Count")
        await driver.press("ctrl+t", "k", "e")
        driver.app.screen.query_one("TextArea").load_text("Compte")  # type: ignore[attr-defined]
        await driver.press("ctrl+s")
        await driver.until(lambda: driver.texts == ["Compte", "Deux."])
        await driver.idle()
        assert driver.chat.query_one(Said).versions == (2, 2)
        assert len(driver.chat.session.nodes()) == 4


async def test_editing_a_reply_goes_on_from_my_words(opened: Open) -> None:
    async with opened([Script("Birds lay eggs."), Script("unused")]) as driver:
        await driver.ask("Birds?")
        await driver.press("ctrl+t", "e")
        driver.app.screen.query_one("TextArea").load_text("Birds lay big")  # type: ignore[attr-defined]
        await driver.press("ctrl+s")
        await driver.until(lambda: driver.texts[-1] == "Birds lay big.")
        await driver.idle()
        assert driver.chat.session.path()[-1].author == "edited"
        assert "edited by you" in driver.shown()


async def test_delete_and_undo(opened: Open) -> None:
    async with opened(["One.", "Two."]) as driver:
        await driver.ask("a")
        await driver.ask("b")
        await driver.press("ctrl+t", "k", "x")
        await driver.idle()
        assert driver.texts == ["a", "One."]
        await driver.press("u")
        await driver.idle()
        assert "b" in driver.texts


async def test_bookmark(opened: Open) -> None:
    async with opened(["One."]) as driver:
        await driver.ask("a")
        await driver.press("ctrl+t", "b")
        await driver.press(*"here", "enter")
        await driver.until(lambda: driver.chat.session.path()[-1].bookmark == "here")
        await driver.until(lambda: "★ here" in driver.shown())


async def test_copying_a_reply_and_a_code_block(opened: Open) -> None:
    async with opened(["Look:\n\n```python\nprint(1)\n```\nand\n\n```\nls\n```\n"]) as driver:
        await driver.ask("code")
        await driver.press("ctrl+t", "y")
        assert driver.app.clipboard.startswith("Look:")
        assert "Copied" in driver.shown()
        await driver.press("Y")
        await driver.press("down", "enter")
        assert driver.app.clipboard == "ls"


async def test_the_view_stays_where_the_person_reads(opened: Open) -> None:
    async with opened(["\n\n".join(f"line {i}" for i in range(60)), Script(LONG, token_s=1)], wait=slowly) as driver:
        await driver.ask("long")
        transcript = driver.chat.transcript
        assert transcript.at_bottom
        await driver.type("more")
        await driver.press("enter")
        await driver.until(lambda: driver.chat.live and driver.chat.live.tokens > 3)
        transcript.scroll_to(y=5, animate=False)
        await driver.pilot.pause()
        before = driver.chat.live.tokens if driver.chat.live else 0
        await driver.until(lambda: driver.chat.live and driver.chat.live.tokens > before + 20)
        assert transcript.scroll_offset.y == 5
        await driver.press("escape")
        await driver.idle()
        assert transcript.scroll_offset.y == 5


async def test_a_failed_turn_gives_the_words_back(opened: Open) -> None:
    async with opened(["never"], engine__ctx=256) as driver:
        text = "word " * 5000
        await driver.type(text)
        await driver.press("enter")
        await driver.idle()
        assert driver.texts == []
        assert driver.chat.prompt.text == text
        assert "context" in driver.shown()


async def test_the_meter_counts_the_context(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("one two three")
        await driver.until(lambda: driver.chat.meter and driver.chat.meter.used > 10)
        assert "of 4.1k" in driver.shown()


async def test_compacting_folds_and_can_be_opened(opened: Open) -> None:
    async with opened(["1.", "2.", "3.", "They counted to three.", "4."]) as driver:
        for text in "abc":
            await driver.ask(text)
        await driver.command("/compact")
        await driver.until(lambda: "folded into a summary" in driver.shown())
        await driver.press("ctrl+t", "enter")
        assert "They counted to three." in driver.shown()
        await driver.ask("d")
        assert driver.texts[-1] == "4."


async def test_a_nearly_full_context_is_folded_by_itself(opened: Open) -> None:
    filler = " ".join(["word"] * 800)
    async with opened([filler, filler, filler, filler, "In short: words."], sampling__max_tokens=900) as driver:
        for text in "abcd":
            await driver.ask(text)
        await driver.until(lambda: "folded into a summary" in driver.shown())


async def test_quit_stops_the_reply_and_keeps_its_part(opened: Open) -> None:
    async with opened([Script(LONG, token_s=1)], wait=slowly) as driver:
        await driver.type("Talk")
        await driver.press("enter")
        await driver.until(lambda: driver.chat.live and driver.chat.live.tokens > 3)
        session = driver.chat.session
        await driver.press("ctrl+q")
        await driver.until(lambda: not session.writing)
        assert session.path()[-1].text.startswith("word0 word1")
