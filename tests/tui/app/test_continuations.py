from __future__ import annotations

from backends.scripted import Script
from tests.tui.app.conftest import Driver, Open
from tui.app.widgets.group import ReplyGroup

THREE = Script("One.", continuations=("Two.", "Three."))


def group(driver: Driver) -> ReplyGroup:
    return driver.chat.query_one(ReplyGroup)


async def three(driver: Driver) -> None:
    await driver.ask("Count")
    await driver.press("ctrl+t", "n", "3")
    await driver.idle()


async def test_several_continuations_stand_in_columns_when_wide(opened: Open) -> None:
    async with opened(["Zero.", THREE], size=(160, 50)) as driver:
        await three(driver)
        assert [pane.text for pane in group(driver).panes] == ["Zero.", "One.", "Two.", "Three."]
        assert group(driver).has_class("-columns")
        assert all(pane.display for pane in group(driver).panes)


async def test_and_in_tabs_when_narrow(opened: Open) -> None:
    async with opened(["Zero.", THREE]) as driver:
        await three(driver)
        assert not group(driver).has_class("-columns")
        assert sum(bool(pane.display) for pane in group(driver).panes) == 1
        await driver.press("l")
        assert "Two." in driver.shown() or "Three." in driver.shown()
        await driver.pilot.resize_terminal(160, 50)
        await driver.until(lambda: group(driver).has_class("-columns"))


async def test_a_pick_is_kept_as_a_label(opened: Open) -> None:
    async with opened(["Zero.", THREE], size=(160, 50)) as driver:
        await three(driver)
        await driver.press("3")
        await driver.idle()
        assert driver.texts[-1] == "Two."
        assert not group(driver).beside
        (pick,) = driver.fovea.tree.ledger.picks()
        assert len(pick.candidates) == 4 and not pick.blind


async def test_enter_picks_the_focused_column(opened: Open) -> None:
    async with opened(["Zero.", THREE], size=(160, 50)) as driver:
        await three(driver)
        group(driver).panes[3].focus()
        await driver.press("enter")
        await driver.idle()
        assert driver.texts[-1] == "Three."


async def test_blind_hides_the_tiers_until_the_pick(opened: Open) -> None:
    by_tier = Script(by_tier={"4-bit": "Low.", "8-bit": "Mid.", "16-bit": "High."})
    async with opened(["Zero.", by_tier, by_tier, by_tier], size=(160, 50)) as driver:
        await driver.ask("Which?")
        await driver.press("ctrl+t", "n", "b", "t")
        await driver.idle()
        shown = "\n".join(driver.shown().splitlines()[1:])
        assert "bit" not in shown
        assert "Blind" in shown
        assert {pane.text for pane in group(driver).panes} == {"Low.", "Mid.", "High."}
        wanted = [pane.text for pane in group(driver).panes].index("High.") + 1
        await driver.press(str(wanted))
        await driver.idle()
        assert driver.texts[-1] == "High."
        assert "It was 16-bit" in driver.shown()
        assert driver.fovea.pick_stats("16-bit").won == 1


async def test_one_more_and_merge(opened: Open) -> None:
    async with opened(["Zero.", Script("One.", continuations=("Two.",)), "Extra."], size=(160, 50)) as driver:
        await driver.ask("Count")
        await driver.press("ctrl+t", "n", "2")
        await driver.idle()
        await driver.press("+")
        await driver.idle()
        assert [pane.text for pane in group(driver).panes][-1] == "Extra."
        await driver.press("M")
        area = driver.app.screen.query_one("TextArea")
        assert "Zero." in area.text and "Extra." in area.text  # type: ignore[attr-defined]
        area.load_text("All of it.")  # type: ignore[attr-defined]
        await driver.press("ctrl+s")
        await driver.until(lambda: driver.texts[-1] == "All of it.")
        assert driver.chat.session.path()[-1].author == "edited"


async def test_the_commands_do_the_same(opened: Open) -> None:
    async with opened(["Zero.", Script("One.", continuations=("Two.",)), "A.", "B."], size=(160, 50)) as driver:
        await driver.ask("Count")
        await driver.command("/several 2")
        assert len(group(driver).panes) == 3
        await driver.command("/compare 4-bit 16-bit")
        assert len(driver.chat.session.children(driver.chat.session.path()[0].id)) == 5


async def test_the_strip_says_how_to_get_to_the_keys(opened: Open) -> None:
    async with opened(["Low.", "High."]) as driver:
        await driver.ask("Which?")
        await driver.press("ctrl+r")
        await driver.idle()
        assert driver.chat.prompt.has_focus and "Tab, then 1-2 picks" in driver.shown()
        await driver.press("tab")
        assert "Side by side · 1-2 picks" in driver.shown()
        await driver.press("i")
        await driver.until(lambda: "Tab, then 1-2 picks" in driver.shown())
