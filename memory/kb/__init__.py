"""The knowledge base: a person's documents, kept in step with the disk and found by words and by meaning."""

from __future__ import annotations

from memory.kb.base import KnowledgeBase
from memory.kb.values import Found, KnowledgeSettings, KnowledgeStatus, Waiting

__all__ = ["Found", "KnowledgeBase", "KnowledgeSettings", "KnowledgeStatus", "Waiting"]
