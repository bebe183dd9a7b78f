"""The engine host: all tiers of a ladder in one child process, so a native crash spares the conversation."""

from __future__ import annotations

from backends.host.client import EngineHost

__all__ = ["EngineHost"]
