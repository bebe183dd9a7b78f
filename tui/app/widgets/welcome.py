"""What an empty conversation shows: what fovea is, in three lines, and what to press."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

_EYE = (
    "       · ∙ • ● • ∙ ·       ",
    "   · ∙ • ● ◉ ● • ∙ ·   ",
    "       · ∙ • ● • ∙ ·       ",
)


class Welcome(Static):
    """Goes away with the first message."""

    DEFAULT_CSS = """
    Welcome { width: 1fr; height: 1fr; content-align: center middle; text-align: center; color: $quiet; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._tiers = ""

    def on_mount(self) -> None:
        """Draw."""
        self.ready("")

    def ready(self, tiers: str) -> None:
        """Say which tiers are loaded."""
        self._tiers = tiers
        self.update(self._content())

    def on_resize(self) -> None:
        """Leave lines out where there is no room."""
        self.update(self._content())

    def _content(self) -> Content:
        lines: list[Content] = []
        if self.size.height >= 12:
            for row in _EYE:
                lines.append(Content.styled(row.strip(), "$accent"))
            lines.append(Content(""))
        lines += [
            Content.styled("Reads at full precision, speaks at 4 bits,", "$foreground"),
            Content.styled("looks closer where meaning is dense.", "$foreground"),
            Content(""),
        ]
        keys = [("Enter", "sends"), ("/", "commands"), ("@", "files"), ("Ctrl+R", "looks closer"), ("F1", "helps")]
        parts: list[tuple[str, str] | str] = []
        for key, words in keys:
            parts += [(key, "bold $primary"), f" {words}   "]
        lines.append(Content.assemble(*parts[:-1], str(parts[-1]).rstrip()))
        if self._tiers:
            lines += [Content(""), Content(self._tiers)]
        return Content("\n").join(lines)
