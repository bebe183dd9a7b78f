"""The pictures of the documentation, drawn by the app itself: ``python -m bench.pictures [FOLDER [NAME …]]``.

In most of them a scripted engine speaks, so that they show the same every time; everything else is the real program.
``pocket`` is the built-in model on its real engine, ``browser`` the whole program in a headless Chromium (left as it is
where none is installed).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from textual.widgets import Static

from agent.app import Fovea
from agent.oversight import DefaultOverseer
from agent.paths import Folders
from agent.recall import NullMemory
from agent.settings import Settings
from agent.values import Passage
from backends.scripted import Script, ScriptedEngine, Word
from tui.app.app import FoveaApp
from tui.app.widgets.card import Card

QUESTION = "Which is the oldest stave church, and what is carved on it?"
LOW = """The oldest stave church is **Urnes**, built around 1150 on the Lustrafjord.

- Its north portal shows a lion in a fight with a dragon.
- The posts come from an older church on the same spot.

```text
built   1150      wood  pine      doors  3
```
"""
HIGH = """The oldest stave church is **Urnes**, built about 1130 on the Lustrafjord.

- Its north portal shows a lion in a fight with a snake.
- The posts come from an older church on the same spot.

```text
built   1130      wood  pine      doors  2
```
"""
DOUBTS = {
    " Urnes": (0.34, 0.21, 0.52, ""),
    " around": (0.28, 0.25, 0.47, " about"),
    " 1150": (0.81, 0.02, 0.31, " 1130"),
    " lion": (0.16, 0.4, 0.6, ""),
    " dragon": (0.67, 0.05, 0.36, " snake"),
    " older": (0.13, 0.5, 0.64, ""),
    " spot": (0.22, 0.3, 0.5, ""),
}
SPEED = 1 / 31


def words() -> list[Word]:
    """The reply with its doubtful words."""
    from backends.scripted import words as cut

    found = []
    for word in cut(LOW.split("```")[0].replace("**", "")):
        density, margin, p, high = DOUBTS.get(word.text, (0.01, 3.0, 0.95, ""))
        found.append(Word(word.text, p, margin, 1.4 if density > 0.1 else 0.2, density, high))
    return found


Act = Callable[["Stage"], Awaitable[None]]


class Stage:
    """An app and what is done to it before the picture."""

    def __init__(self, app: FoveaApp, pilot: Any) -> None:
        self.app, self.pilot = app, pilot

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for a condition. Raises TimeoutError."""
        end = time.monotonic() + 180
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError
            await self.pilot.pause(0.02)
        await self.pilot.pause(0.1)

    async def ask(self, text: str = QUESTION) -> None:
        """Send a message and wait for the reply."""
        self.app.chat.prompt.focus()
        self.app.chat.prompt.insert(text)
        await self.pilot.press("enter")
        await self.pilot.pause(0.1)
        await self.idle()

    async def idle(self) -> None:
        """Wait for the end of the reply."""
        await self.until(lambda: not self.app.chat.busy)


async def chat(stage: Stage) -> None:
    """A closer look beside the first answer."""
    await stage.ask()
    await stage.app.chat.command("/closer 16-bit")
    await stage.idle()
    await stage.pilot.press("ctrl+t")


async def card(stage: Stage) -> None:
    """A proposal."""
    await stage.app.chat.command("/policy ask")
    await stage.ask()
    await stage.until(lambda: stage.app.chat.query_one(Card).has_class("-open"))


async def density(stage: Stage) -> None:
    """Where meaning is dense."""
    await stage.app.chat.command("/policy auto")
    await stage.ask()
    await stage.pilot.press("ctrl+t", "d", "n", "n")


async def forks(stage: Stage) -> None:
    """Both ways of going on."""
    await stage.ask()
    await stage.pilot.press("ctrl+t", "f")
    await stage.pilot.pause(0.5)
    await stage.pilot.press("enter")
    await stage.until(lambda: stage.app.screen._turn is None)  # type: ignore[attr-defined]  # the fork map's own state


async def continuations(stage: Stage) -> None:
    """Several, side by side."""
    await stage.ask()
    await stage.app.chat.command("/several 3")
    await stage.idle()
    await stage.pilot.press("ctrl+t")


async def tree(stage: Stage) -> None:
    """Branches, and who wrote them."""
    await stage.ask()
    await stage.app.chat.command("/closer 16-bit")
    await stage.idle()
    await stage.pilot.press("ctrl+t", "2")
    await stage.app.chat.command("/bookmark the right year")
    await stage.ask("And what is the second oldest?")
    await stage.pilot.press("f4")


async def memory(stage: Stage) -> None:
    """What was recalled, and from where."""
    await stage.ask()
    await stage.pilot.press("f3")


async def log(stage: Stage) -> None:
    """Every decision."""
    await stage.app.chat.command("/policy auto")
    await stage.ask()
    await stage.app.chat.command("/closer 16-bit")
    await stage.idle()
    await stage.pilot.press("ctrl+t", "2", "p")


async def settings(stage: Stage) -> None:
    """The settings, from their schema."""
    await stage.pilot.press("f8", *"policy")
    stage.app.screen.query_one(".said", Static).update("")  # a folder made for the picture means nothing to a reader


async def pocket(stage: Stage) -> None:
    """The built-in model."""
    await stage.ask("Who are you?")
    await stage.ask("My key is in the blue box.")
    await stage.ask("Where is my key?")


async def ladder(stage: Stage) -> None:
    """Tiers, policy, budget."""
    await stage.ask()
    await stage.pilot.press("f2")
    await stage.pilot.pause(0.5)


