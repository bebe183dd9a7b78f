"""fovea: the agent room."""

from __future__ import annotations
