"""Bringing documents into the store and keeping them in step with the disk."""

from __future__ import annotations

from memory.ingest.operations import Control, add, refresh, remove, roots
from memory.ingest.pipeline import embed_pending, embedding_text
from memory.ingest.progress import Outcome, Progress
from memory.ingest.walk import path_of, place_of, refuse_empty, uri_of

__all__ = [
    "Control",
    "Outcome",
    "Progress",
    "add",
    "embed_pending",
    "embedding_text",
    "path_of",
    "place_of",
    "refresh",
    "refuse_empty",
    "remove",
    "roots",
    "uri_of",
]
