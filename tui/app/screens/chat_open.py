"""Opening the other screens from the chat, and taking over what they give back. They are imported when first opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from agent.values import Node, Scope
from tui.app.screens.chat_versions import VersionsMixin

if TYPE_CHECKING:
    from tui.app.screens.density import Wish


class OpenMixin(VersionsMixin):
    """Screens."""

    query_words: str = ""

    # -- conversations ------------------------------------------------------------------------------------------------

    def action_sessions(self) -> None:
        """The list of conversations."""
        from tui.app.screens.sessions import Sessions

        query, self.query_words = self.query_words, ""

        def chosen(session_id: str | None) -> None:
            if session_id is not None:
                self.call_later(self.open_session, session_id)
            elif len(self.rows) and self.fovea.tree.shelf.info(self.session.id) is None:
                self.call_later(self.open_session, "")  # the one on the screen was deleted from the list
            else:
                self.show_title()

        self.app.push_screen(Sessions(self.fovea, self.session.id, query), chosen)

    async def action_new_session(self) -> None:
        """Begin a new conversation."""
        await self.open_session("")

    async def open_session(self, session_id: str) -> None:
        """Show another conversation; a running reply is stopped first and its part kept.

        Args:
            session_id: empty for a new one.
        """
        if self.busy:
            self.tell("A reply is being written here: Esc stops it, then change the conversation", problem=True)
            return
        session = self.attempt(lambda: self.fovea.session(session_id or None))
        if session is None:
            return
        self.session = session
        self.passages, self.passages_off, self.meter = (), set(), None
        self.waiting.clear()  # they are among the earlier prompts
        self.held = False
        self.show_queue()
        await self.transcript.remove_children()
        await self.sync(reload=True)
        self.tell(self.what_is_open())
        await self.show_pending()
        self.prompt.focus()

    # -- a reply under the magnifying glass ---------------------------------------------------------------------------

    def action_density(self) -> None:
        """Tokens tinted by density, with what could have been written instead."""
        node = self.reply_here()
        if node is None:
            return
        if not node.steps:
            self.tell("This reply was typed or imported: nothing is known about its tokens")
            return
        from tui.app.screens.density import Density

        def done(wish: Wish | None) -> None:
            if wish is not None:
                self.call_later(self.carry_out, node, wish)

        # While a reply is written the engine is taken; reading at the tier that wrote it would say nothing new.
        high = self._highest()
        read = None if self.busy or node.tier == high else partial(self.session.forks, node.id, high)
        self.app.push_screen(Density(node, high=high, read=read), done)

    async def carry_out(self, node: Node, wish: Wish) -> None:
        """What the person chose in the density view: closer from a token on, or another token instead."""
        if wish.kind == "instead":
            await self.run_turn(
                partial(self.session.continue_from, node.id, wish.text), parent=node.parent, beside=True
            )
            return
        look = partial(self.session.look_closer, node.id, scope=Scope.SPAN, start=wish.at)
        await self.run_turn(look, parent=node.parent, beside=True, seed=node, upto=wish.at)

    def action_forks(self) -> None:
        """Where a higher tier would have said something else."""
        node = self.reply_here()
        if node is None:
            return
        if self.busy:
            self.tell("The fork map needs the model: Esc stops the reply first", problem=True)
            return
        from tui.app.screens.forks import Forks

        def done(changed: bool | None) -> None:
            if changed:
                self.call_later(self.sync)

        self.app.push_screen(Forks(self.session, node, tier=self.fork_tier), done)
        self.fork_tier = ""

    fork_tier: str = ""

    def _highest(self) -> str:
        loaded = self.ladder.loaded() if self.ladder else []
        return loaded[-1] if loaded else "the high tier"

    # -- the conversation as a whole ----------------------------------------------------------------------------------

    def action_tree(self) -> None:
        """All branches."""
        from tui.app.screens.tree import TreeScreen

        def chosen(node_id: int | None) -> None:
            self.call_later(self._go_to, node_id)

        self.app.push_screen(TreeScreen(self.session), chosen)

    async def _go_to(self, node_id: int | None) -> None:
        if node_id is not None and not self.busy and not self.fovea.read_only:
            self.attempt(lambda: self.session.move_to(node_id))
        await self.sync()

    def action_memory(self) -> None:
        """Recalled passages and notes."""
        from tui.app.screens.memory import MemoryScreen, Regenerate

        def done(result: Regenerate | None) -> None:
            if result is not None:
                self.call_later(self.regenerate_without)

        user = self._last_message()
        self.app.push_screen(
            MemoryScreen(self.fovea, self.session, user, draft=self.prompt.text, off=self.passages_off), done
        )

    def _last_message(self) -> int | None:
        path = self.session.path(steps=False)
        return next((node.id for node in reversed(path) if node.role == "user"), None)

    async def regenerate_without(self) -> None:
        """Write the last reply again with the passages as they are switched now."""
        path = self.session.path(steps=False)
        if path and path[-1].role == "assistant":
            node = path[-1]
            await self.run_turn(lambda: self.session.regenerate(node.id), parent=node.parent)

    def action_ladder(self) -> None:
        """Tiers, speeds, policy and budget."""
        from tui.app.screens.ladder import LadderScreen

        # Asking for the ladder loads the one of the settings, and that would end a reply of the present one.
        if self.loads_after_reply:
            self.tell("The tiers can be seen when this reply is done: the model is loaded anew then")
            return

        def done(_: None) -> None:
            self.show_status()
            if self.ladder is not None and not self.loads_after_reply:
                self.background(self.fovea.ladder, self.took_ladder)
            else:
                self.show_title()

        self.app.push_screen(LadderScreen(self.fovea, self.session), done)

    def action_provenance(self) -> None:
        """Every decision."""
        from tui.app.screens.provenance import Provenance

        self.app.push_screen(Provenance(self.session))

    def action_settings(self) -> None:
        """The settings screen."""
        from tui.app.screens.settings import SettingsScreen

        self.app.push_screen(SettingsScreen(self.fovea), lambda _: self.settings_changed())

    @property
    def loads_after_reply(self) -> bool:
        """Whether the settings describe another ladder, which waits for the reply that is being written."""
        return self.busy and self.ladder is not None and not self.fovea.ladder_current

    def settings_changed(self) -> None:
        """What the person changed counts from now on; another model is loaded when no reply is being written."""
        self.show_title()
        self.show_hints()
        if self.ladder is None or self.fovea.ladder_current:
            self.refresh_meter()
        elif self.busy:
            self.tell("The model is loaded anew when this reply is done")
        else:
            self.load_model()

    def show_text(self, heading: str, make: Callable[[], str]) -> None:
        """A text that may take a while to make, in a window."""
        from tui.app.screens.text import TextScreen

        self.background(make, lambda text: self.app.push_screen(TextScreen(heading, text)))

    # -- the first start ----------------------------------------------------------------------------------------------

    def offer_tour(self) -> None:
        """The tour, once."""
        if self.fovea.settings.screen.tour:
            self.start_tour()

    def start_tour(self) -> None:
        """One minute, can be skipped at any moment."""
        from tui.app.screens.tour import Tour

        self.app.push_screen(Tour(self.fovea))
