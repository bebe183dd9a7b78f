"""One widget a file."""

from __future__ import annotations
