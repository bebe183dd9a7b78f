"""Tree, memory, ladder, log, settings, sessions, help, palette, tour."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widgets import Input, OptionList, Static

from agent.settings import Settings
from agent.settings_file import flatten, load
from agent.values import Policy
from backends.scripted import Script, ScriptedEngine
from tests.tui.app.conftest import Open, Remembering, dense
from tui.app.screens.help import Help
from tui.app.screens.sessions import Sessions
from tui.app.screens.settings import SettingsScreen, entries
from tui.app.screens.tour import CARDS, Tour
from tui.app.screens.tree import TreeScreen
from tui.app.themes import themes
from tui.app.widgets.dial import Dial
from tui.app.widgets.tier_row import TierRow


async def test_the_tree_shows_branches_and_goes_there(opened: Open) -> None:
    async with opened(["One.", "Two."]) as driver:
        await driver.ask("Count")
        await driver.press("ctrl+t", "r")
        await driver.idle()
        await driver.press("t")
        screen = driver.app.screen
        assert isinstance(screen, TreeScreen)
        assert [branch.guide for branch in screen._branches] == ["", "├ ", "└ "]
        shown = driver.shown()
        assert "you" in shown and "4-bit" in shown and "3 messages, 2 branches" in shown
        await driver.press("k", "enter")
        await driver.idle()
        assert driver.texts == ["Count", "One."]


async def test_bookmarks_in_the_tree(opened: Open) -> None:
    async with opened(["One.", "Two."]) as driver:
        await driver.ask("a")
        await driver.ask("b")
        await driver.press("f4", "g", "home", "b")
        await driver.press(*"start", "enter")
        assert "★ start" in driver.shown()
        await driver.press("end", "n")
        assert driver.app.screen.query_one(OptionList).highlighted == 0
        await driver.press("x")
        assert "brings it back" in driver.shown()
        await driver.press("u", "escape")
        await driver.idle()
        assert len(driver.chat.session.nodes()) == 4


async def test_a_bookmark_on_a_long_message_is_in_view(opened: Open) -> None:
    async with opened(["word " * 100]) as driver:
        await driver.ask("Talk")
        await driver.command("/bookmark the place")
        await driver.press("f4")
        assert "★ the place  word word" in driver.shown()


async def test_passages_can_be_switched_off_and_the_reply_written_again(opened: Open) -> None:
    async with opened(["With both.", "Without boats."], memory=Remembering()) as driver:
        await driver.ask("Oldest?")
        await driver.press("f3")
        shown = driver.shown()
        assert "[x] [1] churches.md page 3" in shown and "Urnes is the oldest." in shown
        await driver.press("j", "space")
        assert "[ ] [2] boats.md" in driver.shown()
        await driver.press("r")
        await driver.until(lambda: driver.texts[-1] == "Without boats.")
        requests = driver.fovea.engine.requests  # type: ignore[attr-defined]
        assert "Boats float." in requests[0].messages[-1].content
        assert "Boats float." not in requests[-1].messages[-1].content


async def test_before_sending_the_panel_searches_for_the_draft(opened: Open) -> None:
    async with opened(["Yes."], memory=Remembering()) as driver:
        await driver.type("oldest church")
        await driver.press("f3")
        await driver.until(lambda: "would be recalled" in driver.shown())
        await driver.press("space", "escape")
        await driver.press("enter")
        await driver.idle()
        assert "Urnes is the oldest." not in driver.fovea.engine.requests[0].messages[-1].content  # type: ignore[attr-defined]


async def test_notes_are_listed_and_edited_in_place(opened: Open) -> None:
    async with opened() as driver:
        folder = driver.fovea.folders.data / "notes"
        folder.mkdir()
        (folder / "boat.md").write_text("# Boat\nred\n", encoding="utf-8")
        await driver.press("f3")
        assert "Boat" in driver.shown()
        await driver.press("enter")
        driver.app.screen.query_one("TextArea").load_text("# Boat\nblue\n")  # type: ignore[attr-defined]
        await driver.press("ctrl+s")
        await driver.until(lambda: "blue" in (folder / "boat.md").read_text(encoding="utf-8"))


async def test_a_note_is_proposed_as_a_diff_and_written_when_agreed(opened: Open) -> None:
    memory = Remembering()
    async with opened(memory=memory) as driver:
        await driver.command("/note metric units")
        await driver.until(lambda: "+- metric units" in driver.shown())
        await driver.press("enter")
        await driver.until(lambda: memory.accepted)


async def test_the_ladder_panel_says_what_policy_and_budget_mean(opened: Open) -> None:
    async with opened(["Yes."], size=(100, 30)) as driver:
        await driver.press("f2")
        await driver.until(lambda: "16-bit.gguf" in driver.shown())
        assert "about one token in five may be looked at closer" in driver.shown()
        await driver.press("right")
        assert driver.chat.session.policy.mode is Policy.ASK
        await driver.press("down", "down", "right", "right")
        budget = driver.app.screen.query_one("#budget", Dial)
        assert budget.has_focus
        assert driver.chat.session.policy.budget == 0.33
        assert "one token in three" in driver.shown()
        await driver.press("s", "escape")
        assert load(driver.fovea.folders.settings).policy.budget == 0.33
        assert "ask" in driver.shown().splitlines()[0]


async def test_a_tier_is_freed_and_loaded_from_the_ladder_panel(opened: Open) -> None:
    async with opened(["Yes."], size=(100, 30)) as driver:
        await driver.press("f2")
        await driver.until(lambda: "16-bit.gguf" in driver.shown())
        await driver.press("up")
        assert driver.app.screen.focused is driver.app.screen.query(TierRow).last()
        await driver.press("space")
        await driver.until(lambda: "unloaded; Space loads it" in driver.shown())
        await driver.press("escape")
        await driver.until(lambda: "16-bit" not in driver.shown().splitlines()[0])
        await driver.ask("Still there?")
        await driver.command("/closer 16-bit")
        assert "it is unloaded" in driver.shown()
        await driver.press("f2", "up", "space")
        await driver.until(lambda: "unloaded" not in driver.shown().split("budget")[0])
        await driver.press("escape")
        await driver.until(lambda: "4-bit → 8-bit → 16-bit" in driver.shown().splitlines()[0])


async def test_the_last_tier_stays(opened: Open) -> None:
    async with opened(engine=ScriptedEngine(tiers=["4-bit"]), size=(100, 30)) as driver:
        await driver.press("f2")
        await driver.until(lambda: "4-bit.gguf" in driver.shown())
        await driver.press("up", "space")
        await driver.until(lambda: "only tier that is loaded" in driver.shown())
        assert "4-bit.gguf" in driver.shown()


async def test_the_log_tells_every_decision_and_goes_into_a_file(opened: Open, tmp_path: Path) -> None:
    async with opened([dense("1132"), "High."]) as driver:
        await driver.ask("When?")
        await driver.press("ctrl+r")
        await driver.idle()
        await driver.press("f5")
        assert "manual" in driver.shown() and "looked closer at the whole reply with 8-bit" in driver.shown()
        await driver.press("w")
        (written,) = tmp_path.glob("fovea-log-*.txt")
        assert "manual" in written.read_text(encoding="utf-8")


async def test_settings_come_from_the_schema_and_are_written(opened: Open) -> None:
    assert [entry.key for entry in entries()] == list(flatten(Settings()))
    assert all(entry.help for entry in entries())
    async with opened() as driver:
        await driver.press("f8")
        screen = driver.app.screen
        assert isinstance(screen, SettingsScreen)
        await driver.press(*"sampling.top_k")
        await driver.press("enter")
        driver.app.screen.query_one(Input).value = "7"
        await driver.press("enter")
        assert load(driver.fovea.folders.settings).sampling.top_k == 7
        assert "sampling.top_k is 7 now" in driver.shown()
        await driver.press("enter")
        driver.app.screen.query_one(Input).value = "many"
        await driver.press("enter")
        assert "should be" in driver.shown()
        await driver.press("ctrl+x")
        assert load(driver.fovea.folders.settings).sampling.top_k == 40


async def test_settings_count_without_a_restart(opened: Open) -> None:
    async with opened(["Yes."], screen__tour=False) as driver:
        engine = driver.fovea.engine
        assert isinstance(engine, ScriptedEngine)
        await driver.press("f8")
        for name, value in (("engine.threads", "1"), ("sampling.max_tokens", "9"), ("screen.keys", "{density: z}")):
            driver.app.screen.query_one(Input).value = name
            await driver.pilot.pause()
            await driver.press("enter")
            driver.app.screen.query_one(Input).value = value
            await driver.press("enter")
        assert engine.loads == 1
        await driver.press("escape")
        await driver.until(lambda: engine.loads == 2 and driver.chat.ladder is not None)
        assert driver.fovea.settings.policy.mode == "manual", "what was chosen for this run stays in force"
        await driver.ask("Now?")
        assert engine.requests[-1].max_tokens == 9
        await driver.press("ctrl+t", "z")
        assert "Where meaning is dense" in driver.shown()


async def test_a_model_is_not_changed_under_a_running_reply(opened: Open) -> None:
    hold = threading.Event()
    script = Script("one two", token_s=1)
    async with opened([script], wait=lambda s: hold.wait(10) if s else None) as driver:
        engine = driver.fovea.engine
        assert isinstance(engine, ScriptedEngine)
        await driver.type("Talk")
        await driver.press("enter")
        driver.fovea.change({"engine.threads": 1})
        driver.chat.settings_changed()
        assert "when this reply is done" in driver.shown() or driver.chat.state.endswith("is done")
        assert engine.loads == 1
        driver.chat.action_ladder()
        await driver.pilot.pause()
        assert engine.loads == 1 and driver.chat.busy, "looking at the tiers must not end the reply"
        hold.set()
        await driver.idle()
        assert driver.texts[-1] == "one two"
        await driver.until(lambda: engine.loads == 2)


async def test_sessions_are_found_renamed_archived_deleted_and_brought_back(opened: Open) -> None:
    async with opened(["About whales.", "About pines."]) as driver:
        await driver.ask("sea")
        first = driver.chat.session.id
        await driver.press("ctrl+n")
        await driver.idle()
        await driver.ask("wood")
        await driver.press("ctrl+s")
        screen = driver.app.screen
        assert isinstance(screen, Sessions)
        await driver.press(*"whales")
        await driver.until(lambda: len(screen._found) == 1)
        await driver.press("f2")
        driver.app.screen.query_one(Input).value = "The ocean"
        await driver.press("enter")
        await driver.until(lambda: "The ocean" in driver.shown())
        await driver.press("f6")
        assert screen._found == []
        await driver.press("ctrl+a")
        assert [info.title for info in screen._found] == ["The ocean"]
        await driver.press("f6", "ctrl+a", "ctrl+x")
        assert screen._found == []
        await driver.press("ctrl+z")
        assert [info.title for info in screen._found] == ["The ocean"]
        await driver.press("enter")
        await driver.idle()
        assert driver.chat.session.id == first
        assert "About whales." in driver.shown()


async def test_help_begins_where_it_was_asked_for(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.press("f1")
        assert isinstance(driver.app.screen, Help)
        assert "While writing (you are here)" in driver.shown()
        await driver.press("escape")
        await driver.ask("?")
        await driver.press("ctrl+t", "f1")
        assert "On a message (you are here)" in driver.shown()


async def test_the_palette_finds_commands_by_their_words(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.press("ctrl+p")
        assert isinstance(driver.app.screen, CommandPalette)
        await driver.press(*"tiers, their sizes")
        await driver.until(lambda: driver.app.screen.query_one(OptionList).option_count)
        await driver.press("enter")
        await driver.until(lambda: "policy" in driver.shown() and "budget" in driver.shown())


async def test_the_tour_is_offered_once(opened: Open) -> None:
    async with opened(screen__tour=True) as driver:
        await driver.until(lambda: isinstance(driver.app.screen, Tour))
        for _ in CARDS:
            await driver.press("enter")
        assert not isinstance(driver.app.screen, Tour)
        assert load(driver.fovea.folders.settings).screen.tour is False
        await driver.command("/tour")
        await driver.press("escape")
        assert not isinstance(driver.app.screen, Tour)


async def test_exactly_what_would_be_sent_can_be_read(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("Sure?")
        await driver.command("/prompt")
        await driver.until(lambda: "── system" in driver.shown())
        assert "Sure?" in driver.shown()
        assert driver.app.screen.query(Static)


@pytest.mark.parametrize("theme", [theme.name for theme in themes()])
async def test_every_theme_opens(opened: Open, theme: str) -> None:
    async with opened(["Zero."], screen__theme=theme) as driver:
        await driver.ask("Hello")
        await driver.press("f2")
        assert driver.app.theme == theme and "4-bit" in driver.shown()
