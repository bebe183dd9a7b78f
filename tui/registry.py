"""The slash commands, as data: shared by the app and the line mode, completed in both, documented from here.

A front end handles a command by its ``key``. One that has no handler for a key says so; it never guesses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command."""

    name: str
    """As typed, without the slash."""
    key: str
    """What a front end looks its handler up by."""
    help: str
    """One line, imperative."""
    args: str = ""
    """Shape of the argument; in square brackets when it may be left out."""

    @property
    def usage(self) -> str:
        """``/budget [SHARE]``."""
        return f"/{self.name} {self.args}".rstrip()


COMMANDS: tuple[Command, ...] = (
    Command("help", "help", "Show the commands and keys"),
    Command("new", "new", "Begin a new conversation"),
    Command("sessions", "sessions", "List and open conversations", "[WORDS]"),
    Command("rename", "rename", "Give this conversation a title", "TITLE"),
    Command("archive", "archive", "Put this conversation away; it stays searchable"),
    Command("private", "private", "Keep this conversation out of the recall of others", "[on|off]"),
    Command("delete", "delete", "Delete this conversation; /undo brings it back"),
    Command("undo", "undo", "Bring back what was deleted last"),
    Command("export", "export", "Write this conversation to a file", "[markdown|json] [FILE]"),
    Command("import", "import", "Read a conversation from a markdown or JSON file", "FILE"),
    Command("closer", "closer", "Look closer: answer the same turn at a higher tier", "[TIER]"),
    Command("again", "again", "Write another version of the last reply"),
    Command("several", "several", "Write several continuations side by side", "[N]"),
    Command("compare", "compare", "Write one reply with each of some tiers", "[TIER TIER]"),
    Command("blind", "blind", "Hide the tiers of continuations until you pick", "[on|off]"),
    Command("pick", "pick", "Pick one of the versions", "NUMBER"),
    Command("continue", "continue", "Finish a stopped reply"),
    Command("edit", "edit", "Edit your last message; it becomes a branch"),
    Command("copy", "copy", "Copy the last reply"),
    Command("code", "code", "Copy a code block of the last reply"),
    Command("density", "density", "Show where meaning is dense in the last reply"),
    Command("forks", "forks", "Show where a higher tier would have written something else", "[TIER]"),
    Command("tree", "tree", "Show the tree of the conversation"),
    Command("bookmark", "bookmark", "Give this place a name", "LABEL"),
    Command("memory", "memory", "Show recalled passages and notes"),
    Command("note", "note", "Propose a note to remember", "TEXT"),
    Command("ladder", "ladder", "Show the tiers, their sizes and speeds"),
    Command("tier", "tier", "Choose the tier that speaks", "[TIER]"),
    Command("policy", "policy", "Choose who decides a closer look", "[auto|ask|manual|off]"),
    Command("budget", "budget", "Choose how much may be looked at closer, in percent", "[PERCENT]"),
    Command("log", "log", "Show every decision of this conversation"),
    Command("prompt", "prompt", "Show exactly what would be sent"),
    Command("context", "context", "Say how full the context is"),
    Command("compact", "compact", "Fold older messages into a summary"),
    Command("settings", "settings", "Change settings"),
    Command("theme", "theme", "Choose a colour theme", "[NAME]"),
    Command("tour", "tour", "Take the one-minute tour"),
    Command("quit", "quit", "End fovea"),
)


def find(name: str) -> Command | None:
    """The command of that name, or the only one that begins with it."""
    exact = next((command for command in COMMANDS if command.name == name), None)
    if exact is not None:
        return exact
    close = [command for command in COMMANDS if command.name.startswith(name)] if name else []
    return close[0] if len(close) == 1 else None


def matching(beginning: str) -> Iterator[Command]:
    """Commands whose name begins with the letters typed, then those that hold them."""
    yield from (command for command in COMMANDS if command.name.startswith(beginning))
    if len(beginning) > 1:
        yield from (c for c in COMMANDS if beginning in c.name and not c.name.startswith(beginning))


def split(line: str) -> tuple[str, str]:
    """A typed line as command name and argument."""
    name, _, argument = line.strip().removeprefix("/").partition(" ")
    return name.lower(), argument.strip()
