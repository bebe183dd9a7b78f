"""A Stepper around another one: for measurements that change or remember single calls."""

from __future__ import annotations

from backends.stepper import Stepper


class Wrapped:
    """Passes everything it does not define on to the Stepper inside. ``cast`` it to ``Stepper`` where it is used."""

    def __init__(self, inner: Stepper) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)
