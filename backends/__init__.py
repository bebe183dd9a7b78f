"""fovea: the backends room."""

from __future__ import annotations
