"""Every key of the app, as data: id, key, action, words. ``screen.keys`` in the settings remaps any of them by id.

Keys with ``priority`` act wherever the focus is. Keys of ``TRANSCRIPT`` are single letters and act only while a
message has the focus, never while the person is typing. Shift+Enter needs a terminal that can tell it from Enter;
Ctrl+J always works.
"""

from __future__ import annotations

from textual.binding import Binding


def _key(id: str, key: str, action: str, words: str, *, show: bool = True, priority: bool = False) -> Binding:
    return Binding(key, action, words, id=id, show=show, priority=priority)


APP = [
    _key("help", "f1", "help", "Help"),
    _key("palette", "ctrl+p", "command_palette", "Commands", priority=True),
    _key("quit", "ctrl+q", "quit", "Quit", priority=True),
    _key("interrupt", "ctrl+c", "interrupt", "Copy, or twice to quit", show=False),
]

CHAT = [
    _key("new", "ctrl+n", "new_session", "New conversation", priority=True),
    _key("sessions", "ctrl+s", "sessions", "Conversations", priority=True),
    _key("look-closer", "ctrl+r", "look_closer", "Look closer", priority=True),
    _key("stop", "escape", "stop", "Stop", show=False),
    _key("ladder", "f2", "ladder", "Ladder"),
    _key("memory", "f3", "memory", "Memory"),
    _key("tree", "f4", "tree", "Tree"),
    _key("log", "f5", "provenance", "Provenance log"),
    _key("settings", "f8", "settings", "Settings"),
    _key("switch-focus", "ctrl+t", "switch_focus", "Prompt or messages", priority=True),
]

PROMPT = [
    _key("send", "enter", "send", "Send"),
    _key("newline", "ctrl+j,shift+enter", "newline", "New line"),
    _key("editor", "ctrl+g", "editor", "External editor"),
    _key("complete", "tab", "complete", "Complete, or to the messages", show=False),
    _key("history-back", "up", "back", "Earlier prompt", show=False),
    _key("history-forward", "down", "forward", "Later prompt", show=False),
]

TRANSCRIPT = [
    _key("message-next", "j,down", "message(1)", "Next message", show=False),
    _key("message-previous", "k,up", "message(-1)", "Previous message", show=False),
    _key("message-first", "g,home", "edge(-1)", "First message", show=False),
    _key("message-last", "G,end", "edge(1)", "Last message", show=False),
    _key("write", "i,tab", "write", "Back to the prompt"),
    _key("slash", "slash", "slash", "Type a command", show=False),
    _key("density", "d", "density", "Density"),
    _key("forks", "f", "forks", "Fork map"),
    _key("continuations", "n", "continuations", "Continuations"),
    _key("beside", "v", "beside", "Versions side by side"),
    _key("version-previous", "h,left", "version(-1)", "Previous version", show=False),
    _key("version-next", "l,right", "version(1)", "Next version", show=False),
    _key("regenerate", "r", "regenerate", "Again"),
    _key("edit", "e", "edit", "Edit"),
    _key("resume", "c", "resume", "Continue a stopped reply", show=False),
    _key("copy", "y", "copy_reply", "Copy"),
    _key("copy-code", "Y", "copy_code", "Copy a code block", show=False),
    _key("bookmark", "b", "bookmark", "Bookmark", show=False),
    _key("delete", "x", "delete", "Delete", show=False),
    _key("undo", "u", "undo", "Undo delete", show=False),
    _key("tree-here", "t", "tree", "Tree", show=False),
    _key("memory-here", "m", "memory", "Memory", show=False),
    _key("log-here", "p", "provenance", "Provenance log", show=False),
    _key("ladder-here", "L", "ladder", "Ladder", show=False),
    *[_key(f"pick-{n}", str(n), f"pick({n})", f"Pick version {n}", show=False) for n in range(1, 10)],
    _key("pick", "enter", "pick_here", "Pick this version", show=False),
    _key("merge", "M", "merge", "Merge versions in the editor", show=False),
    _key("more", "plus", "more", "One more version", show=False),
]

CARD = [
    _key("card-look", "l", "answer('look')", "look closer"),
    _key("card-stay", "s", "answer('stay')", "stay"),
    _key("card-both", "b", "answer('both')", "show both"),
    _key("card-several", "n", "answer('continuations')", "several"),
    _key("card-always", "a", "answer('always')", "always here"),
    _key("card-refuse", "r", "refuse", "refuse"),
    _key("card-leave", "escape", "leave", "decide later", show=False),
]


def all_bindings() -> list[tuple[str, list[Binding]]]:
    """Every group of keys with its heading, for the help screen and for checking the settings."""
    return [
        ("Everywhere", APP),
        ("In the chat", CHAT),
        ("While writing", PROMPT),
        ("On a message", TRANSCRIPT),
        ("On a proposed closer look", CARD),
    ]


def ids() -> set[str]:
    """All ids a keymap may name."""
    return {binding.id for _, group in all_bindings() for binding in group if binding.id}


def display(binding: Binding, keymap: dict[str, str]) -> str:
    """The key of a binding as a person reads it, after remapping."""
    keys = keymap.get(binding.id or "", binding.key).split(",")
    return " or ".join(_pretty(key.strip()) for key in keys)


_NAMES = {
    "escape": "Esc",
    "enter": "Enter",
    "plus": "+",
    "slash": "/",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
}


def _pretty(key: str) -> str:
    *modifiers, last = key.split("+") if key != "+" else ["+"]
    name = _NAMES.get(last, last.upper() if last.startswith("f") and last[1:].isdigit() else last)
    if modifiers and len(name) == 1:
        name = name.upper()
    return "+".join([*(m.capitalize() for m in modifiers), name.capitalize() if len(name) > 1 else name])
