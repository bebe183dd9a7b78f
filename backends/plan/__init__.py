"""The plan: what this machine has, what a ladder needs, and which ladder therefore runs well here."""

from __future__ import annotations
