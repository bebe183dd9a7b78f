"""Density view and fork map."""

from __future__ import annotations

from textual.widgets import OptionList

from backends.scripted import Script
from tests.tui.app.conftest import Driver, Open, dense
from tui.app.screens.density import Density
from tui.app.screens.forks import Forks
from tui.app.widgets.group import ReplyGroup
from tui.app.widgets.token_text import TokenText


async def density(driver: Driver) -> Density:
    await driver.ask("When?")
    await driver.press("ctrl+t", "d")
    screen = driver.app.screen
    assert isinstance(screen, Density)
    await driver.pilot.pause()
    return screen


async def forks(driver: Driver) -> Forks:
    await driver.ask("When?")
    await driver.press("ctrl+t", "f")
    screen = driver.app.screen
    assert isinstance(screen, Forks)
    await driver.until(lambda: screen._map is not None)
    return screen


async def test_dense_tokens_are_marked_in_text_and_explained(opened: Open) -> None:
    async with opened([dense("1132", "Urnes")], size=(120, 40)) as driver:
        screen = await density(driver)
        shown = driver.shown()
        assert "█1132" in shown and "█Urnes" in shown
        assert "very dense" in shown and "2 tokens of 9 are dense" in shown
        assert screen.query_one(TokenText).steps[screen._at].text == " 1132"
        assert "Density 80 %" in shown and "4-bit wrote it on its own" in shown


async def test_the_cursor_walks_dense_tokens(opened: Open) -> None:
    async with opened([dense("1132", "Urnes")]) as driver:
        screen = await density(driver)
        await driver.press("n")
        assert screen.query_one(TokenText).steps[screen._at].text == " Urnes"
        await driver.press("N", "left")
        assert screen.query_one(TokenText).steps[screen._at].text == " around"
        await driver.press("g")
        assert screen._at == 0
        await driver.press("G", "up", "down")


async def test_a_gated_reply_shows_what_the_higher_tier_did(opened: Open) -> None:
    async with opened([dense("Urnes")], size=(120, 40), policy__mode="auto") as driver:
        await density(driver)
        shown = driver.shown()
        assert "≠" in shown
        assert "The gate fired and" in shown and "chose this" in shown
        assert "would write" in shown


async def test_the_high_tier_is_asked_about_every_token(opened: Open) -> None:
    async with opened([dense("Urnes")]) as driver:
        screen = await density(driver)
        await driver.press("a")
        await driver.until(lambda: screen._judged is not None)
        shown = driver.shown()
        assert "16-bit would write" in shown and "URNES" in shown and "70 %" in shown
        assert "20 % ━━ ← written" in shown, "its probability of the token that was written stands there too"
        await driver.press("1")
        await driver.until(lambda: len(driver.chat.session.nodes()) == 3)
        await driver.idle()
        assert driver.chat.session.path()[-1].text.startswith("The church was built around 1132 in URNES")


async def test_another_token_can_be_written_instead(opened: Open) -> None:
    async with opened([dense("Urnes")], size=(120, 40), policy__mode="auto") as driver:
        await density(driver)
        await driver.press("1")
        await driver.until(lambda: len(driver.chat.session.nodes()) == 3)
        await driver.idle()
        assert driver.texts[-1].startswith("The church was built around 1132 in Urnes")


async def test_looking_closer_from_a_token_keeps_what_stands_before(opened: Open) -> None:
    async with opened([dense("1132")], size=(120, 40)) as driver:
        await density(driver)
        await driver.press("c")
        await driver.until(lambda: len(driver.chat.session.nodes()) == 3)
        await driver.idle()
        new = driver.chat.session.path()[-1]
        assert new.text.startswith("The church was built around")
        assert new.steps[4].tier == "4-bit" and new.steps[5].tier == "8-bit"
        assert driver.chat.query_one(ReplyGroup).beside


async def test_the_fork_map_lists_what_the_highest_tier_would_say(opened: Open) -> None:
    async with opened([dense("Urnes", "church")], size=(120, 40)) as driver:
        screen = await forks(driver)
        assert screen.query_one(OptionList).option_count == 2
        shown = driver.shown()
        assert "16-bit agrees with 78 % of 9 tokens; 2 forks, worst first" in shown
        assert "prefers" in shown


async def test_both_ways_are_compared_and_the_other_taken(opened: Open) -> None:
    script = Script(dense("1132").text, by_tier={"16-bit": "The church was built around 1130 in Oslo ."})
    async with opened([script], size=(120, 40)) as driver:
        screen = await forks(driver)
        await driver.press("enter")
        await driver.until(lambda: screen._other)
        await driver.until(lambda: "differ" in driver.shown())
        assert "[1132]" in driver.shown() and "[1130]" in driver.shown()
        before = driver.texts[-1]
        await driver.press("t")
        await driver.idle()
        assert driver.texts[-1] != before and "1130" in driver.texts[-1]
        assert driver.fovea.tree.ledger.picks()


async def test_branching_keeps_both_and_stays(opened: Open) -> None:
    script = Script(dense("1132").text, by_tier={"16-bit": "The church was built around 1130 in Urnes ."})
    async with opened([script], size=(120, 40)) as driver:
        screen = await forks(driver)
        before = driver.texts[-1]
        await driver.press("b")
        assert "Press Enter first" in driver.shown()
        await driver.press("enter")
        await driver.until(lambda: screen._other and screen._turn is None)
        await driver.press("b")
        await driver.press("escape")
        await driver.idle()
        assert driver.texts[-1] == before
        assert any("1130" in node.bookmark for node in driver.chat.session.nodes())


async def test_repairing_rewrites_to_the_end_of_the_sentence(opened: Open) -> None:
    script = Script(dense("1132").text, by_tier={"16-bit": "The church was built around 1130 at Urnes ."})
    async with opened([script], size=(120, 40)) as driver:
        screen = await forks(driver)
        await driver.press("r")
        await driver.until(lambda: screen._other)
        other = next(iter(screen._other.values()))
        assert other.text == "The church was built around 1130 at Urnes ."


async def test_after_one_token_the_whole_sentence_can_still_be_repaired(opened: Open) -> None:
    script = Script(dense("1132").text, by_tier={"16-bit": "The church was built around 1130 at Urnes ."})
    async with opened([script]) as driver:
        screen = await forks(driver)
        await driver.press("enter")
        await driver.until(lambda: screen._other and screen._turn is None)
        await driver.press("enter")
        assert "t takes it, b keeps both" in driver.shown(), "nothing is written twice"
        first = next(iter(screen._other.values()))
        await driver.press("r")
        await driver.until(lambda: next(iter(screen._other.values())) != first and screen._turn is None)
        assert len(driver.chat.session.nodes()) == 4


async def test_no_forks_is_said(opened: Open) -> None:
    async with opened(["All the same."]) as driver:
        await driver.ask("Same?")
        await driver.press("ctrl+t", "f")
        await driver.until(lambda: "nothing to repair" in driver.shown())
