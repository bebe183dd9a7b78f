"""The full-screen app: screens, widgets, and the few pure pieces they share."""

from __future__ import annotations
