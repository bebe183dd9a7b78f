"""The exit codes of the program (also in docs/cli.md), and which one an error means."""

from __future__ import annotations

DONE, FAILED, USAGE, ENGINE, INPUT, FAULT, STOPPED = 0, 1, 2, 3, 4, 70, 130


def code_of(error: Exception) -> int:
    """The exit code of an error with a line for people; ``FAULT`` for all others."""
    from agent.errors import AgentError, PromptTooLongError, SettingsError
    from backends.errors import BackendError
    from memory.errors import MemoryRoomError

    if isinstance(error, SettingsError):
        return USAGE
    if isinstance(error, PromptTooLongError):
        return INPUT
    if isinstance(error, BackendError):
        return ENGINE
    return FAILED if isinstance(error, AgentError | MemoryRoomError) else FAULT
