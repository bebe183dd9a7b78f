from __future__ import annotations

from pathlib import Path

import pytest

from agent.desk import Desk
from agent.errors import SettingsError
from agent.settings import Settings
from backends.types import LadderStatus, TierStatus


@pytest.mark.parametrize(
    ("slow", "settings", "speaks", "looks"),
    [
        ((), {}, "4-bit", "8-bit"),
        (("8-bit",), {}, "4-bit", "16-bit"),
        (("8-bit",), {"high": "8-bit"}, "4-bit", "8-bit"),
        (("4-bit", "8-bit"), {}, "16-bit", ""),
        (("4-bit",), {"tier": "4-bit"}, "4-bit", "8-bit"),
    ],
)
def test_slow_tiers_are_passed_over_unless_they_are_named(
    slow: tuple[str, ...], settings: dict[str, str], speaks: str, looks: str
) -> None:
    tiers = tuple(
        TierStatus(name, Path(name), True, slower_than="16-bit" if name in slow else "")
        for name in ("4-bit", "8-bit", "16-bit")
    )
    ladder = LadderStatus(tiers, 64, 8, "toy")
    desk = Desk.__new__(Desk)
    object.__setattr__(desk, "settings", Settings(**settings))
    assert desk.speaking_tier(ladder) == speaks
    assert desk.next_higher(ladder, speaks) == looks


def test_a_bare_off_in_yaml_is_the_policy_off() -> None:
    from agent.settings_file import parse_assignment

    assert Settings().with_values(dict([parse_assignment("policy.mode=off")])).policy.mode == "off"


@pytest.mark.parametrize(
    "changes", [{"model": "/models/m\udcff.gguf"}, {"tiers": {"4-bit": {"path": "/models/m\udcff.gguf"}}}]
)
def test_a_path_that_no_file_of_settings_can_hold_is_refused_with_advice(changes: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=r"`/models/m\ufffd\.gguf` is not valid UTF-8; rename it"):
        Settings().with_values(changes)
