"""Slash commands in the app: one handler for each key of the registry."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent import settings
from tui import registry
from tui.app.safe import one_line
from tui.app.screens.chat_cards import CardsMixin
from tui.app.screens.chat_completion import CompletionMixin
from tui.app.screens.chat_shelf import ShelfMixin
from tui.app.words import percent, share

if TYPE_CHECKING:
    from agent.values import Meter

ACTIONS = {
    "help": "app.help",
    "new": "new_session",
    "again": "regenerate",
    "continue": "resume",
    "copy": "copy_reply",
    "code": "copy_code",
    "density": "density",
    "tree": "tree",
    "memory": "memory",
    "ladder": "ladder",
    "log": "provenance",
    "settings": "settings",
    "quit": "app.quit",
}
"""Commands that are nothing but an action with a key of its own."""


class CommandsMixin(CompletionMixin, CardsMixin, ShelfMixin):
    """What a line that begins with a slash does."""

    # -- running ------------------------------------------------------------------------------------------------------

    def begin_command(self, text: str) -> None:
        """Put the beginning of a command into the prompt; what was there comes back with the history."""
        if self.prompt.text:
            self.prompt.past.add(self.prompt.text)
        self.prompt.replace_all(text)
        self.prompt.focus()

    async def command(self, line: str) -> None:
        """Run a typed line."""
        name, argument = registry.split(line)
        found = registry.find(name)
        if found is None:
            self.tell(f"There is no command /{one_line(name, 30)}; / shows them all", problem=True)
            self.prompt.give_back(line)
            return
        self.close_completions()
        self.prompt.past.add(line)
        self.tell("")
        if found.key in ACTIONS:
            await self.run_action(ACTIONS[found.key])
            return
        handler = getattr(self, f"do_{found.key}", None)
        if handler is None:
            self.tell(f"{found.usage} is not available in this window; use `fovea chat --plain`", problem=True)
            return
        await handler(argument)

    # -- replies ------------------------------------------------------------------------------------------------------

    async def do_closer(self, argument: str) -> None:
        """/closer [TIER]."""
        node = self.reply_here()
        if node is not None:
            await self.look_closer_at(node, argument)

    async def do_several(self, argument: str) -> None:
        """/several [N]."""
        if not argument:
            self.action_continuations()
        elif argument.isdecimal() and 2 <= int(argument) <= 8:
            node = self.reply_here()
            if node is not None:
                await self.continuations(node, int(argument), (), self.blind)
        else:
            self.tell("Say a number from 2 to 8", problem=True)

    async def do_compare(self, argument: str) -> None:
        """/compare [TIER TIER]."""
        tiers = tuple(argument.split()) or tuple(self.ladder.loaded() if self.ladder else ())
        node = self.reply_here()
        if node is not None and len(tiers) > 1:
            await self.continuations(node, len(tiers), tiers, self.blind)
        elif node is not None:
            self.tell("Comparing needs two tiers: /compare 4-bit 16-bit", problem=True)

    async def do_blind(self, argument: str) -> None:
        """/blind [on|off]."""
        self.blind = {"on": True, "off": False}.get(argument, not self.blind)
        self.tell("Tiers are hidden until you pick" if self.blind else "Tiers are shown")

    async def do_pick(self, argument: str) -> None:
        """/pick NUMBER."""
        if argument.isdecimal():
            await self.action_pick(int(argument))
        else:
            self.tell("Say which: /pick 2", problem=True)

    async def do_edit(self, argument: str) -> None:
        """/edit."""
        stops = [node for node in self.session.path(steps=False) if node.role == "user"]
        if stops:
            node = stops[-1]
            self._edit_text("Edit your message; it becomes a branch", node.text, partial(self._send_edited, node))

    async def do_forks(self, argument: str) -> None:
        """/forks [TIER]."""
        self.fork_tier = argument
        self.action_forks()

    async def do_bookmark(self, argument: str) -> None:
        """/bookmark LABEL."""
        node = self.here()
        if node is None:
            return
        if not argument:
            self.action_bookmark()
            return
        self.attempt(lambda: self.session.bookmark(node.id, argument))
        await self.sync()

    # -- the ladder ---------------------------------------------------------------------------------------------------

    async def do_policy(self, argument: str) -> None:
        """/policy [auto|ask|manual|off]."""
        from agent.values import Policy

        if not argument:
            self.tell(f"The policy is {self.policy}")
            return
        if argument not in list(Policy):
            self.tell("A policy is auto, ask, manual or off", problem=True)
            return
        self.attempt(lambda: self.session.set_policy(mode=Policy(argument)))
        self.show_title()
        self.show_status()

    async def do_budget(self, argument: str) -> None:
        """/budget [PERCENT]."""
        if not argument.strip():
            now = self.session.policy.budget
            self.tell(f"{percent(now)}: {share(now)} may be looked at closer")
            return
        try:
            value = settings.share(argument)
        except ValueError as error:
            self.tell(one_line(str(error), 100), problem=True)
            return
        if self.managed(lambda: self.session.set_policy(budget=value)):
            self.tell(f"{share(self.session.policy.budget).capitalize()} may be looked at closer")

    async def do_tier(self, argument: str) -> None:
        """/tier [TIER]."""
        loaded = self.ladder.loaded() if self.ladder else []
        if not argument:
            self.action_ladder()
        elif argument not in loaded:
            self.tell(f"There is no tier {one_line(argument, 20)}; there is {', '.join(loaded)}", problem=True)
        else:
            self.speaking = argument
            self.show_title()
            self.tell(f"{argument} speaks in this window")

    # -- looking in ---------------------------------------------------------------------------------------------------

    async def do_prompt(self, argument: str) -> None:
        """/prompt."""

        def make() -> str:
            return "\n\n".join(f"── {message.role}\n{message.content}" for message in self.session.prompt())

        self.show_text("Exactly what would be sent", make)

    async def do_context(self, argument: str) -> None:
        """/context."""

        def told(meter: Meter) -> None:
            out = f", {meter.left_out} oldest messages left out" if meter.left_out else ""
            kept = f"{meter.reserved:,} kept for the reply"
            self.tell(f"{meter.used:,} of {meter.available:,} tokens used, {kept}{out}")

        self.background(self.session.meter, told)

    async def do_compact(self, argument: str) -> None:
        """/compact."""
        await self.fold()

    async def do_note(self, argument: str) -> None:
        """/note TEXT."""
        if not argument:
            self.tell("Say what to remember: /note I prefer metric units", problem=True)
            return
        from tui.app.screens.note import propose

        propose(self, self.fovea, argument, tell=self.tell)

    async def do_theme(self, argument: str) -> None:
        """/theme [NAME]."""
        names = sorted(self.app.available_themes)
        if argument in names:
            self.app.choose_theme(argument)
            return
        if argument:
            self.tell(f"There is no theme {one_line(argument, 30)}", problem=True)
            return
        from tui.app.screens.choose import Choose

        own = [name for name in names if name.startswith("fovea")]
        names = [*own, *(name for name in names if name not in own)]

        def chosen(index: int | None) -> None:
            if index is not None:
                self.app.choose_theme(names[index])

        at = names.index(self.app.theme) if self.app.theme in names else 0
        self.app.push_screen(Choose("Theme", names, at), chosen)

    async def do_tour(self, argument: str) -> None:
        """/tour."""
        self.start_tour()
