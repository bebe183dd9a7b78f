"""Pictures of the app: small and large terminals, dark and light. ``pytest --snapshot-update`` draws them anew."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from textual.widgets import Input, Static, TextArea

from agent.app import Fovea
from backends.scripted import Script, Word
from tests.tui.app.conftest import Driver, Remembering, open_fovea, until
from tui.app.app import FoveaApp
from tui.app.screens.provenance import Provenance
from tui.app.widgets.card import Card

MARKDOWN = """Birds lay eggs because **flight** rewards a light body.

| bird | eggs |
|---|---|
| robin | 4-6 |

```python
def eggs(bird):
    return NEST[bird]
```
"""
URNES = [
    Word("The"), Word(" oldest"), Word(" stave"), Word(" church"), Word(" is"),
    Word(" Urnes", density=0.62, margin=0.06, p=0.44, high=" Urnes"), Word(","), Word(" built"),
    Word(" around", density=0.3, margin=0.2, p=0.5, high=" about"),
    Word(" 1132", density=0.71, margin=0.03, p=0.31, high=" 1130"), Word("."),
]  # fmt: skip
Scene = Callable[[Driver], Awaitable[None]]


def paced(text: str | list[Word]) -> Script:
    """Twenty tokens a second by the script's own clock: the captions are the same every time."""
    return Script(text, token_s=0.05)


async def welcome(driver: Driver) -> None:
    """Nothing was said yet."""


async def chat(driver: Driver) -> None:
    await driver.ask("Why do birds lay eggs?")


async def beside(driver: Driver) -> None:
    await driver.ask("Which is the oldest stave church?")
    await driver.press("ctrl+r")
    await driver.idle()
    await driver.press("ctrl+t")


async def card(driver: Driver) -> None:
    await driver.command("/policy ask")
    await driver.ask("Which is the oldest stave church?")
    await driver.until(lambda: driver.chat.query(Card) and driver.chat.query_one(Card).has_class("-open"))


async def density(driver: Driver) -> None:
    await driver.command("/policy auto")
    await driver.ask("Which is the oldest stave church?")
    await driver.press("ctrl+t", "d")


async def forks(driver: Driver) -> None:
    await driver.ask("Which is the oldest stave church?")
    await driver.press("ctrl+t", "f")
    await driver.until(lambda: "worst first" in driver.shown())


async def tree(driver: Driver) -> None:
    await beside(driver)
    await driver.press("t")


async def ladder(driver: Driver) -> None:
    await driver.press("f2")
    await driver.until(lambda: "16-bit.gguf" in driver.shown())


async def memory(driver: Driver) -> None:
    await driver.ask("Which is the oldest stave church?")
    await driver.press("f3", "j", "space")


async def log(driver: Driver) -> None:
    await beside(driver)
    await driver.press("2", "p")
    window = driver.app.screen
    assert isinstance(window, Provenance)
    noon = time.mktime((2026, 1, 1, 12, 0, 0, 0, 0, -1))
    window._decisions = [replace(d, at=noon, actual_s=d.actual_s and 0.4) for d in window._decisions]
    window.query_one(VerticalScroll).query_one(Static).update(window._lines())


async def sessions(driver: Driver) -> None:
    await driver.ask("Which is the oldest stave church?")
    await driver.press("ctrl+s")


async def settings(driver: Driver) -> None:
    await driver.press("f8")
    driver.app.screen.query_one(Input).cursor_blink = False
    driver.app.screen.query_one(".said", Static).update("the folder of the test is not drawn")


async def blind(driver: Driver) -> None:
    await driver.ask("Which is the oldest stave church?")
    await driver.command("/blind on")
    await driver.command("/several 3")
    await driver.press("ctrl+t")


async def queue(driver: Driver) -> None:
    await chat(driver)
    driver.chat.waiting.extend(["And robins?", "And why do they sing?"])
    driver.chat.held = True
    driver.chat.show_queue()


async def keys(driver: Driver) -> None:
    await driver.press("f1")


async def tour(driver: Driver) -> None:
    await driver.command("/tour")


SCENES: dict[str, tuple[Scene, Script]] = {
    "welcome": (welcome, paced("")),
    "chat": (chat, paced(MARKDOWN)),
    "beside": (beside, paced(URNES)),
    "card": (card, paced(URNES)),
    "density": (density, paced(URNES)),
    "forks": (forks, paced(URNES)),
    "tree": (tree, paced(URNES)),
    "ladder": (ladder, paced("")),
    "memory": (memory, paced(URNES)),
    "log": (log, paced(URNES)),
    "sessions": (sessions, paced(URNES)),
    "settings": (settings, paced("")),
    "blind": (blind, paced(URNES)),
    "queue": (queue, paced(MARKDOWN)),
    "keys": (keys, paced("")),
    "tour": (tour, paced("")),
}
THEMES, SIZES = ("fovea-dark", "fovea-light"), ((80, 24), (160, 50))
CASES = [(scene, theme, size) for scene in SCENES for theme in THEMES for size in SIZES]


@pytest.fixture
def fovea_of(tmp_path: Path) -> Iterator[Callable[..., Fovea]]:
    """Opens, and closes at the end of the test."""
    opened: list[Fovea] = []

    def make(scripts: list[Script], **changes: Any) -> Fovea:
        opened.append(open_fovea(tmp_path, scripts, **changes))
        return opened[-1]

    yield make
    for fovea in opened:
        fovea.close()


@pytest.mark.parametrize(("scene", "theme", "size"), CASES, ids=[f"{s}-{t}-{w}x{h}" for s, t, (w, h) in CASES])
def test_looks(
    snap_compare: Callable[..., bool],
    fovea_of: Callable[..., Fovea],
    scene: str,
    theme: str,
    size: tuple[int, int],
) -> None:
    act, script = SCENES[scene]
    recalled = Remembering() if scene == "memory" else None
    other = paced("The oldest stave church is Urnes, built about 1130.")
    fovea = fovea_of([script, other], screen__theme=theme, memory=recalled)
    app = FoveaApp(fovea)

    async def run(pilot: Pilot[int]) -> None:
        driver = Driver(app, pilot, fovea)
        await until(pilot, lambda: len(app.screen_stack) > 1 and driver.chat.ladder is not None)
        for area in app.screen.query(TextArea):
            area.cursor_blink = False
        for line in app.screen.query(Input):
            line.cursor_blink = False
        await driver.idle()
        await driver.until(lambda: driver.chat.meter is not None)
        await act(driver)
        await driver.until(lambda: driver.chat.meter is not None)
        driver.chat.tell("")
        await pilot.pause(0.1)

    assert snap_compare(app, terminal_size=size, run_before=run)
