"""Commands on conversations as a whole: find, rename, archive, delete, bring back, export, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import TurnError
from agent.paths import write_where_told
from tui import privacy
from tui.app.safe import one_line
from tui.app.screens.chat_open import OpenMixin

if TYPE_CHECKING:
    from agent.session import Session


class ShelfMixin(OpenMixin):
    """Slash commands on conversations."""

    async def do_sessions(self, argument: str) -> None:
        """/sessions [WORDS]."""
        self.query_words = argument
        self.action_sessions()

    async def do_rename(self, argument: str) -> None:
        """/rename TITLE."""
        if not argument:
            self.tell("Say the title: /rename My conversation", problem=True)
            return
        self.attempt(lambda: self.session.rename(argument))
        self.show_title()

    async def do_archive(self, argument: str) -> None:
        """/archive."""
        if not self.managed(self.session.archive):
            return
        await self.open_session("")
        self.tell("Archived; Ctrl+S then Ctrl+A shows the archive")

    async def do_private(self, argument: str) -> None:
        """/private [on|off]."""

        def change() -> bool:
            on = privacy.wanted(argument)
            self.session.set_private(on)
            return on

        on = self.attempt(change)
        if on is not None:
            self.tell(privacy.said(on))

    async def do_delete(self, argument: str) -> None:
        """/delete."""
        session = self.session
        if not self.managed(session.delete_session):
            return
        await self.open_session("")
        self._gone = session
        self.tell("Deleted; /undo brings it back until you quit")

    _gone: Session | None = None

    async def do_undo(self, argument: str) -> None:
        """/undo."""
        gone, self._gone = self._gone, None
        if gone is None:
            await self.action_undo()
            return
        self.attempt(gone.undo)
        await self.open_session(gone.id)
        self.tell("Brought back")

    async def do_export(self, argument: str) -> None:
        """/export [markdown|json] [FILE]."""
        first, _, rest = argument.partition(" ")
        kind = first if first in ("markdown", "json") else "json" if argument.endswith(".json") else "markdown"
        name = rest.strip() if first in ("markdown", "json") else argument
        suffix = "json" if kind == "json" else "md"
        title = (
            "".join(c if c.isalnum() else "-" for c in one_line(self.session.title, 40)).strip("-") or "conversation"
        )

        def write() -> str:
            path = Path(name or f"{title}.{suffix}").expanduser()
            if path.exists() and name:
                raise TurnError(f"{one_line(str(path), 60)} is there already; say another name")
            if path.exists():
                path = path.with_stem(f"{path.stem}-{self.session.id[:8]}")
            write_where_told(path, self.session.export(kind))  # type: ignore[arg-type]  # checked above
            return f"Written to {path}"

        self.background(write, self.tell)

    async def do_import(self, argument: str) -> None:
        """/import FILE."""
        if not argument:
            self.tell("Say the file: /import conversation.md", problem=True)
            return
        from agent.importing import import_file

        new = self.attempt(lambda: import_file(self.fovea.tree, Path(argument).expanduser(), self.tell))
        if new is not None:
            await self.open_session(new)
