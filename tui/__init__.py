"""fovea: the tui room."""

from __future__ import annotations
