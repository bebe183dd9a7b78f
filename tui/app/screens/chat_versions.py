"""Versions of a reply: again, closer, continuations side by side, picking and merging."""

from __future__ import annotations

from functools import partial

from agent.values import Node, Status
from tui.app.screens.chat_messages import MessagesMixin


class VersionsMixin(MessagesMixin):
    """Actions on the versions of the reply under the cursor."""

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
        """Write another version of the reply under the cursor; for a message of the person, reply to it.

        From the prompt it is the last message that is meant, also where that got no reply.
        """
        node = (self.unanswered if self.prompt.has_focus else None) or self.here()
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

    async def _replace_reply(self, node: Node, text: str) -> None:
        if self.attempt(lambda: self.session.edit(node.id, text)) is not None:
            group = self.transcript.group(node.parent)
            if group is not None:
                await group.show_beside(False)
            await self.sync()
            self.tell("Merged; every version is kept")
