"""The line mode: the same conversation without the full screen, fit for screen readers, pipes and dumb terminals.

One line is one message; three double quotes on a line of their own begin and end a message of several lines. Lines
that begin with ``/`` are commands (``tui.registry``). The reply streams as plain text, without colour and
without moving the cursor.
"""

from __future__ import annotations

import contextlib
import io
import random
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import AgentError, BusyError, NotFoundError, SettingsError, TurnError
from agent.events import Asked, Finished, Said, Started, Stopped, TurnEvent, Wrote
from agent.values import Ask, Node
from agent.writing import listening
from backends.errors import BackendError
from memory.errors import MemoryRoomError
from tui.exit_codes import DONE, ENGINE, INPUT, code_of
from tui.render.harmless import HarmlessStream, harmless, one_line

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.session import Session

PROMPT = "> "
FENCE = '"""'
SLIPS = (TurnError, NotFoundError, SettingsError, BusyError)
"""What a mistyped command raises."""
Write = Callable[[str], None]


def terminal_write(text: str) -> None:
    """Write to standard output at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def terminal_read(prompt: str) -> str:
    """One line from standard input, with line editing where it is a terminal. Raises EOFError at its end."""
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # importing it gives input() history and editing

        return input(prompt)
    # In some locales Python lets bytes that are not UTF-8 pass as surrogates; they must be refused, not answered.
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.errors != "strict":
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


@dataclass(slots=True)
class LineMode:
    """One person at one terminal."""

    fovea: Fovea
    session: Session
    read: Callable[[str], str] = terminal_read
    write: Write = terminal_write
    interactive: bool = True
    """Whether questions (a proposed closer look) are put to the person; unanswered ones stay low."""
    versions: list[int] = field(default_factory=list)
    """The replies `/pick` chooses among."""
    tier: str = ""
    """Chosen with `/tier`; empty: the settings'."""
    blind: bool = False
    done: bool = False
    code: int = DONE
    """The exit code of a conversation from a pipe: what became of the last message, or of a command after it."""

    def run(self) -> int:
        """Talk until the end of input or `/quit`; returns the exit code."""
        self._greet()
        while not self.done:
            try:
                text = self._message()
            except EOFError:
                break
            except KeyboardInterrupt:
                self.write("\n")
                continue
            except UnicodeDecodeError as error:
                self.line(f"Standard input is not UTF-8 text (byte {error.start}); nothing was sent")
                return INPUT
            if text.strip():
                self._guarded(text)
        if self.interactive:
            self.write("\n")
        return DONE if self.interactive else self.code

    def line(self, text: str) -> None:
        """One line for the person; foreign text in it is made harmless."""
        self.write(f"{harmless(text)}\n")

    def follow(self, events: Iterable[TurnEvent], *, stream: bool = True) -> None:
        """Show a turn as it happens (``stream=False``: only its result). Ctrl-C stops it."""
        asks: list[Ask] = []
        with self._stoppable(), listening(iter(events)) as told:
            for event in _spoken(told, self.write if stream else None):
                if isinstance(event, Said):
                    self.line(f"[{event.text}]")
                elif isinstance(event, Started) and event.passages:
                    self.line(
                        "[reads " + ", ".join(f"[{p.number}] {p.source}" for p in event.passages if p.enabled) + "]"
                    )
                elif isinstance(event, Asked):
                    asks.append(event.ask)
                elif isinstance(event, Finished):
                    self._finished(event.replies)
                elif isinstance(event, Stopped):
                    self._stopped(event)
        for ask in asks:
            self._propose(ask)

    def agreed(self, question: str) -> bool:
        """Put a question whose answer is yes or no; no answer (Ctrl-C, the end of input) is no."""
        if not self.interactive:
            return False
        try:
            return self.read(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except (EOFError, KeyboardInterrupt):
            self.write("\n")
            return False

    # Inside -----------------------------------------------------------------------------------------------------

    def _greet(self) -> None:
        if self.fovea.read_only:
            self.line(f"Nothing can be saved: {self.fovea.why_read_only}. You can read, but not write.")
        if not self.interactive:
            return
        self.line("fovea, line mode. /help shows the commands, Ctrl-C stops a reply, Ctrl-D ends.")
        for node in self.session.path(steps=False)[-4:]:
            self.line(f"{'you' if node.role == 'user' else 'fovea'}: {node.text}")

    def _message(self) -> str:
        first = self.read(PROMPT)
        if first.strip() != FENCE:
            return first
        lines: list[str] = []
        while (line := self.read("")).strip() != FENCE:
            lines.append(line)
        return "\n".join(lines)

    def _guarded(self, text: str) -> None:
        from tui.plain_commands import handle

        command = text.startswith("/") and not text.startswith("//")
        try:
            if command:
                handle(self, text)
            else:
                self.code = DONE
                self.follow(self.session.send(self._expanded(text.removeprefix("/")), tier=self.tier))
        except (AgentError, BackendError, MemoryRoomError) as error:
            if not (command and isinstance(error, SLIPS)):  # a slip is told, as an unknown command is, and forgiven
                self.code = code_of(error)
            self.line(f"! {one_line(str(error))}")

    def _expanded(self, text: str) -> str:
        """The message with the files it mentions; what comes through a pipe is taken as it is."""
        from tui.app import mentions

        if not self.interactive:
            return text
        whole, problems = mentions.expand(text, Path.cwd())
        for problem in problems:
            self.line(f"! {problem}")
        return whole

    def _finished(self, replies: tuple[Node, ...]) -> None:
        if len(replies) > 1:
            if self.blind:  # in the order of the tiers it would not be blind
                replies = tuple(random.sample(replies, len(replies)))
            self.versions = [reply.id for reply in replies]
            for number, reply in enumerate(replies, start=1):
                who = "" if self.blind else f" ({reply.tier})"
                self.line(f"--- {number}{who} ---\n{reply.text}")
            self.line(f"[/pick 1 … /pick {len(replies)}]")
            return
        from agent.export import provenance

        self.line(f"[{provenance(replies[0])}]")

    def _stopped(self, event: Stopped) -> None:
        if event.problem:
            self.code = ENGINE
            self.line(f"! {one_line(event.problem)}")
        kept = "what was written is kept; /continue finishes it" if event.replies else "nothing was written"
        self.line(f"[stopped: {kept}]")

    def _propose(self, ask: Ask) -> None:
        cost = f", about {ask.seconds:.0f} s" if ask.seconds >= 1 else ""
        self.line(f"? {ask.tier} could look closer: {ask.why}{cost}; spent {ask.spent:.0%} of {ask.budget:.0%}")
        if not self.interactive:
            self.line("[unanswered, it stays as it is]")
            return
        _forget_typed()
        try:
            answer = self.read("look, stay, both, continuations, always, refuse REASON? [stay] ").strip()
        except (EOFError, KeyboardInterrupt):
            answer = "stay"
        choice, _, reason = answer.partition(" ")
        self._answer(ask, choice.lower() or "stay", reason)

    def _answer(self, ask: Ask, choice: str, reason: str) -> None:
        # What cannot be understood stays at the low tier.
        if choice in ("l", "look"):
            self.follow(self.session.answer(ask, "look"))
        elif choice in ("b", "both"):
            self.follow(self.session.answer(ask, "both"))
            self.versions = [node.id for node in self.session.children(self.session.node(ask.node).parent)]
            self.line(f"[the first one stays; /pick {len(self.versions)} takes the closer one]")
        elif choice in ("c", "continuations"):
            self.follow(self.session.answer(ask, "continuations"), stream=False)
        elif choice in ("a", "always"):
            self.follow(self.session.answer(ask, "always"))
        elif choice in ("r", "refuse"):
            self.follow(self.session.answer(ask, "refuse", reason=reason))
        else:
            self.follow(self.session.answer(ask, "stay"))

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """Ctrl-C stops the reply, not the program (only the main thread can listen for it)."""
        import threading

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, lambda number, frame: self.session.cancel())
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def _spoken(events: Iterable[TurnEvent], write: Write | None) -> Iterator[TurnEvent]:
    """Write the text of the reply as it comes; the other events are passed on."""
    stream, spoken = HarmlessStream(), False
    for event in events:
        if isinstance(event, Wrote):
            if write is not None:
                spoken = True
                write(stream.feed(event.step.text))
            continue
        if spoken and write is not None:
            write(stream.end() + "\n")
            spoken = False
        yield event


def _forget_typed() -> None:
    """What was typed before a question appeared must not answer it."""
    if not sys.stdin.isatty():
        return
    with contextlib.suppress(ImportError, OSError, ValueError):
        import termios

        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
