"""The list above the prompt: commands after ``/``, files after ``@``."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.app.safe import one_line


class Completions(OptionList, can_focus=False):
    """Completions; the prompt keeps the focus and moves the highlight."""

    DEFAULT_CSS = """
    Completions { height: auto; max-height: 9; margin: 0; border: none; background: $panel; padding: 0 1;
                  display: none; scrollbar-size-vertical: 1; }
    Completions.-open { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(id="completions", markup=False)
        self._values: list[str] = []

    def offer(self, found: list[tuple[str, str]]) -> None:
        """Show value and description of each completion; an empty list closes."""
        self._values = [value for value, _ in found]
        self.clear_options()
        self.set_class(bool(found), "-open")
        if found:
            width = min(28, max(len(value) for value in self._values) + 2)
            self.add_options(
                Option(
                    Content.assemble((one_line(v, 60).ljust(width), "bold $primary"), (one_line(words, 70), "$quiet"))
                )
                for v, words in found
            )
            self.highlighted = 0

    @property
    def chosen(self) -> str | None:
        """The highlighted value, or ``None`` when closed."""
        if not self._values or self.highlighted is None:
            return None
        return self._values[self.highlighted]

    def move(self, by: int) -> None:
        """Move the highlight, around the ends."""
        if self._values:
            self.highlighted = ((self.highlighted or 0) + by) % len(self._values)
