"""Memory beside the chat: what was recalled and from where, each source switchable; notes and lessons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from agent.values import Passage
from memory.lessons import Lesson, LessonBook
from memory.notes.folder import NotesFolder
from memory.notes.note import Note
from tui.app.background import Outcome, in_background, sentence
from tui.app.safe import one_line
from tui.app.screens.panel import Panel

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.recall import Around
    from agent.session import Session

KINDS = {"file": "", "url": "web page", "conversation": "earlier conversation"}
"""How kinds of sources are named; a file says what it is by its name, others by their kind."""
HISTORY = 6
"""Messages given to the search beside the draft."""


@dataclass(frozen=True, slots=True)
class Regenerate:
    """The person wants the last reply again with the sources as they are switched now."""


Entry = Passage | Note | Lesson | None


class MemoryScreen(Panel[Regenerate]):
    """Passages of the last message, or, while something is in the prompt, what would be recalled for it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor(1)", "Down", id="memory-down", show=False),
        Binding("k", "cursor(-1)", "Up", id="memory-up", show=False),
        Binding("space", "switch", "On or off", id="memory-switch", priority=True),
        Binding("r", "regenerate", "Write the reply again", id="memory-again"),
        Binding("a", "add", "Add a note", id="memory-add"),
        Binding("m,q", "close", "Close", id="memory-close"),
    ]
    DEFAULT_CSS = """
    MemoryScreen OptionList { height: 1fr; }
    MemoryScreen .said { height: auto; color: $quiet; }
    """
    heading = "Memory"
    keys = (
        ("memory-switch", "on or off"),
        ("Enter", "read or edit"),
        ("memory-add", "add a note"),
        ("memory-again", "reply again"),
    )

    def __init__(self, fovea: Fovea, session: Session, user: int | None, *, draft: str, off: set[str]) -> None:
        super().__init__(classes="-tall")
        self._fovea = fovea
        self._session = session
        self._user = user
        self._draft = draft.strip()
        self._off = off
        self._passages: Sequence[Passage] = ()
        self._entries: list[Entry] = []
        self._folder = NotesFolder(fovea.folders.data / "notes")

    def body(self) -> ComposeResult:
        """Lay the widgets out."""
        yield OptionList(markup=False)
        yield Static("", classes="said", markup=False)

    def on_mount(self) -> None:
        """Show what is known; search for the draft in a thread."""
        self.query_one(OptionList).focus()
        if self._draft:
            self._say("searching for what is in the prompt …")
            in_background(self._search, self._found)
        elif self._user is not None:
            self._passages = self._session.passages(self._user)
        self.fill()

    def _search(self) -> tuple[list[Passage], list[str]]:
        settings = self._fovea.settings.memory
        history = [node.text for node in self._session.path(steps=False)][-HISTORY:]
        return self._fovea.memory.recall(
            self._draft, history, settings.budget_tokens, settings.deadline_s, self._session.id
        )

    def _found(self, outcome: Outcome[tuple[list[Passage], list[str]]]) -> None:
        if not self.is_attached:
            return
        if outcome.value is None:
            self._say(outcome.problem)
            return
        self._passages, notices = outcome.value
        self._say("; ".join(notices) or "This would be recalled for what is in the prompt.")
        self.fill()

    def _say(self, text: str) -> None:
        self.query_one(".said", Static).update(one_line(text))

    # -- the list -----------------------------------------------------------------------------------------------------

    def fill(self) -> None:
        """Draw anew, keeping the cursor."""
        options = self.query_one(OptionList)
        at = options.highlighted
        self._entries = []
        rows: list[Option] = []

        def section(heading: str, entries: Sequence[Entry], draw: Callable[..., Content], nothing: str) -> None:
            rows.append(Option(Content.styled(heading, "bold $accent"), disabled=True))
            self._entries.append(None)
            if not entries:
                rows.append(Option(Content.styled(f"  {nothing}", "$quiet"), disabled=True))
                self._entries.append(None)
            for entry in entries:
                rows.append(Option(draw(entry)))
                self._entries.append(entry)

        what = "Recalled for the prompt" if self._draft else "Recalled for the last message"
        section(what, self._passages, self._passage, "nothing")
        try:
            notes: Sequence[Note] = self._folder.notes()
            lessons: Sequence[Lesson] = LessonBook(self._folder).lessons()
        except Exception as error:
            notes, lessons = (), ()
            self._say(sentence(error))
        section("Notes", notes, _note, "none yet: a adds one, or write a markdown file into the notes folder")
        section("Lessons", lessons, _lesson, "none yet: they come from your corrections and refusals")
        options.clear_options()
        options.add_options(rows)
        first = next((i for i, entry in enumerate(self._entries) if entry is not None), None)
        options.highlighted = at if at is not None and at < len(rows) else first

    def _passage(self, passage: Passage) -> Content:
        on = passage.uri not in self._off
        heading = "" if passage.heading == passage.source else one_line(passage.heading, 30)
        where = f"page {passage.page}" if passage.page else heading
        kind = KINDS.get(passage.kind, passage.kind)
        width = max(20, min(round(self.app.size.width * 0.92), 110) - 14)
        return Content.assemble(
            ("[x] " if on else "[ ] ", "bold $primary" if on else "$quiet"),
            (f"[{passage.number}] ", "$quiet"),
            (one_line(passage.source, 28), "bold" if on else "$quiet"),
            (f" {where}" if where else "", "$quiet"),
            (f" · {one_line(kind, 24)}" if kind else "", "$quiet"),
            f"\n        {one_line(passage.text, width)}",
            (f"\n        {one_line(passage.why, width)}" if passage.why else "", "$quiet"),
        )

    @property
    def _here(self) -> Entry:
        at = self.query_one(OptionList).highlighted
        return self._entries[at] if at is not None and at < len(self._entries) else None

    # -- actions ------------------------------------------------------------------------------------------------------

    def action_cursor(self, by: int) -> None:
        """Move the cursor."""
        options = self.query_one(OptionList)
        (options.action_cursor_down if by > 0 else options.action_cursor_up)()

    def action_switch(self) -> None:
        """Leave a source out, or let it in again."""
        entry = self._here
        if not isinstance(entry, Passage):
            return
        on = entry.uri in self._off
        (self._off.discard if on else self._off.add)(entry.uri)
        self._session.switch_passage(entry.uri, on)
        self._say("Let in again" if on else "Left out from now on; r writes the last reply again without it")
        self.fill()

    @on(OptionList.OptionSelected)
    def _open(self) -> None:
        from tui.app.screens.text import TextScreen

        entry = self._here
        if isinstance(entry, Passage):
            self._read(entry)
        elif isinstance(entry, Note):
            self._edit(entry)
        elif isinstance(entry, Lesson):
            self.app.push_screen(TextScreen("Lesson", entry.as_text()))

    def _read(self, passage: Passage) -> None:
        """Open a passage where it stands in its document, or by itself where the document is gone."""
        from tui.app.screens.text import TextScreen

        def found(outcome: Outcome[Around | None]) -> None:
            around = outcome.value
            heading = one_line(f"{passage.source} · {passage.place}", 100)
            if around is None:
                gone = "as it was recalled; it is not in the memory any more" if passage.kind else ""
                self.app.push_screen(TextScreen(f"{heading} ({gone})" if gone else heading, passage.text))
            else:
                self.app.push_screen(TextScreen(heading, around.text, (around.start, around.end)))

        in_background(lambda: self._fovea.memory.around(passage), found)

    def _edit(self, note: Note) -> None:
        from tui.app.screens.edit import EditText

        def done(text: str | None) -> None:
            if text is not None and text != note.text:
                try:
                    self._folder.write(note.name, text, note.digest)
                    self._say(f"{note.name} written")
                except Exception as error:
                    self._say(sentence(error))
                self.fill()

        self.app.push_screen(EditText(one_line(note.name, 60), note.text), done)

    def action_add(self) -> None:
        """Propose a note: the change is shown before it is written."""
        from tui.app.screens.line import AskLine
        from tui.app.screens.note import propose

        def said(text: str | None) -> None:
            if text:
                propose(self, self._fovea, text, tell=self._say, then=self.fill)

        self.app.push_screen(AskLine("What shall be remembered?"), said)

    def action_regenerate(self) -> None:
        """Close and write the last reply again."""
        self.dismiss(Regenerate())


def _note(note: Note) -> Content:
    private = "  private" if note.private else ""
    return Content.assemble(
        "  ", (one_line(note.title, 40), "bold"), (f"  {one_line(note.name, 40)}{private}", "$quiet")
    )


def _lesson(lesson: Lesson) -> Content:
    return Content.assemble("  ", one_line(lesson.as_text(), 90))
