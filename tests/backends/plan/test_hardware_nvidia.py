"""NVIDIA cards through NVML, with NVML's calls replaced at the port (no card is needed)."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from types import SimpleNamespace

import pytest

from backends.plan.hardware import detect


class NVMLError(Exception):
    """As in pynvml."""


def fake_nvml(
    monkeypatch: pytest.MonkeyPatch, cards: list[tuple[str | bytes, int, int]], *, fails: str = ""
) -> list[str]:
    """A stand-in for the ``pynvml`` module; records the calls that open and close it."""
    calls: list[str] = []
    module = types.ModuleType("pynvml")

    def step(name: str, value: object = None) -> object:
        calls.append(name)
        if name == fails:
            raise NVMLError("driver fault")
        return value

    module.NVMLError = NVMLError
    module.nvmlInit = lambda: step("init")
    module.nvmlShutdown = lambda: calls.append("shutdown")
    module.nvmlDeviceGetCount = lambda: step("count", len(cards))
    module.nvmlDeviceGetHandleByIndex = lambda at: at
    module.nvmlDeviceGetName = lambda at: cards[at][0]
    module.nvmlDeviceGetMemoryInfo = lambda at: SimpleNamespace(total=cards[at][1], free=cards[at][2])
    module.__spec__ = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return calls


def test_cards_are_read_and_nvml_is_closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls = fake_nvml(monkeypatch, [("Card A", 24_000, 20_000), (b"Card B", 8_000, 8_000)])
    found = [gpu for gpu in detect(tmp_path).gpus if gpu.kind == "nvidia"]
    assert [(gpu.name, gpu.total, gpu.free) for gpu in found] == [("Card A", 24_000, 20_000), ("Card B", 8_000, 8_000)]
    assert calls == ["init", "count", "shutdown"]


@pytest.mark.parametrize("fails", ["init", "count"])
def test_a_driver_fault_means_no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: str) -> None:
    calls = fake_nvml(monkeypatch, [("Card", 1, 1)], fails=fails)
    assert not [gpu for gpu in detect(tmp_path).gpus if gpu.kind == "nvidia"]
    assert ("shutdown" in calls) is (fails == "count")
