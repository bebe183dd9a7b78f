"""Notes: the text-file memory, a folder of markdown that belongs to the person."""

from __future__ import annotations

from memory.notes.budget import DEFAULT_BUDGET, MemoryBlock, estimate_tokens
from memory.notes.conflict import is_conflict
from memory.notes.folder import LESSONS_NAME, MEMORY_NAME, Listing, NotesFolder, Problem
from memory.notes.intent import Request, requested
from memory.notes.note import Link, Note, parse, render
from memory.notes.proposal import Proposal, apply, propose, propose_text

__all__ = [
    "DEFAULT_BUDGET",
    "LESSONS_NAME",
    "MEMORY_NAME",
    "Link",
    "Listing",
    "MemoryBlock",
    "Note",
    "NotesFolder",
    "Problem",
    "Proposal",
    "Request",
    "apply",
    "estimate_tokens",
    "is_conflict",
    "parse",
    "propose",
    "propose_text",
    "render",
    "requested",
]
