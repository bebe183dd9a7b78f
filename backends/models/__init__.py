"""Model files: what is in them, which tier they are, how the missing tiers are made and fetched."""

from __future__ import annotations
