"""Counters in the text form Prometheus reads (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

import threading

HELP = {
    "fovea_requests_total": ("counter", "Requests answered, by path and status."),
    "fovea_disconnects_total": ("counter", "Clients that went away before their answer was complete."),
    "fovea_running": ("gauge", "Requests being written now (0 or 1)."),
    "fovea_waiting": ("gauge", "Requests waiting for their turn."),
    "fovea_tokens_total": ("counter", "Tokens written, by the tier that wrote them."),
    "fovea_high_tokens_total": ("counter", "Tokens chosen, confirmed or verified at a high tier."),
    "fovea_prompt_tokens_total": ("counter", "Tokens of prompts."),
    "fovea_cached_tokens_total": ("counter", "Tokens of prompts that were in the cache."),
    "fovea_write_seconds_total": ("counter", "Seconds spent writing."),
    "fovea_read_seconds_total": ("counter", "Seconds spent reading prompts."),
}


class Metrics:
    """Thread-safe counters and gauges."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[tuple[str, str], float] = {(name, ""): 0.0 for name in HELP if name.count("_total") == 0}

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Raise a counter, or move a gauge."""
        key = name, _labels(labels)
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + amount

    def value(self, name: str, **labels: str) -> float:
        """A counter's value."""
        with self._lock:
            return self._values.get((name, _labels(labels)), 0.0)

    def text(self) -> str:
        """All of them."""
        with self._lock:
            values = sorted(self._values.items())
        lines = []
        for name, (kind, help_text) in HELP.items():
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value:g}" for (known, labels), value in values if known == name]
        return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    """``{a="b"}``, escaped; empty without labels."""
    if not labels:
        return ""
    pairs = (
        '{}="{}"'.format(name, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n"))
        for name, value in sorted(labels.items())
    )
    return "{" + ",".join(pairs) + "}"
