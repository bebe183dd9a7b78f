"""Calibrating: replies at the low tier, the high tier's reading of them, a fitted density model for a budget."""

from __future__ import annotations
