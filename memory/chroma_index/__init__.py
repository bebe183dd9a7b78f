"""The chromadb index: derived from the stored vectors, kept in a process of its own, thrown away on any doubt."""

from __future__ import annotations

from memory.chroma_index.index import ChromaIndex, IndexState

__all__ = ["ChromaIndex", "IndexState"]
