"""fovea: the memory room."""

from __future__ import annotations
