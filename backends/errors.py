"""Everything that can go wrong in the backends room.

BackendError                  base; its text is one sentence a person can act on
├── ModelFileError            a model file is missing, damaged, or not a model fovea can run
├── LoadError                 the engine refused the model (memory, unknown architecture, driver)
├── ContextFull               the prompt, or the reply so far, does not fit into the context
├── CacheError                a key/value cache cannot be cut back or handed over
├── EngineBusy                a thread asked the engine for something in the middle of a reply it is reading itself
├── Cancelled                 the person stopped it; not a failure
├── HostError                 the engine host (child process) could not start, or broke the protocol
│   └── HostDied              the engine host ended in the middle of its work (kill, native abort, out of memory)
└── RemoteError               a remote engine did not answer, or answered with nonsense
"""

from __future__ import annotations


class BackendError(Exception):
    """Base of the room. ``str(error)`` is shown to people, so it names the file or setting and what to do."""


class ModelFileError(BackendError):
    """A model file is missing, damaged, or not something fovea can run."""


class TierError(BackendError):
    """A tier could not be made from a model file."""


class FetchError(BackendError):
    """A model could not be fetched."""


class LoadError(BackendError):
    """The engine could not load the model."""


class ContextFull(BackendError):
    """The tokens do not fit into the context."""


class CacheError(BackendError):
    """A key/value cache cannot be truncated, exported or handed over to another tier."""


class EngineBusy(BackendError):
    """Asked by the thread that is reading a reply: waiting for the end of that reply would be waiting for itself."""


class Cancelled(BackendError):
    """The work was stopped on request."""


class HostError(BackendError):
    """The engine host could not start or broke its protocol."""


class HostDied(HostError):
    """The engine host ended while a request was under way."""


class RemoteError(BackendError):
    """A remote engine did not answer, or not in a form that can be used."""
