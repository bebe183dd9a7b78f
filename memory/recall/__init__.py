"""Recall: what is remembered, found again by words and by meaning."""

from __future__ import annotations
