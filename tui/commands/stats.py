"""``fovea stats``: do I need the high tier at all? What blind picks say, with an interval."""

from __future__ import annotations

import json

import click

from tui.commands.common import opened, settings_from

TIERS = ("16-bit", "8-bit", "4-bit")


@click.command("stats")
@click.option("--all", "everything", is_flag=True, help="Also picks that were not blind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(everything: bool, as_json: bool) -> None:
    """Say how often you really preferred a higher tier.

    Counts picks among continuations of different tiers. Blind ones (`/blind` in the chat) are evidence; others know
    their answer. Where two tiers wrote the same words, a pick of them counts for neither.
    """
    with opened(settings_from({})) as fovea:
        ledger = fovea.tree.ledger
        rows = [ledger.pick_stats(tier, blind_only=not everything) for tier in TIERS]
        if as_json:
            values = [
                {"tier": r.tier, "offered": r.offered, "won": r.won, "interval": list(r.interval())} for r in rows
            ]
            click.echo(json.dumps({"blind_only": not everything, "tiers": values}))
            return
        kind = "picks" if everything else "blind picks"
        if not any(row.offered for row in rows):
            click.echo(f"No {kind} between tiers yet. In the chat: /blind, /compare 4-bit 16-bit, /pick NUMBER.")
            return
        for row in rows:
            if row.offered:
                low, high = row.interval()
                click.echo(
                    f"{row.tier:7} preferred in {row.won} of {row.offered} {kind}: {row.won / row.offered:.0%} "
                    f"(95 % interval {low:.0%} to {high:.0%})"
                )
        best = rows[0]
        if best.offered and len([r for r in rows if r.offered]) == 2:
            low, high = best.interval()
            click.echo(_verdict(best.tier, low, high))


def _verdict(tier: str, low: float, high: float) -> str:
    """One sentence; with two tiers, no preference means half of the picks."""
    if low > 0.5:
        return f"You do prefer {tier}: more often than chance."
    if high < 0.5:
        return f"You prefer the lower tier to {tier}: more often than chance."
    return f"So far {tier} is not preferred more often than chance would have it."
