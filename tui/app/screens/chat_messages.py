"""What can be done with a message: move, copy, edit, again, versions, continuations, pick, bookmark, delete."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from agent.values import Node, Status
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

    # -- again and closer ---------------------------------------------------------------------------------------------

    async def action_look_closer(self) -> None:
        """Answer the same turn at the next higher tier, beside the first."""
        node = self.reply_here()
        if node is not None and self.policy == "off":
            self.tell("The policy is off: /policy manual allows closer looks", problem=True)
        elif node is not None:
            await self.run_turn(
                partial(self.session.look_closer, node.id), parent=node.parent, tiers=("",), beside=True
            )

    async def look_closer_at(self, node: Node, tier: str = "") -> None:
        """The same at a named tier."""
        await self.run_turn(
            partial(self.session.look_closer, node.id, tier=tier), parent=node.parent, tiers=(tier,), beside=True
        )

    async def action_regenerate(self) -> None:
        """Write another version of the reply under the cursor; for a message of the person, reply to it."""
        node = self.here()
        if node is None:
            return
        if node.role == "user":
            if self.managed(lambda: self.session.move_to(node.id)):
                await self.run_turn(self.session.reply, parent=node.id)
            return
        await self.run_turn(partial(self.session.regenerate, node.id), parent=node.parent)

    def action_continuations(self) -> None:
        """Ask how many continuations, and from where."""
        node = self.reply_here()
        if node is None:
            return
        from tui.app.screens.continuations import AskContinuations, Wanted

        def chosen(wanted: Wanted | None) -> None:
            if wanted is not None:
                self.call_later(self.continuations, node, wanted.n, wanted.tiers, wanted.blind)

        tiers = self.ladder.loaded() if self.ladder else []
        self.app.push_screen(AskContinuations(tiers, blind=self.blind), chosen)

    async def continuations(self, node: Node, n: int, tiers: tuple[str, ...] = (), blind: bool = False) -> None:
        """Several continuations side by side: ``n`` from the speaking tier, or one from each of ``tiers``."""
        await self.run_turn(
            partial(self.session.regenerate, node.id, n=1 if tiers else n, tiers=tiers),
            parent=node.parent,
            tiers=tiers or ("",) * n,
            beside=True,
            blind=blind,
        )

    async def action_more(self) -> None:
        """One more version beside the others."""
        node, group = self.reply_here(), self.group_here()
        if node is not None:
            blind = group is not None and group.blind
            await self.run_turn(partial(self.session.regenerate, node.id), parent=node.parent, beside=True, blind=blind)

    async def action_resume(self) -> None:
        """Finish a stopped reply."""
        node = self.reply_here()
        if node is None:
            return
        if node.status is Status.DONE:
            self.tell("This reply is finished; e edits it and goes on from there")
            return
        await self.run_turn(partial(self.session.resume, node.id), parent=node.parent, seed=node)

    # -- versions -----------------------------------------------------------------------------------------------------

    async def action_beside(self) -> None:
        """All versions side by side, or back to one."""
        group = self.group_here()
        if group is None or len(group.nodes) < 2:
            self.tell("There is only one version: r writes another, Ctrl+R looks closer")
        elif not self.busy:
            await group.show_beside(not group.beside)

    async def action_version(self, step: int) -> None:
        """Previous or next version; alone on the screen it becomes part of the conversation."""
        group = self.group_here()
        if group is None or self.busy:
            return
        node = await group.turn(step)
        if node is not None and not group.beside and not self.fovea.read_only:
            self.attempt(lambda: self.session.move_to(node.id))
            await self.sync()

    async def action_pick(self, number: int) -> None:
        """Pick a version by its place."""
        group = self.group_here()
        if group is None or not group.beside or self.busy or number > len(group.versions):
            return
        chosen, among, blind = group.versions[number - 1], [node.id for node in group.versions], group.blind
        if not self.managed(lambda: self.session.pick(chosen.id, among, blind=blind)):
            return
        await group.show_beside(False)
        await self.sync()
        tier = f"It was {chosen.tier}. " if blind else ""
        self.tell(f"{tier}Picked and kept as a preference; v shows the others again")
        self.transcript.enter()

    async def action_pick_here(self) -> None:
        """Pick the version under the cursor."""
        group = self.group_here()
        if group is not None and group.beside:
            await self.action_pick(group.current + 1)

    async def action_merge(self) -> None:
        """Edit all versions into one, in the external editor or in a window."""
        group = self.group_here()
        if group is None or len(group.nodes) < 2 or self.busy:
            self.tell("Merging needs several versions: n asks for continuations")
            return
        merged = "\n\n---\n\n".join(node.text for node in group.versions)
        here = group.versions[group.current]
        self._edit_text("Merge the versions into one", merged, partial(self._replace_reply, here))

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

    async def _replace_reply(self, node: Node, text: str) -> None:
        if self.attempt(lambda: self.session.edit(node.id, text)) is not None:
            group = self.transcript.group(node.parent)
            if group is not None:
                await group.show_beside(False)
            await self.sync()
            self.tell("Merged; every version is kept")

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
