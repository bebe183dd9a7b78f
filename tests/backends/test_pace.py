from __future__ import annotations

from backends.pace import beaten, step_seconds
from tests.backends.toy_stepper import ToyStepper


def test_only_a_tier_that_is_clearly_slower_than_one_above_is_beaten() -> None:
    assert beaten([("4-bit", 1.0), ("8-bit", 2.0), ("16-bit", 4.0)]) == {}
    assert beaten([("4-bit", 1.0), ("8-bit", 5.0), ("16-bit", 2.0)]) == {"8-bit": ("16-bit", 0.4)}
    assert beaten([("4-bit", 4.0), ("8-bit", 5.0), ("16-bit", 2.0)]) == {
        "4-bit": ("16-bit", 0.5),
        "8-bit": ("16-bit", 0.4),
    }
    assert beaten([("8-bit", 1.05), ("16-bit", 1.0)]) == {}
    assert beaten([("16-bit", 1.0)]) == {}


def test_the_probe_leaves_nothing_behind() -> None:
    stepper = ToyStepper()
    assert step_seconds(stepper) > 0
    assert not stepper._texts, "its sequence is dropped"
