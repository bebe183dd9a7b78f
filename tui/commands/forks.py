"""``fovea forks``: where a higher tier would have written something else in a reply."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from tui.commands.common import opened, with_settings

if TYPE_CHECKING:
    from agent.settings import Settings
    from backends.types import ForkMap

CONTEXT = 6
"""Tokens shown on each side of a fork."""


@click.command("forks")
@click.argument("session_id", metavar="[SESSION]", default="last")
@click.option("--node", type=int, default=None, help="The message; the last reply otherwise.")
@click.option("--with", "judge", default="", metavar="TIER", help="The tier that judges; the highest otherwise.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings
def forks(session_id: str, node: int | None, judge: str, as_json: bool, settings: Settings) -> None:
    """Show where a higher tier would have written something else, worst first."""
    from agent.errors import TurnError

    with opened(settings) as fovea:
        session = fovea.session(session_id)
        reply = node
        if reply is None:
            reply = next((n.id for n in reversed(session.path(steps=False)) if n.role == "assistant"), None)
        if reply is None:
            raise TurnError("There is no reply in this conversation")
        found = session.forks(reply, judge)
        click.echo(json.dumps(_object(found, session.id, reply)) if as_json else _text(found))


def _object(found: ForkMap, session: str, node: int) -> dict[str, Any]:
    return {
        "session": session,
        "node": node,
        "tier": found.tier,
        "tokens": len(found.judgements),
        "seconds": found.seconds,
        "forks": [
            {
                "at": at,
                "text": (j := found.judgements[at]).text,
                "p": j.p,
                "best_text": j.best_text,
                "best_p": j.best_p,
                "margin": j.margin,
                "kl": j.kl,
            }
            for at in found.forks()
        ],
    }


def _text(found: ForkMap) -> str:
    from tui.render.harmless import one_line

    forked = found.forks()
    count = len(found.judgements)
    lines = [f"{len(forked)} forks in {count} tokens, judged by {found.tier} in {found.seconds:.1f} s"]
    for at in forked:
        j = found.judgements[at]
        before = "".join(x.text for x in found.judgements[max(0, at - CONTEXT) : at])
        after = "".join(x.text for x in found.judgements[at + 1 : at + 1 + CONTEXT])
        here = f"…{before}[{j.text} → {j.best_text}]{after}…"
        lines.append(f"{at:5d}  {j.p:6.1%} → {j.best_p:6.1%}  {one_line(here, 110)}")
    return "\n".join(lines)
