"""Everything that can go wrong in the memory room, as one hierarchy a caller can catch by meaning.

MemoryRoomError                 base of all; its text is a sentence a person can act on
├── StoreError                  the SQLite file
│   ├── StoreDamagedError       it is not a database, or its pages are broken
│   ├── StoreTooNewError        it was written by a newer fovea
│   └── StoreBusyError          another process holds the write lock for longer than we wait
├── IngestError                 one document could not be added; the others go on
│   ├── UnsupportedFormatError  no reader for these bytes
│   ├── DocumentDamagedError    truncated, malformed, or encrypted
│   ├── DocumentTooLargeError   over a limit of size, time, memory, depth or members
│   ├── DocumentGoneError       it vanished, or may not be read
│   └── FetchError              a URL could not be fetched within its bounds
├── EmbeddingError              no embedding model, or it failed
│   └── ModelUntrustedError     the weights are not the ones whose digest is pinned
├── VectorIndexError            the derived chromadb index is unusable; exact search goes on
└── NoteError                   a note could not be read or written
    ├── NoteNotFoundError       no note by that name
    ├── NoteAmbiguousError      several notes answer to that name
    ├── NoteConflictError       the file was edited by someone else meanwhile; both versions are kept
    ├── NoteBudgetError         MEMORY.md would outgrow its share of the prompt
    └── PathRefusedError        a name that leads out of its folder, or that no file may have
"""

from __future__ import annotations


class MemoryRoomError(Exception):
    """Base of every error of the memory room; ``str(error)`` is meant for a person."""


class StoreError(MemoryRoomError):
    """The SQLite store could not be read or written."""


class StoreDamagedError(StoreError):
    """The store file is not a readable database."""


class StoreTooNewError(StoreError):
    """The store was written by a newer version of fovea."""


class StoreBusyError(StoreError):
    """Another process kept the write lock for longer than we were told to wait."""


class IngestError(MemoryRoomError):
    """One document could not be added; its message is the one-line reason."""


class UnsupportedFormatError(IngestError):
    """No reader understands these bytes."""


class DocumentDamagedError(IngestError):
    """The document is truncated, malformed or encrypted."""


class DocumentTooLargeError(IngestError):
    """The document goes beyond a limit of size, time, memory, depth or member count."""


class DocumentGoneError(IngestError):
    """The document vanished, is not a regular file, or may not be read."""


class FetchError(IngestError):
    """A URL could not be fetched within its bounds."""


class EmbeddingError(MemoryRoomError):
    """No embedding model can be loaded, or it failed on its input."""


class ModelUntrustedError(EmbeddingError):
    """The weights do not have the pinned digest and are not loaded."""


class VectorIndexError(MemoryRoomError):
    """The derived vector index is unusable; exact search goes on without it."""


class NoteError(MemoryRoomError):
    """A note could not be read or written."""


class NoteNotFoundError(NoteError):
    """There is no note by that name."""


class NoteAmbiguousError(NoteError):
    """Several notes answer to that name; the message lists them."""


class NoteConflictError(NoteError):
    """The file was edited by someone else since it was read; both versions are kept."""


class NoteBudgetError(NoteError):
    """MEMORY.md would outgrow its share of the prompt; nothing is cut silently."""


class PathRefusedError(NoteError):
    """A name leads out of its folder, or is one that no file may have."""
