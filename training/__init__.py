"""The recipe of the built-in pocket model; not part of the installed package."""

from __future__ import annotations
