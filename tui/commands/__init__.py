"""The commands, one module each, imported when called."""

from __future__ import annotations
