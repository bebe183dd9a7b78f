"""Making foreign text harmless for terminals and files."""

from __future__ import annotations
