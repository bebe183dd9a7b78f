"""The command ``/private``, as both front ends understand and answer it."""

from __future__ import annotations

from agent.errors import TurnError


def wanted(argument: str) -> bool:
    """Whether the conversation shall be private. Raises TurnError for anything but ``on``, ``off`` or nothing."""
    choice = {"": True, "on": True, "off": False}.get(argument.strip().lower())
    if choice is None:
        raise TurnError("Say /private, /private on or /private off")
    return choice


def said(private: bool) -> str:
    """What the person is told."""
    if private:
        return "Private: no other conversation recalls this one"
    return "Other conversations may recall this one again"
