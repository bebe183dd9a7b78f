from __future__ import annotations

import json

from agent.app import Fovea
from agent.settings import Settings
from backends.scripted import Script, ScriptedEngine


def test_blind_picks_are_counted_with_an_interval(fovea, home):
    assert "No blind picks" in fovea("stats")[1]
    scripts = [Script("low"), Script("high")] * 8
    with Fovea.open(Settings(), engine=ScriptedEngine(scripts)) as opened:
        session = opened.session()
        for number in range(8):
            replies = list(session.send("Q", tiers=["4-bit", "16-bit"]))[-1].replies
            session.pick(replies[number > 0].id, [r.id for r in replies], blind=number < 7)
    value = json.loads(fovea("stats", "--json")[1])
    high = value["tiers"][0]
    assert (high["tier"], high["offered"], high["won"]) == ("16-bit", 7, 6)
    assert 0.48 < high["interval"][0] < 0.5 < 0.97 < high["interval"][1] < 1
    text = fovea("stats")[1]
    assert "preferred in 6 of 7 blind picks" in text and "not preferred more often than chance" in text
    assert "7 of 8 picks" in fovea("stats", "--all")[1] and "You do prefer 16-bit" in fovea("stats", "--all")[1]
