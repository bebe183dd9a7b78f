"""What was proposed, decided and picked in each conversation, and what it cost: the provenance log and its figures."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agent.database import Database
from agent.values import Ask, Decision, Pick, PickStats, Scope, Speed, Spending

FROM_ANSWER = "mode auto, from an answer to a proposal"
"""In the log: the policy that an answer chose for what follows."""


class Ledger:
    """Asks, decisions, picks, spending and measured speeds, in the tables beside the tree."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # Asks -------------------------------------------------------------------------------------------------------

    def add_ask(self, session: str, ask: Ask) -> Ask:
        """Store a proposal; returns it with its id."""
        ask_id = self._db.write(
            "INSERT INTO asks(session, node, scope, tier, why, first, past, seconds, memory, spent, budget) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                session,
                ask.node,
                str(ask.scope),
                ask.tier,
                ask.why,
                ask.start,
                ask.end,
                ask.seconds,
                ask.memory,
                ask.spent,
                ask.budget,
            ),
        )
        return replace(ask, id=ask_id)

    def pending(self, session: str) -> list[Ask]:
        """Proposals nobody has answered, oldest first."""
        rows = self._db.rows(
            "SELECT asks.* FROM asks JOIN nodes ON nodes.id = asks.node "
            "WHERE asks.session = ? AND answer = '' AND nodes.deleted = 0 ORDER BY asks.id",
            (session,),
        )
        return [_ask(row) for row in rows]

    def answer(self, ask_id: int, choice: str, reason: str) -> bool:
        """Record an answer. False when there was one already: the first answer counts."""
        with self._db.transaction():
            row = self._db.row("SELECT answer FROM asks WHERE id = ?", (ask_id,))
            if row is None or row["answer"]:
                return False
            self._db.write("UPDATE asks SET answer = ?, reason = ? WHERE id = ?", (choice, reason, ask_id))
        return True

    def reopen(self, ask_id: int, session: str, before: int) -> None:
        """Take an answer back that could not be carried out, and the decisions since ``before`` that came of it."""
        with self._db.transaction():
            self._db.write("UPDATE asks SET answer = '', reason = '' WHERE id = ?", (ask_id,))
            self._db.write(
                "DELETE FROM decisions WHERE session = ? AND id > ? AND (kind = 'approved' OR text = ?)",
                (session, before, FROM_ANSWER),
            )

    def last_decision(self, session: str) -> int:
        """The id of the newest decision of a conversation; 0 where there is none."""
        row = self._db.row("SELECT max(id) AS last FROM decisions WHERE session = ?", (session,))
        return int(row["last"] or 0) if row is not None else 0

    # Decisions --------------------------------------------------------------------------------------------------

    def note(
        self,
        session: str,
        kind: str,
        text: str,
        *,
        node: int | None = None,
        predicted_s: float | None = None,
        actual_s: float | None = None,
    ) -> int:
        """Add a line to the log; returns its id, so that the real cost can be added when it is known."""
        return self._db.write(
            "INSERT INTO decisions(session, node, at, kind, text, predicted_s, actual_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (session, node, time.time(), kind, text, predicted_s, actual_s),
        )

    def set_actual(self, decision: int, seconds: float) -> None:
        """What a decision really cost, seconds."""
        self._db.write("UPDATE decisions SET actual_s = ? WHERE id = ?", (seconds, decision))

    def decisions(self, session: str) -> list[Decision]:
        """The log of a conversation, oldest first."""
        rows = self._db.rows("SELECT * FROM decisions WHERE session = ? ORDER BY id", (session,))
        return [Decision(**dict(row)) for row in rows]

    # Picks ------------------------------------------------------------------------------------------------------

    def add_pick(self, session: str, chosen: int, candidates: Sequence[Mapping[str, object]], *, blind: bool) -> int:
        """Store a choice among continuations; ``candidates`` hold node, tier and features of each."""
        return self._db.write(
            "INSERT INTO picks(session, chosen, at, blind, candidates) VALUES (?, ?, ?, ?, ?)",
            (session, chosen, time.time(), int(blind), json.dumps(list(candidates))),
        )

    def picks(self) -> list[Pick]:
        """All choices of all conversations, oldest first."""
        return [
            Pick(
                row["id"],
                row["session"],
                row["chosen"],
                row["at"],
                bool(row["blind"]),
                tuple(json.loads(row["candidates"])),
            )
            for row in self._db.rows("SELECT * FROM picks ORDER BY id")
        ]

    def pick_stats(self, high: str, *, blind_only: bool = True) -> PickStats:
        """How often ``high`` was preferred where it stood beside another tier.

        Where ``high`` and another tier both wrote the chosen words, the pick says nothing about ``high``: not counted.
        """
        won = offered = 0
        for pick in self.picks():
            tiers = {str(c["tier"]) for c in pick.candidates}
            if high not in tiers or len(tiers) < 2 or (blind_only and not pick.blind):
                continue
            wrote_it = self._wrote_the_same(pick)
            if high in wrote_it and len(wrote_it) > 1:
                continue
            offered += 1
            won += high in wrote_it
        return PickStats(high, offered, won)

    def _wrote_the_same(self, pick: Pick) -> set[str]:
        """The tiers whose candidates read like the chosen one, its own among them."""
        rows = self._db.rows(
            "SELECT id FROM nodes WHERE trim(text) = (SELECT trim(text) FROM nodes WHERE id = ?) "
            "AND id IN (SELECT value FROM json_each(?))",
            (pick.chosen, json.dumps([c["node"] for c in pick.candidates])),
        )
        same = {row["id"] for row in rows}
        return {str(c["tier"]) for c in pick.candidates if c["node"] in same}

    # Costs ------------------------------------------------------------------------------------------------------

    def spending(self, session: str, budget: float) -> Spending:
        """Tokens written in a conversation and how many of them at a high tier."""
        row = self._db.row(
            "SELECT coalesce(sum(high_tokens), 0) AS high, coalesce(sum(all_tokens), 0) AS every, "
            "sum(all_tokens > 0) AS turns, sum(all_tokens > 0 AND high_tokens = all_tokens) AS high_turns "
            "FROM nodes WHERE session = ?",
            (session,),
        )
        if row is None:
            return Spending(0, 0, 0, 0, budget)
        return Spending(row["high"], row["every"], row["high_turns"] or 0, row["turns"] or 0, budget)

    def speed(self, model: str, tier: str, last: int = 20) -> Speed:
        """Measured speeds of a tier over its last replies on this machine (zeros where nothing was measured).

        What a higher tier did inside a reply is not the tier's own time; a reply judged token by token says nothing.
        """
        rows = self._db.rows(
            "SELECT json_extract(usage, '$.prompt_tokens') - json_extract(usage, '$.cached_tokens') AS read, "
            "json_extract(usage, '$.completion_tokens') AS wrote, "
            "coalesce(json_extract(usage, '$.high_tokens'), 0) AS high, "
            "json_extract(timing, '$.prefill_s') AS prefill_s, json_extract(timing, '$.decode_s') AS decode_s, "
            "coalesce(json_extract(timing, '$.high_s'), 0) AS high_s FROM nodes "
            "WHERE model = ? AND tier = ? AND usage IS NOT NULL AND timing IS NOT NULL ORDER BY id DESC LIMIT ?",
            (model, tier, last),
        )
        # Tiny prefills say more about fixed costs than about speed.
        reads = [(row["read"], row["prefill_s"]) for row in rows if (row["read"] or 0) >= 32 and row["prefill_s"]]
        own = [row for row in rows if row["wrote"] and not (row["high_s"] and row["high"] >= row["wrote"])]
        writes = [(row["wrote"], row["decode_s"] - row["high_s"]) for row in own if row["decode_s"] > row["high_s"]]
        return Speed(prefill_tok_s=_rate(reads), decode_tok_s=_rate(writes))


def _rate(pairs: Sequence[tuple[int, float]]) -> float:
    seconds = sum(pair[1] for pair in pairs)
    return sum(pair[0] for pair in pairs) / seconds if seconds > 0 else 0.0


def _ask(row: sqlite3.Row) -> Ask:
    return Ask(
        id=row["id"],
        node=row["node"],
        scope=Scope(row["scope"]),
        tier=row["tier"],
        why=row["why"],
        start=row["first"],
        end=row["past"],
        seconds=row["seconds"],
        memory=row["memory"],
        spent=row["spent"],
        budget=row["budget"],
    )
