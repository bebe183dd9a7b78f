"""Completion in the prompt: slash commands and files."""

from __future__ import annotations

from pathlib import Path

from textual import on

from tui import registry
from tui.app import mentions
from tui.app.screens.chat_base import ChatBase
from tui.app.widgets.completions import Completions
from tui.app.widgets.prompt import Prompt


class CompletionMixin(ChatBase):
    """The list above the prompt."""

    _files: list[str] | None = None

    @on(Prompt.Completing)
    def _offer(self, event: Prompt.Completing) -> None:
        """Offer commands or files for what stands before the cursor."""
        found: list[tuple[str, str]] = []
        before = event.before
        if before.startswith("/") and not before.startswith("//") and " " not in before and "\n" not in before:
            found = [(f"/{c.name}", c.help) for c in registry.matching(before[1:].lower())]
            if len(found) == 1 and found[0][0] == event.whole.strip():
                found = []
        elif (query := mentions.current(before)) is not None:
            if self._files is None:
                self._files = mentions.files(Path.cwd())
            found = [(path, "") for path in mentions.best(query, self._files)]
        else:
            self._files = None  # the next mention looks at the folder anew
        self.prompt.completing, self.prompt.completing_for = bool(found), before
        self.query_one(Completions).offer(found)

    def close_completions(self) -> bool:
        """Close the list; says whether it was open."""
        was_open, self.prompt.completing = self.prompt.completing, False
        if was_open:
            self.query_one(Completions).offer([])
        return was_open

    @on(Prompt.Move)
    def _move(self, event: Prompt.Move) -> None:
        self.query_one(Completions).move(event.by)

    @on(Prompt.Complete)
    async def _complete(self) -> None:
        """Take the highlighted completion; with none open go to the messages."""
        chosen = self.query_one(Completions).chosen if self.prompt.completing else None
        if chosen is None:
            self.app.screen.set_focus(None)
            if not self.transcript.enter():
                self.prompt.focus()
            return
        self.close_completions()
        prompt = self.prompt
        if chosen.startswith("/") and prompt.before_cursor.startswith("/"):
            command = registry.find(chosen[1:])
            if command is not None and not command.args:
                await self.command(chosen)
                return
            prompt.replace_all(f"{chosen} ")
            return
        before = prompt.before_cursor
        typed = mentions.current(before) or ""
        row, column = prompt.cursor_location
        start = (row, column - len(typed) - 1)
        prompt.replace(f"{mentions.mention(chosen)} ", start, (row, column), maintain_selection_offset=False)
        prompt.move_cursor((row, start[1] + len(mentions.mention(chosen)) + 1))
        self.close_completions()