PICTURES: dict[str, tuple[Act, Script, tuple[int, int]]] = {
    "chat": (chat, Script(LOW, by_tier={"16-bit": HIGH}, token_s=SPEED), (110, 30)),
    "card": (card, Script(words(), token_s=SPEED), (96, 24)),
    "density": (density, Script(words(), token_s=SPEED), (110, 28)),
    "forks": (
        forks,
        Script(words(), by_tier={"16-bit": HIGH.split("```")[0].replace("**", "")}, token_s=SPEED),
        (110, 28),
    ),
    "continuations": (continuations, Script(LOW, token_s=SPEED), (150, 24)),
    "ladder": (ladder, Script(LOW, token_s=SPEED), (96, 26)),
    "tree": (tree, Script(LOW, by_tier={"16-bit": HIGH}, token_s=SPEED), (96, 20)),
    "memory": (memory, Script(HIGH, token_s=SPEED), (96, 24)),
    "log": (log, Script(words(), token_s=SPEED), (96, 20)),
    "settings": (settings, Script("", token_s=SPEED), (96, 24)),
    "pocket": (pocket, Script(""), (96, 24)),
}
BROWSER = "browser"


class Recalled(NullMemory):
    """Three passages, one of each kind."""

    def recall(
        self, query: str, history: Sequence[str], budget_tokens: int, deadline_s: float, session: str = ""
    ) -> tuple[list[Passage], list[str]]:
        """The same for every message."""
        return [
            Passage(1, "churches.md", "churches.md", "Urnes was built about 1130; its portal shows a lion and a snake.",
                    0, 62, 0.94, "found by its words and its meaning", heading="Urnes", kind="file"),
            Passage(2, "Trip to Norway", "a1b2c3", "You asked which of the stave churches one can enter in May.",
                    0, 60, 0.61, "found by its meaning", kind="conversation"),
            Passage(3, "travel.md", "travel.md", "Prefers trains to planes.", 0, 25, 0.22, "found by its words",
                    kind="note"),
        ], []  # fmt: skip


async def until_answered(file: Path) -> None:
    """Wait until a reply is stored, and drawn. Raises TimeoutError."""
    end = time.monotonic() + 180
    while time.monotonic() < end:
        with contextlib.suppress(sqlite3.Error), sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            found = connection.execute("SELECT count(*) FROM nodes WHERE role = 'assistant' AND status = 'done'")
            if found.fetchone()[0]:
                await asyncio.sleep(3)
                return
        await asyncio.sleep(0.2)
    raise TimeoutError("no reply came")


async def in_browser(folder: Path) -> None:
    """The program as ``fovea chat --listen`` serves it. Raises RuntimeError where no Chromium is found."""
    from tests.e2e import browser

    chromium, root, port = browser.find(), Path(tempfile.mkdtemp()), 7899
    if not chromium:
        raise RuntimeError("no Chromium is installed")
    environment = {**os.environ, **{f"FOVEA_{kind}": str(root / kind) for kind in ("DATA", "CONFIG", "CACHE")}}
    command = [sys.executable, "-m", "tui.main", "chat", "--listen", str(port), "--set", "screen.tour=false"]
    server = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
    try:
        await asyncio.sleep(3)
        async with browser.opened(chromium, root / "profile", f"http://127.0.0.1:{port}/") as page:
            await page.call("Emulation.setFocusEmulationEnabled", enabled=True)
            await asyncio.sleep(8)
            await page.type("Who are you?")
            await page.press("Enter")
            await until_answered(root / "DATA" / "conversations.sqlite")
            await page.picture(folder / "browser.png")
    finally:
        server.terminate()
        await server.wait()


async def draw(name: str, folder: Path) -> None:
    """Draw one picture."""
    act, script, size = PICTURES[name]
    scripts = [script]
    if name == "chat":
        scripts.append(Script(HIGH, token_s=SPEED * 2))
    if name == "continuations":
        scripts.append(
            Script(
                "**Urnes**, on the Lustrafjord, from about 1130.",
                continuations=(
                    "Urnes: a lion fights a snake on its portal.",
                    "It is Urnes; the posts are older still.",
                ),
                token_s=SPEED,
            )
        )
    root = Path(tempfile.mkdtemp())
    settings = Settings().with_values({"screen.tour": False, "policy.mode": "manual"})
    if name == "log":
        scripts.append(Script(HIGH.split("```")[0], token_s=SPEED * 2))
    if name == "tree":
        scripts += [Script(HIGH, token_s=SPEED * 2), Script("Borgund is younger; it was built about 1180.")]
    fovea = Fovea.open(
        settings,
        engine=None if name == "pocket" else ScriptedEngine(scripts),
        memory=Recalled() if name == "memory" else None,
        overseer=None if name == "card" else DefaultOverseer(),  # the uncalibrated gate fires only where a word is tied
        folders=Folders(root / "data", root / "config", root / "cache"),
    )
    app = FoveaApp(fovea)
    async with app.run_test(size=size) as pilot:
        stage = Stage(app, pilot)
        await stage.until(lambda: len(app.screen_stack) > 1 and app.chat.ladder is not None)
        app.chat.prompt.cursor_blink = False
        await act(stage)
        app.chat.tell("")
        await pilot.pause(0.3)
        app.save_screenshot(f"{name}.svg", str(folder))
    fovea.close()


def main() -> None:
    """Draw all, or those named after the folder."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or [*PICTURES, BROWSER]:
        if name != BROWSER:
            asyncio.run(draw(name, folder))
            continue
        try:
            asyncio.run(in_browser(folder))
        except RuntimeError as error:
            print(f"browser.png is as it was: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
