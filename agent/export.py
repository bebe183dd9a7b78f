"""A conversation as markdown (what was said, and who or what wrote it) or as JSON (every branch, every token)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from agent.tree import Tree
from agent.values import Node, Status
from backends.types import Why

FORMAT = "fovea-conversation"
VERSION = 1


def as_markdown(tree: Tree, session: str, path: Sequence[Node]) -> str:
    """The path as markdown with one line of provenance under every reply."""
    info = tree.shelf.info(session)
    parts = [f"# {info.title if info and info.title else 'Conversation'}"]
    for node in path:
        when = datetime.fromtimestamp(node.created, UTC).strftime("%Y-%m-%d %H:%M")
        if node.role == "user":
            parts.append(f"## You · {when} UTC\n\n{node.text}")
        elif node.role == "summary":
            parts.append(f"## Summary of the messages above · {when} UTC\n\n{node.text}")
        else:
            parts.append(f"## {_author(node)} · {when} UTC\n\n{node.text}\n\n> {provenance(node)}")
    decisions = tree.ledger.decisions(session)
    if decisions:
        lines = []
        for decision in decisions:
            when = datetime.fromtimestamp(decision.at, UTC).strftime("%Y-%m-%d %H:%M")
            cost = f" ({decision.actual_s:.1f} s)" if decision.actual_s is not None else ""
            lines.append(f"- {when} {decision.kind}: {decision.text}{cost}")
        parts.append("## Decisions\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


def provenance(node: Node) -> str:
    """One line: model, tiers with their token counts, speed, and whether the reply is whole."""
    said = [node.model, node.tier]
    tiers = Counter(step.tier for step in node.steps)
    if any(tier != node.tier for tier in tiers):
        said.append(", ".join(f"{count} tokens {tier}" for tier, count in tiers.most_common()))
    overruled = sum(step.why is Why.OVERRULED for step in node.steps)
    confirmed = sum(step.why is Why.CONFIRMED for step in node.steps)
    if overruled or confirmed:
        said.append(f"{confirmed} confirmed and {overruled} overruled by the high tier")
    if node.usage and node.timing and node.timing.decode_s > 0:
        said.append(f"{node.timing.tok_s(node.usage.completion_tokens):.1f} tok/s")
    if node.author == "edited":
        said.append("edited by you")
    if node.status is not Status.DONE:
        said.append({"open": "unfinished", "stopped": "stopped", "failed": "ended by a failure"}[node.status])
    return " · ".join(part for part in said if part)


def as_json(tree: Tree, session: str) -> str:
    """Everything: all branches with their tokens, passages, decisions."""
    info = tree.shelf.info(session)
    nodes = [tree.node(node.id) for node in tree.all_nodes(session) if not node.deleted]
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "session": session,
        "title": info.title if info else "",
        "private": bool(info and info.private),
        "head": tree.shelf.head(session),
        "nodes": [{**asdict(node), "passages": [asdict(p) for p in tree.passages(node.id)]} for node in nodes],
        "decisions": [asdict(decision) for decision in tree.ledger.decisions(session)],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def _author(node: Node) -> str:
    return "Edited reply" if node.author == "edited" else f"fovea ({node.tier or node.author})"
