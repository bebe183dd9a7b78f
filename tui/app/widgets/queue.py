"""Messages that wait while the model is busy."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui.app.safe import one_line


class Queue(Static):
    """Above the prompt; empty means not there."""

    DEFAULT_CSS = """
    Queue { height: auto; max-height: 5; padding: 0 3; color: $quiet; display: none; }
    Queue.-some { display: block; }
    """

    def __init__(self) -> None:
        super().__init__("", markup=False, id="queue")

    def show(self, texts: list[str], *, held: bool) -> None:
        """Draw the waiting messages."""
        self.set_class(bool(texts), "-some")
        if not texts:
            return
        enter = "Enter sends the next" if held else "Enter alone stops the reply and sends it now"
        head = f"waiting · {enter} · ↑ takes the last back"
        lines = [Content.styled(head, "$accent")]
        lines += [Content(f"{number}. {one_line(text, 100)}") for number, text in enumerate(texts[:4], 1)]
        self.update(Content("\n").join(lines))
