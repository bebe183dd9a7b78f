"""Foreign text, faults, small terminals, a second instance, long conversations."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from agent.app import Fovea
from agent.values import Status
from backends.scripted import Script, ScriptedEngine
from backends.types import LadderSpec, LadderStatus
from tests.tui.app.conftest import Open, open_fovea
from tui.app.widgets.reply import Reply
from tui.app.widgets.transcript import WINDOW, Earlier

NASTY = [
    "[bold red]not markup[/] [@click=app.quit]no[/] [/] [",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x9b31m",
    "left \u202eright\u202c \u2066x\u2069 zero\u200bwidth\ufeff",
    "x" * 10_000,
    "👩‍👩‍👧‍👦 é e\u0301 Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L ｗｉｄｅ 日本語",
    "half \ud83d surrogate",
    "```\nunclosed fence [red]",
    "<script>alert(1)</script> <b>html</b> ![img](http://x/y.png) [link](javascript:alert(1))",
    "| a | b |\n|---|\n| only one",
    "\x00\x01\x02\x07\x08",
]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
async def test_foreign_text_in_replies_shows_harmlessly(opened: Open, text: str) -> None:
    async with opened([Script(text), Script(text)]) as driver:
        await driver.ask("Go")
        await driver.press("ctrl+t", "d", "escape")
        await driver.press("t", "escape")
        await driver.press("r")
        await driver.idle()
        await driver.press("v")
        shown = driver.shown()
        assert not [c for c in shown if (ord(c) < 32 and c != "\n") or c in "\u202e\u2066\u200b\ufeff\x9b\x1b"]
        assert driver.app.is_running


async def test_no_word_of_a_reply_is_left_out_because_it_looks_like_html(opened: Open) -> None:
    text = "A std::vector<int> of <name>, a <b and c> d.\n\n<div>\nin a block\n</div>\n\n- <one>\n\n<https://x.y>"
    async with opened([Script(text)]) as driver:
        await driver.ask("Go")
        for part in ("std::vector<int> of <name>, a <b and c> d.", "<div>", "in a block", "</div>", "• <one>"):
            assert part in driver.shown()
        assert "<https" not in driver.shown(), "a link is still a link"


async def test_markup_in_what_the_person_and_others_write_stays_text(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("[bold]hello[/bold] \x1b[31m")
        assert "[bold]hello[/bold]" in driver.shown()
        await driver.command("/rename [red]title[/]")
        assert "[red]title[/]" in driver.shown().splitlines()[0]
        await driver.press("ctrl+s")
        assert "[red]title[/]" in driver.shown()
        await driver.press("escape")
        await driver.command("/bookmark [blink]here")
        await driver.press("f4")
        assert "[blink]here" in driver.shown()


async def test_a_title_of_wide_characters_leaves_room_for_the_tiers(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("\u65e5\u672c\u8a9e" * 20)
        assert "4-bit → 8-bit → 16-bit · manual" in driver.shown().splitlines()[0]
        await driver.press("ctrl+s")
        assert "2 messages    just now" in driver.shown()


async def test_a_file_with_a_nasty_name_is_only_a_name(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "[red]\x1b[31mboat.txt").write_text("x", encoding="utf-8")
    async with opened() as driver:
        await driver.type("@boat")
        assert "\x1b" not in driver.shown()
        assert "[red]" in driver.shown()


async def test_a_restarted_host_is_one_line_and_the_reply_goes_on(opened: Open) -> None:
    async with opened([Script("one two three four", die_after=2)]) as driver:
        await driver.ask("Count")
        assert driver.texts[-1] == "one two three four"
        assert driver.shown().count("was restarted") == 1


async def test_a_lost_host_keeps_the_part_and_says_why(opened: Open) -> None:
    async with opened([Script("one two three four", fail_after=2)]) as driver:
        await driver.ask("Count")
        reply = driver.chat.session.path()[-1]
        assert (reply.text, reply.status) == ("one two", Status.FAILED)
        assert "could not be restarted" in driver.shown()
        assert "broken off, c continues it" in driver.shown()


async def test_a_model_that_cannot_be_loaded_is_said_and_the_app_stays(opened: Open, tmp_path: Path) -> None:
    engine = ScriptedEngine(problems={tier: f"{tier} is damaged" for tier in ("4-bit", "8-bit", "16-bit")})
    async with opened(engine=engine, ready=False) as driver:
        await driver.until(lambda: "4-bit is damaged" in driver.shown())
        await driver.type("Still here?")
        await driver.press("enter")
        await driver.idle()
        assert driver.chat.prompt.text == "Still here?"


async def test_a_message_that_got_no_reply_is_said_and_answered(opened: Open, tmp_path: Path) -> None:
    """What a program leaves that was killed between the two."""
    with open_fovea(tmp_path, ["One."]) as fovea:
        session = fovea.session()
        list(session.send("First"))
        fovea.tree.shelf.set_head(session.id, fovea.tree.add(session.id, session.head, "user", "Second", author="p").id)
        async with opened(fovea=fovea, session="last") as driver:
            assert "The last message got no reply; /again writes one" in driver.shown()
            await driver.command("/new")
            assert "got no reply" not in driver.shown()
            await driver.chat.open_session(session.id)
            assert "The last message got no reply; /again writes one" in driver.shown()
            await driver.command("/again")
            assert driver.texts[:3] == ["First", "One.", "Second"]
            assert driver.texts[3:] == ["You said: Second"]


async def test_a_result_of_background_work_that_cannot_be_taken_is_said_and_the_app_goes_on(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise LookupError("where it went")

    async with opened(["Yes."]) as driver:
        asyncio.get_running_loop().call_soon(fails)
        await driver.until(lambda: "where it went" in driver.shown())
        assert "in the event loop" in caplog.text
        await driver.ask("Still here?")
        assert driver.texts == ["Still here?", "Yes."]


async def test_tiers_being_made_are_said_from_their_thread(opened: Open) -> None:
    class Making(ScriptedEngine):
        """Tells how far it is, as the making of a tier does."""

        fovea: Fovea

        def load(self, ladder: LadderSpec) -> LadderStatus:
            if self.fovea.progress:
                self.fovea.progress("4-bit", 0.4)
            return super().load(ladder)

    engine = Making(problems={"16-bit": "no memory"})
    async with opened(engine=engine, ready=False, later=lambda fovea: setattr(engine, "fovea", fovea)) as driver:
        await driver.until(lambda: driver.chat.ladder is not None)
        assert "16-bit: no memory" in driver.shown()
    # Leaving stops the timers; one that was started outside the app's context would raise here.


async def test_a_lost_tier_is_said(opened: Open) -> None:
    async with opened(engine=ScriptedEngine(problems={"16-bit": "no memory"})) as driver:
        assert "16-bit: no memory" in driver.shown()
        assert driver.chat.ladder and driver.chat.ladder.loaded() == ["4-bit", "8-bit"]


async def test_a_tiny_terminal_and_back_while_streaming(opened: Open) -> None:
    words = " ".join(f"w{i}" for i in range(400))
    wait = threading.Event().wait
    async with opened([Script(words, token_s=1)], wait=lambda s: wait(0.002) if s else None) as driver:
        await driver.type("Talk")
        await driver.press("enter")
        for size in ((20, 5), (200, 60), (1, 1), (80, 24)):
            await driver.pilot.resize_terminal(*size)
            await driver.pilot.pause()
        await driver.press("f8", "escape", "f2", "escape")
        await driver.idle()
        assert driver.texts[-1] == words


async def test_a_second_instance_reads_and_says_so(opened: Open, tmp_path: Path) -> None:
    first = open_fovea(tmp_path, ["Yes."])
    second = open_fovea(tmp_path, ["No."])
    try:
        async with opened(fovea=first) as driver:
            await driver.ask("Mine?")
            session = driver.chat.session.id
        async with opened(fovea=second, session=session) as driver:
            assert "read only" in driver.shown().splitlines()[0]
            assert "Yes." in driver.shown()
            await driver.type("Mine too?")
            await driver.press("enter")
            await driver.pilot.pause()
            assert "another fovea is using" in driver.shown()
            assert driver.chat.prompt.text == "Mine too?"
            for key in ("x", "b", "r", "n", "escape", "d", "escape", "e", "escape"):
                await driver.press("ctrl+t", key)
            await driver.idle()
            assert [node.text for node in driver.chat.session.path()] == ["Mine?", "Yes."]
    finally:
        second.close()
        first.close()


async def test_a_long_conversation_is_windowed(opened: Open, tmp_path: Path) -> None:
    fovea = open_fovea(tmp_path)
    parent: int | None = None
    with fovea.tree.transaction():
        for number in range(400):
            role = "assistant" if number % 2 else "user"
            parent = fovea.tree.add("long", parent, role, f"Message {number}", author="imported").id
        fovea.tree.shelf.set_head("long", parent)
    try:
        async with opened(fovea=fovea, session="long") as driver:
            transcript = driver.chat.transcript
            assert "Message 399" in driver.shown()
            assert len(driver.chat.query(Reply)) == WINDOW // 2
            assert f"{400 - WINDOW:,} earlier messages" in str(transcript.query_one(Earlier).content)
            await driver.press("ctrl+t")
            for _ in range(WINDOW + 3):
                await driver.press("k")
            assert transcript.earlier == 400 - 2 * WINDOW
            await driver.press("g")
            await driver.until(lambda: "Message 0" in driver.shown())
            await driver.press("G")
            await driver.until(lambda: "Message 399" in driver.shown())
    finally:
        fovea.close()


async def test_without_colour_everything_is_still_said(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(["Yes."]) as driver:
        await driver.ask("Sure?")
        assert "4-bit" in driver.shown()
