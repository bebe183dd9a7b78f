from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from agent.values import Ask, Policy, Scope
from tests.tui.app.conftest import Driver, Open, dense
from tui.app.widgets.card import GRACE, Card

ASKING = {"policy__mode": "ask"}


async def asked(driver: Driver) -> Card:
    """A reply with a nearly tied word, and the card that follows."""
    await driver.ask("When?")
    await driver.until(lambda: driver.chat.query(Card))
    card = driver.chat.query_one(Card)
    await driver.until(lambda: card.answerable)
    return card


async def test_the_card_says_why_where_cost_and_budget(opened: Open) -> None:
    async with opened([dense("1132")], **ASKING) as driver:
        card = await asked(driver)
        shown = driver.shown()
        assert "Look closer at 16-bit?" in shown
        for word in ("why", "where", "cost", "spent", "0 % of 20 %", "about one token in five", "already in memory"):
            assert word in shown
        assert card.has_focus


async def test_look_writes_the_reply_again_at_the_higher_tier(opened: Open) -> None:
    async with opened([dense("1132"), "Built about 1130."], **ASKING) as driver:
        await asked(driver)
        await driver.press("l")
        await driver.idle()
        assert driver.texts[-1] == "Built about 1130."
        assert not driver.chat.query(Card)
        assert [d.kind for d in driver.chat.session.decisions()][-1] == "approved"


async def test_stay_keeps_the_reply(opened: Open) -> None:
    async with opened([dense("1132")], **ASKING) as driver:
        await asked(driver)
        await driver.press("s")
        await driver.idle()
        assert len(driver.chat.session.nodes()) == 2
        assert driver.chat.session.pending_asks() == []
        assert driver.chat.prompt.has_focus


async def test_a_refusal_keeps_its_reason(opened: Open) -> None:
    async with opened([dense("1132")], **ASKING) as driver:
        await asked(driver)
        await driver.press("r")
        await driver.press(*"years", "enter")
        await driver.idle()
        last = driver.chat.session.decisions()[-1]
        assert last.kind == "refused" and "years" in last.text


async def test_both_shows_the_two_side_by_side_and_stays(opened: Open) -> None:
    async with opened([dense("1132"), "High."], **ASKING) as driver:
        await asked(driver)
        low = driver.texts[-1]
        await driver.press("b")
        await driver.idle()
        group = driver.chat.transcript.group(driver.chat.session.path()[0].id)
        assert group is not None and group.beside
        assert [pane.text for pane in group.panes] == [low, "High."]
        assert driver.texts[-1] == low


async def test_several_writes_continuations_at_the_higher_tier(opened: Open) -> None:
    async with opened([dense("1132"), "High."], **ASKING) as driver:
        await asked(driver)
        await driver.press("n")
        await driver.idle()
        replies = driver.chat.session.children(driver.chat.session.path()[0].id)
        assert [node.tier for node in replies] == ["4-bit", "16-bit", "16-bit", "16-bit"]


async def test_always_looks_closer_from_now_on(opened: Open) -> None:
    async with opened([dense("1132"), "High."], **ASKING) as driver:
        await asked(driver)
        await driver.press("a")
        await driver.idle()
        assert driver.chat.session.policy.mode is Policy.AUTO
        assert "auto" in driver.shown().splitlines()[0]


async def test_the_card_waits_while_the_person_writes(opened: Open) -> None:
    hold = threading.Event()
    held = replace(dense("1132"), token_s=1)
    async with opened([held], wait=lambda s: hold.wait(10) if s else None, **ASKING) as driver:
        await driver.type("When?")
        await driver.press("enter")
        driver.chat.prompt.insert("and then")
        hold.set()
        await driver.until(lambda: driver.chat.query(Card) and not driver.chat.busy)
        assert driver.chat.prompt.has_focus
        await driver.press("ctrl+t")
        assert driver.chat.query_one(Card).has_focus


async def test_an_unanswered_card_comes_back_with_the_conversation(opened: Open) -> None:
    async with opened([dense("1132")], **ASKING) as driver:
        await asked(driver)
        session = driver.chat.session.id
        await driver.press("escape")
        await driver.press("ctrl+n")
        await driver.idle()
        assert not driver.chat.query(Card)
        await driver.chat.open_session(session)
        assert driver.chat.query(Card)


