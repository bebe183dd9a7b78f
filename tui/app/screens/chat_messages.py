"""What can be done with one message: move to it, copy, edit, bookmark, delete."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from agent.values import Node
from tui.app import clipboard, editor
from tui.app.screens.chat_base import ChatBase
from tui.app.widgets.card import Card
from tui.app.widgets.group import ReplyGroup
from tui.app.widgets.reply import Reply
from tui.app.widgets.said import Said
from tui.app.widgets.transcript import Transcript


class MessagesMixin(ChatBase):
    """Actions on the message under the cursor."""

    _deleted: list[int]

    # -- the cursor ---------------------------------------------------------------------------------------------------

    def action_message(self, by: int) -> None:
        """Next or previous message."""
        self.transcript.step(by)

    async def action_edge(self, where: int) -> None:
        """First or last message."""
        await self.transcript.edge(where)

    def action_write(self) -> None:
        """Back to the prompt."""
        self.prompt.focus()
        self.transcript.follow()

    def action_slash(self) -> None:
        """Back to the prompt, beginning a command."""
        self.prompt.focus()
        if not self.prompt.text:
            self.prompt.insert("/")

    def action_switch_focus(self) -> None:
        """A waiting card, the messages, or the prompt."""
        cards = list(self.query(Card))
        if self.prompt.has_focus and cards:
            cards[-1].focus()
        elif not self.prompt.has_focus or not self.transcript.enter():
            self.prompt.focus()

    def here(self) -> Node | None:
        """The message under the cursor, once it is committed."""
        cursor = self.transcript.cursor
        return cursor.node if cursor else None

    def reply_here(self) -> Node | None:
        """The reply under the cursor; says so when there is none."""
        node = self.here()
        if node is None or node.role != "assistant":
            self.tell("This works on a finished reply: move the cursor to one", problem=True)
            return None
        return node

    def group_here(self) -> ReplyGroup | None:
        """The versions under the cursor."""
        cursor = self.transcript.cursor
        if not isinstance(cursor, Reply):
            return None
        return next((a for a in cursor.ancestors if isinstance(a, ReplyGroup)), None)

    # -- copying ------------------------------------------------------------------------------------------------------

    def copy_text(self, text: str) -> None:
        """Copy and say so."""
        self.tell(clipboard.copy(text, self.app.copy_to_clipboard))

    def action_copy_reply(self) -> None:
        """Copy the message under the cursor, as it was written."""
        cursor = self.transcript.cursor
        if isinstance(cursor, Reply):
            self.copy_text(cursor.text)
        elif isinstance(cursor, Said):
            self.copy_text(cursor.said)

    def action_copy_code(self) -> None:
        """Copy a code block of the reply: the only one, or one chosen from a list."""
        cursor = self.transcript.cursor
        blocks = clipboard.code_blocks(cursor.text) if isinstance(cursor, Reply) else []
        if not blocks:
            self.tell("There is no code block in this message", problem=True)
        elif len(blocks) == 1:
            self.copy_text(blocks[0])
        else:
            from tui.app.screens.choose import Choose

            def chosen(index: int | None) -> None:
                if index is not None:
                    self.copy_text(blocks[index])

            self.app.push_screen(Choose("Copy which code block?", [block.strip() for block in blocks]), chosen)

    def on_transcript_copy(self, event: Transcript.Copy) -> None:
        """A link was clicked: it is copied, never opened."""
        self.copy_text(event.text)

    # -- editing ------------------------------------------------------------------------------------------------------

    async def action_edit(self) -> None:
        """Edit the message: mine becomes a branch with a new reply; a reply goes on from the edited text."""
        node = self.here()
        if node is None or self.busy:
            return
        if node.role == "user":
            self._edit_text("Edit your message; it becomes a branch", node.text, partial(self._send_edited, node))
        else:
            title = "Edit the reply; the model goes on from the end of your text"
            self._edit_text(title, node.text, partial(self._continue_edited, node))

    def _edit_text(self, title: str, text: str, then: Callable[[str], object]) -> None:
        from tui.app.screens.edit import EditText

        def done(edited: str | None) -> None:
            if edited is not None:
                self.call_later(then, edited)

        self.app.push_screen(EditText(title, text), done)

    async def _send_edited(self, node: Node, text: str) -> None:
        if text.strip() and text != node.text:
            edited = self.attempt(lambda: self.session.edit(node.id, text))
            if edited is not None:
                await self.sync()
                await self.run_turn(self.session.reply, parent=edited.id)

    async def _continue_edited(self, node: Node, text: str) -> None:
        if text != node.text:
            await self.run_turn(partial(self.session.continue_from, node.id, text), parent=node.parent)

    def external_editor(self, text: str) -> str:
        """Leave the screen to the person's editor, then come back."""
        try:
            with self.app.suspend():
                edited, problem = editor.edit(text)
        except Exception as error:  # suspending is impossible in a browser and in tests
            edited, problem = text, f"The editor cannot be opened here ({type(error).__name__})"
        self.tell(problem, problem=bool(problem))
        return edited

    # -- keeping and deleting -----------------------------------------------------------------------------------------

    def action_bookmark(self) -> None:
        """Give the message a name in the tree; an empty one takes it away."""
        node = self.here()
        if node is None:
            return
        from tui.app.screens.line import AskLine

        def named(label: str | None) -> None:
            if label is not None:
                self.attempt(lambda: self.session.bookmark(node.id, label))
                self.call_later(self.sync)

        self.app.push_screen(AskLine("Name this place (empty removes the bookmark)", node.bookmark), named)

    async def action_delete(self) -> None:
        """Delete the message and what follows it; u undoes."""
        node = self.here()
        if node is None or self.busy:
            return
        if not self.managed(lambda: self.session.delete(node.id)):
            return
        self._deleted.append(node.id)
        await self.sync()
        self.transcript.enter()
        self.tell("Deleted; u brings it back")

    async def action_undo(self) -> None:
        """Bring back what was deleted last."""
        if not self._deleted or self.busy:
            self.tell("Nothing to bring back")
            return
        node_id = self._deleted.pop()
        if not self.managed(lambda: self.session.undo_delete(node_id)):
            return
        await self.sync()
        self.tell("Brought back")
