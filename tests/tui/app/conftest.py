"""The app on a scripted engine, driven by Textual's pilot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from agent.app import Fovea
from agent.oversight import DefaultOverseer, Situation
from agent.paths import Folders
from agent.recall import Memory, NoteProposal, NullMemory
from agent.settings import Settings
from agent.values import Ask, Node, Passage
from backends.scripted import Script, ScriptedEngine, Word
from tui.app.app import FoveaApp
from tui.app.screens.chat import ChatScreen


@pytest.fixture(autouse=True)
def _no_animation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Screens must be the same every time: no animation, no real clipboard tools, a fixed folder."""
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.chdir(tmp_path)


class Plain(DefaultOverseer):
    """The documented rule, with a reason that does not change when the wording of the real one does."""

    def review(self, situation: Situation, reply: Node) -> Ask | None:
        ask = super().review(situation, reply)
        return replace(ask, why="two words were nearly tied") if ask else None


class Remembering(NullMemory):
    """A memory that always finds the same two passages."""

    def __init__(self) -> None:
        self.accepted: list[str] = []

    def recall(
        self, query: str, history: Sequence[str], budget_tokens: int, deadline_s: float, session: str = ""
    ) -> tuple[list[Passage], list[str]]:
        return [
            Passage(1, "churches.md", "doc:1", "Urnes is the oldest.", 0, 20, 0.9, "words: oldest", page=3),
            Passage(2, "boats.md", "doc:2", "Boats float.", 0, 12, 0.2, "meaning"),
        ], []

    def propose_note(self, text: str) -> NoteProposal | None:
        return NoteProposal("MEMORY.md", f"--- a\n+++ b\n@@ -1 +1 @@\n+- {text}\n")

    def accept_note(self, proposal: NoteProposal) -> str:
        self.accepted.append(proposal.diff)
        return proposal.file


def open_fovea(
    folder: Path,
    scripts: Sequence[Script | str] = (),
    *,
    memory: Memory | None = None,
    wait: Callable[[float], object] = lambda seconds: None,
    engine: ScriptedEngine | None = None,
    **changes: Any,
) -> Fovea:
    """A Fovea on scripts, in folders of its own; dotted settings with a double underscore."""
    wanted = {"screen.tour": False, "policy.mode": "manual", "sampling.seed": 1}
    wanted |= {key.replace("__", "."): value for key, value in changes.items()}
    return Fovea.open(
        Settings().with_values(wanted),
        engine=engine or ScriptedEngine(scripts, wait=wait),
        memory=memory,
        overseer=Plain(),
        folders=Folders(folder / "data", folder / "config", folder / "cache"),
    )


async def until(pilot: Pilot[Any], condition: Callable[[], object], limit: float = 20.0) -> None:
    """Wait for a condition, letting the app work."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit:g} s in vain")
        await pilot.pause()
        await asyncio.sleep(0.01)
    await pilot.pause()


@dataclass
class Driver:
    """An open app and what tests do with it."""

    app: FoveaApp
    pilot: Pilot[int]
    fovea: Fovea

    @property
    def chat(self) -> ChatScreen:
        return self.app.chat

    @property
    def texts(self) -> list[str]:
        """The conversation as the tree has it."""
        return [node.text for node in self.chat.session.path()]

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Put a text into the prompt, as typing it would."""
        self.chat.prompt.focus()
        self.chat.prompt.insert(text)
        await self.pilot.pause()

    async def until(self, condition: Callable[[], object]) -> None:
        await until(self.pilot, condition)

    async def idle(self) -> None:
        """Wait for the end of whatever is being written."""
        await self.pilot.pause()
        await self.until(lambda: not self.chat.busy)

    async def ask(self, text: str) -> None:
        """Send a message and wait for the reply."""
        await self.type(text)
        await self.press("enter")
        await self.idle()

    async def command(self, line: str) -> None:
        await self.chat.command(line)
        await self.idle()

    def shown(self) -> str:
        """The text on the screen, line by line."""
        return screen_text(self.app)


def screen_text(app: FoveaApp) -> str:
    """Every line the compositor would draw."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line) for line in lines)[: (width + 1) * height]


Open = Callable[..., AbstractAsyncContextManager[Driver]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """``async with opened(scripts, size=…, **settings) as driver``."""

    @asynccontextmanager
    async def go(
        scripts: Sequence[Script | str] = (),
        *,
        size: tuple[int, int] = (80, 24),
        session: str | None = None,
        fovea: Fovea | None = None,
        ready: bool = True,
        later: Callable[[Fovea], object] = lambda fovea: None,
        **changes: Any,
    ) -> AsyncIterator[Driver]:
        own = fovea or open_fovea(tmp_path, scripts, **changes)
        later(own)
        app = FoveaApp(own, session)
        try:
            async with app.run_test(size=size) as pilot:
                driver = Driver(app, pilot, own)
                if ready:
                    await until(pilot, lambda: len(app.screen_stack) > 1 and driver.chat.ladder is not None)
                    await driver.idle()
                yield driver
        finally:
            if fovea is None:
                own.close()

    return go


def dense(*marked: str, text: str = "The church was built around 1132 in Urnes .") -> Script:
    """A script whose ``marked`` words are nearly tied, with another word at the high tier."""
    words = [
        Word(f" {w}" if i else w, density=0.8, margin=0.02, p=0.4, high=f" {w.upper()}")
        if w in marked
        else Word(f" {w}" if i else w)
        for i, w in enumerate(text.split())
    ]
    return Script(words)