@pytest.mark.parametrize("key", ["l", "a", "r", "s", "n", "b", "enter"])
async def test_keys_before_half_a_second_do_not_answer(opened: Open, key: str) -> None:
    now = [100.0]
    ask = Ask(7, 1, Scope.TURN, "16-bit", "why", 0, 3, 2.0, 0, 0.1, 0.2)
    answers: list[str] = []
    async with opened() as driver:
        card = Card(ask, "here", clock=lambda: now[0])
        await driver.chat.transcript.add(card)
        await driver.until(lambda: card._since is not None)
        card.focus()
        await driver.pilot.pause()
        driver.chat._answered = answers.append  # type: ignore[method-assign, assignment]
        now[0] += GRACE - 0.01
        await driver.press(key)
        assert card.is_attached and not card.has_class("-refusing")
        assert answers == []
        if len(key) == 1:
            assert driver.chat.prompt.text == key


async def test_keys_after_half_a_second_do_answer(opened: Open) -> None:
    async with opened([dense("1132")], **ASKING) as driver:
        card = await asked(driver)
        await driver.press("s")
        await driver.until(lambda: not card.is_attached)


@pytest.mark.parametrize("text", ["/several", "xylophone", "each", "1 second"])
async def test_a_message_begun_with_another_key_goes_to_the_prompt_whole(opened: Open, text: str) -> None:
    async with opened([dense("1132"), "Later."], **ASKING) as driver:
        card = await asked(driver)
        assert card.has_focus
        await driver.press(*("space" if letter == " " else letter for letter in text))
        assert driver.chat.prompt.text == text
        assert card.is_attached and driver.chat.session.pending_asks()
        await driver.press(*["backspace"] * len(text), "ctrl+t")
        await driver.until(lambda: card.has_focus)
        await driver.press("s")
        await driver.until(lambda: not card.is_attached)


async def test_a_remapped_key_of_the_card_still_answers(opened: Open) -> None:
    async with opened([dense("1132")], screen__keys={"card-stay": "y"}, **ASKING) as driver:
        card = await asked(driver)
        await driver.press("y")
        await driver.until(lambda: not card.is_attached)
        assert driver.chat.session.pending_asks() == [] and not driver.chat.prompt.text


async def test_a_look_that_cannot_begin_leaves_its_card(opened: Open) -> None:
    async with opened([dense("1132"), "Built about 1130."], **ASKING) as driver:
        await asked(driver)
        driver.chat.fovea.rest("16-bit", True)
        await driver.press("l")
        await driver.idle()
        card = driver.chat.query_one(Card)
        assert driver.chat.session.pending_asks() == [card.ask]
        driver.chat.fovea.rest("16-bit", False)
        await driver.until(lambda: card.answerable)
        card.focus()
        await driver.press("l")
        await driver.idle()
        assert driver.texts[-1] == "Built about 1130." and not driver.chat.query(Card)


async def test_a_card_that_makes_the_text_overflow_is_in_view(opened: Open) -> None:
    async with opened(["Zero.", "One.", dense("1132")], size=(80, 24), **ASKING) as driver:
        for text in ("Hello", "And you?"):
            await driver.ask(text)
        assert not driver.chat.transcript.overflows
        card = await asked(driver)
        assert driver.chat.transcript.overflows
        await driver.until(lambda: driver.chat.transcript.at_bottom)
        await driver.until(lambda: driver.chat.transcript.region.contains_region(card.region))
        assert card.has_focus


async def test_the_reason_of_a_refusal_can_be_read_while_it_is_typed(opened: Open) -> None:
    async with opened([dense("1132")], size=(80, 24), **ASKING) as driver:
        await asked(driver)
        await driver.press("r", *"dull")
        assert "dull" in driver.shown()
        assert "Enter refuses for this reason" in driver.shown().splitlines()[-1]
        await driver.press("escape")
        assert "decide later" in driver.shown().splitlines()[-1]


async def test_the_prompt_shows_what_is_typed_in_a_tiny_terminal(opened: Open) -> None:
    async with opened(["Zero."], size=(20, 5)) as driver:
        await driver.press(*"dull")
        assert "dull" in driver.shown()
