"""Everything that can go wrong in the agent room.

AgentError                    base; its text is one line a person can act on
├── SettingsError             a setting has a wrong name or value; the text names the key and, in a file, the line
├── StorageError              the data folder or the conversation file cannot be used as it is
│   ├── ReadOnlyError         another fovea is writing, or the folder cannot be written
│   ├── DiskFullError         there is no room to write
│   ├── TreeDamagedError      the conversation file is not a readable database
│   └── TreeTooNewError       it was written by a newer fovea
├── NotFoundError             no such conversation, message or ask
├── PromptTooLongError        the newest message alone does not fit into the context
├── BusyError                 a reply is being written in this conversation already
├── TurnError                 what was asked of a message is not possible (no higher tier, not a reply, ...)
└── ConversationFileError     a file is not a conversation fovea can import
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of the room. ``str(error)`` is shown to people, so it says what happened, where, and what to do."""


class SettingsError(AgentError):
    """A setting has a wrong name or value."""


class StorageError(AgentError):
    """The data folder or the conversation file cannot be used."""


class ReadOnlyError(StorageError):
    """Nothing can be written: another process is the writer, or the folder is read-only."""


class DiskFullError(StorageError):
    """There is no room on the disk; what is stored can still be read."""


class TreeDamagedError(StorageError):
    """The conversation file is not a readable database."""


class TreeTooNewError(StorageError):
    """The conversation file was written by a newer fovea."""


class NotFoundError(AgentError):
    """There is no conversation, message or ask of that name."""


class PromptTooLongError(AgentError):
    """The newest message alone does not fit into the context."""


class BusyError(AgentError):
    """A reply is being written in this conversation already."""


class TurnError(AgentError):
    """What was asked of a message is not possible."""


class ConversationFileError(AgentError):
    """A file is not a conversation fovea can import."""
