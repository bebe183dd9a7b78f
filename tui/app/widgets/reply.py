"""One reply: a caption and its text as markdown, while it is being written and afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from agent.values import Node
from backends.types import Step
from tui.app import captions
from tui.app.safe import harmless

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from textual.widgets import Markdown
    from textual.widgets.markdown import MarkdownStream


def _parser() -> MarkdownIt:
    """Textual's own parser, but ``vector<int>`` and ``<div>`` are words of a reply: it would leave HTML out."""
    from markdown_it import MarkdownIt

    return MarkdownIt("gfm-like", {"html": False})


class Reply(Vertical, can_focus=True):
    """A reply in the transcript. ``node`` is ``None`` while it is being written."""

    DEFAULT_CSS = """
    Reply { height: auto; padding: 0 1 0 1; border-left: blank; }
    Reply:focus { border-left: outer $accent; }
    Reply > .caption { height: auto; width: 1fr; }
    Reply > Markdown { height: auto; padding: 0; margin: 0; background: transparent; }
    Reply MarkdownParagraph { margin: 0 0 1 0; }
    Reply MarkdownFence, Reply MarkdownFence:light { margin: 0 0 1 0; background: $surface; }
    """

    class LinkClicked(Message):
        """A link in foreign text was clicked; it is never opened, only offered for copying."""

        def __init__(self, href: str) -> None:
            super().__init__()
            self.href = href

    def __init__(self, node: Node | None = None, *, tier: str = "", letter: str = "") -> None:
        super().__init__()
        self.node = node
        self.tier = node.tier if node else tier
        self.letter = letter
        self.blind = False
        self.version = (1, 1)
        self.steps: list[Step] = list(node.steps) if node else []
        self._stream: MarkdownStream | None = None
        self._shown = ""
        self._first_token = 0.0
        self._progress: tuple[int, int, int] | None = None
        self._waiting = "getting ready"

    @property
    def _markdown(self) -> Markdown:
        from textual.widgets import Markdown

        return self.query_one(Markdown)

    @property
    def text(self) -> str:
        """The text shown, harmless."""
        return harmless(self.node.text) if self.node else self._shown

    def compose(self) -> ComposeResult:
        """Lay the widgets out."""
        from textual.widgets import Markdown  # a tenth of a second, spared before the first paint

        self._shown = harmless(self.node.text) if self.node else ""
        yield Static(self.caption(), classes="caption", markup=False)
        yield Markdown(self._shown, parser_factory=_parser, open_links=False)

    def caption(self) -> Content:
        """The line above the text, as things stand."""
        letter = self.letter
        if self.node is not None:
            return captions.finished(self.node, version=self.version, letter=letter, blind=self.blind)
        tier = "" if self.blind else self.tier
        if self.steps:
            passed = time.monotonic() - self._first_token
            speed = (len(self.steps) - 1) / passed if passed > 0.2 and not self.blind else 0.0
            high = 0.0 if self.blind else captions.high_share(tuple(self.steps))
            return captions.writing(tier, len(self.steps), speed, high, letter)
        if self._progress:
            return captions.reading(tier, *self._progress, letter)
        return captions.waiting(tier, self._waiting, letter)

    def refresh_caption(self) -> None:
        """Draw the caption anew."""
        if self.is_mounted and self.children:
            self.query_one(".caption", Static).update(self.caption())

    def wait_for(self, words: str) -> None:
        """Say what the reply is waiting for."""
        self._waiting = words
        self.refresh_caption()

    def reading(self, done: int, total: int, cached: int) -> None:
        """Show prefill progress in tokens."""
        self._progress = (done, total, cached)
        self.refresh_caption()

    async def seed(self, node: Node, upto: int | None = None) -> None:
        """Begin with the first ``upto`` tokens of another reply (all of it when ``None``); the rest will be written."""
        kept = "".join(step.text for step in node.steps[:upto]) if upto is not None and node.steps else node.text
        self._shown = harmless(kept)
        await self._markdown.update(self._shown)

    async def write(self, steps: tuple[Step, ...]) -> None:
        """Append tokens. The caller groups them to about ten calls a second."""
        if not self.steps:
            self._first_token = time.monotonic()
            self.tier = self.tier or steps[0].tier
        self.steps.extend(steps)
        self.refresh_caption()
        fragment = harmless("".join(step.text for step in steps))
        if not fragment:
            return
        if self._stream is None:
            self._stream = self._markdown.get_stream(self._markdown)
        self._shown += fragment
        await self._stream.write(fragment)

    async def finish(self, node: Node | None) -> None:
        """End the stream; with a committed node the text is drawn once more where streaming showed it differently."""
        if self._stream is not None:
            await self._stream.stop()
            self._stream = None
        if node is not None:
            await self.show(node)
        self.refresh_caption()

    async def show(self, node: Node) -> None:
        """Show this committed reply (another version, or the one just written)."""
        self.node, self.tier, self.steps = node, node.tier, list(node.steps)
        text = harmless(node.text)
        if text != self._shown:
            self._shown = text
            await self._markdown.update(text)
        self.refresh_caption()

    def on_markdown_link_clicked(self, event: Markdown.LinkClicked) -> None:
        """A link is never opened by a click: its target is foreign."""
        event.stop()
        self.post_message(self.LinkClicked(harmless(event.href)))
