from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.values import Policy
from tests.tui.app.conftest import Open
from tui.app.keys import ids
from tui.app.screens.chat import ChatScreen
from tui.app.screens.chat_commands import ACTIONS
from tui.app.widgets.completions import Completions
from tui.registry import COMMANDS


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_handler(command: object) -> None:
    key = command.key  # type: ignore[attr-defined]
    assert key in ACTIONS or hasattr(ChatScreen, f"do_{key}")


async def test_commands_are_completed(opened: Open) -> None:
    async with opened() as driver:
        await driver.type("/bud")
        assert driver.chat.query_one(Completions).chosen == "/budget"
        await driver.press("tab")
        assert driver.chat.prompt.text == "/budget "
        await driver.type("35")
        await driver.press("enter")
        assert driver.chat.session.policy.budget == 0.35
        assert "One token in three may be looked at closer" in driver.shown().replace("About one", "One")


@pytest.mark.parametrize(
    ("argument", "said"), [("1", "1% or 100%"), ("150%", "between 0 and 1"), ("much", "20% or 0.2")]
)
async def test_a_budget_that_cannot_be_is_said_and_nothing_changes(opened: Open, argument: str, said: str) -> None:
    async with opened() as driver:
        before = driver.chat.session.policy.budget
        await driver.command(f"/budget {argument}")
        assert said in driver.shown()
        assert driver.chat.session.policy.budget == before


async def test_what_is_typed_faster_than_the_completions_follow_is_what_counts(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("Go")
        await driver.type("/")
        assert driver.chat.query_one(Completions).chosen != "/rename"
        driver.chat.prompt.insert("rename New title")  # Enter comes before anything of this is told to the list
        driver.chat.prompt._send()
        await driver.until(lambda: driver.chat.session.title == "New title")
        assert driver.app.screen is driver.chat, "and not what the list showed first"
        await driver.type("/")
        driver.chat.prompt.insert("bud")
        driver.chat.prompt._complete()
        await driver.until(lambda: driver.chat.prompt.text == "/budget ")
        assert driver.app.screen is driver.chat


async def test_arrows_move_the_completions_and_escape_closes_them(opened: Open) -> None:
    async with opened() as driver:
        await driver.type("/")
        await driver.press("down", "down")
        assert driver.chat.query_one(Completions).chosen == f"/{COMMANDS[2].name}"
        await driver.press("escape")
        assert not driver.chat.query_one(Completions).has_class("-open")
        assert driver.chat.prompt.text == "/"


async def test_an_unknown_command_is_kept_in_the_prompt_and_said(opened: Open) -> None:
    async with opened() as driver:
        await driver.type("/nonsense 3")
        await driver.press("enter")
        assert "There is no command /nonsense" in driver.shown()
        assert driver.chat.prompt.text == "/nonsense 3"


async def test_two_slashes_send_a_slash(opened: Open) -> None:
    async with opened(["A path."]) as driver:
        await driver.ask("//etc/hosts")
        assert driver.texts[0] == "/etc/hosts"
        await driver.press("up")
        assert driver.chat.prompt.text == "//etc/hosts", "without the second slash it would be a command now"


@pytest.mark.parametrize("line", ["/several ²", "/pick ²", f"/export {'x' * 300}", "/export ~no-such-person/x"])
async def test_a_slip_never_ends_the_app(opened: Open, line: str) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("Sure?")
        await driver.command(line)
        await driver.until(lambda: driver.chat.problem)


async def test_export_makes_no_folder(opened: Open, tmp_path: Path) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("Sure?")
        await driver.command("/export nosuch/out.md")
        await driver.until(lambda: driver.chat.problem)
        assert not (tmp_path / "nosuch").exists() and "there is no folder" in driver.chat.state


async def test_files_are_mentioned_and_quoted(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "notes on boats.md").write_text("Boats float.", encoding="utf-8")
    async with opened(["Yes."]) as driver:
        await driver.type("Read @boats")
        assert driver.chat.query_one(Completions).chosen == "notes on boats.md"
        await driver.press("tab")
        assert driver.chat.prompt.text == 'Read @"notes on boats.md" '
        await driver.press("enter")
        await driver.idle()
        assert "Boats float." in driver.texts[0]


async def test_policy_theme_rename_and_blind(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("Sure?")
        await driver.command("/policy auto")
        assert driver.chat.session.policy.mode is Policy.AUTO
        await driver.command("/policy sometimes")
        assert "A policy is auto, ask, manual or off" in driver.shown()
        await driver.command("/theme fovea-light")
        assert driver.app.theme == "fovea-light"
        assert driver.fovea.settings.screen.theme == "fovea-light"
        await driver.command("/rename Eggs")
        assert "Eggs" in driver.shown().splitlines()[0]
        await driver.command("/blind on")
        assert driver.chat.blind
        await driver.command("/tier 16-bit")
        await driver.ask("High?")
        assert driver.chat.session.path()[-1].tier == "16-bit"


async def test_export_and_import(opened: Open, tmp_path: Path) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("Sure?")
        await driver.command("/export out.md")
        await driver.until((tmp_path / "out.md").exists)
        assert "Sure?" in (tmp_path / "out.md").read_text(encoding="utf-8")
        await driver.command("/export json out.json")
        await driver.until((tmp_path / "out.json").exists)
        json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
        before = driver.chat.session.id
        await driver.command("/import out.json")
        assert driver.chat.session.id != before
        assert driver.texts == ["Sure?", "Yes."]


@pytest.mark.parametrize("line", ["/rename Eggs", "/archive", "/delete", "/private on"])
async def test_what_has_not_begun_has_nothing_to_change(opened: Open, line: str) -> None:
    async with opened() as driver:
        await driver.command(line)
        assert "There is no message in this conversation yet" in driver.shown()
        assert not {"Archived", "Deleted"} & set(driver.shown().split())


async def test_archive_delete_and_undo(opened: Open) -> None:
    async with opened(["Yes."]) as driver:
        await driver.ask("Sure?")
        session = driver.chat.session.id
        await driver.command("/delete")
        assert driver.texts == [] and driver.fovea.sessions() == []
        await driver.command("/undo")
        assert driver.chat.session.id == session and driver.texts == ["Sure?", "Yes."]
        await driver.command("/archive")
        assert [info.id for info in driver.fovea.sessions(archived=True)] == [session]


async def test_keys_are_remapped_by_id(opened: Open) -> None:
    async with opened(["Low.", "High."], screen__keys={"look-closer": "ctrl+l", "density": "z"}) as driver:
        await driver.ask("Which?")
        await driver.press("ctrl+l")
        await driver.idle()
        assert driver.texts[-1] == "High."
        assert "Ctrl+L closer" in driver.shown()
        await driver.press("ctrl+t", "z")
        assert "Where meaning is dense" in driver.shown()


def test_ids_are_unique() -> None:
    from tui.app.keys import all_bindings

    named = [binding.id for _, group in all_bindings() for binding in group]
    assert len(named) == len(set(named)) == len(ids())


async def test_the_external_editor_takes_the_prompt(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as driver:
        monkeypatch.setattr(driver.chat, "external_editor", lambda text: text + " edited")
        await driver.type("draft")
        await driver.press("ctrl+g")
        assert driver.chat.prompt.text == "draft edited"
