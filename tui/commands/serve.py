"""``fovea serve``: the ladder behind the OpenAI protocol."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from tui.commands.common import opened, say, with_settings

if TYPE_CHECKING:
    from agent.settings import Settings

PORT = 8033


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes any free one.")
@click.option(
    "--token",
    default="",
    envvar="FOVEA_SERVE_TOKEN",
    help="What clients must send; `auto` makes one. Better set as FOVEA_SERVE_TOKEN: command lines can be seen.",
)
@click.option("--queue", type=click.IntRange(1, 10_000), default=64, show_default=True, help="Requests that may wait.")
@with_settings
def serve(host: str, port: int, token: str, queue: int, settings: Settings) -> int:
    """Serve the ladder to any OpenAI client: chat, completions, models, embeddings.

    A request may name a tier, a policy or a budget (`fovea: {"tier": "16-bit"}`); the answer says what was used.
    """
    from agent.ladder import model_name

    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise click.ClickException(f"`fovea serve` needs {package}: pipx install 'fovea-agent[serve]'")
    from tui.serve import run
    from tui.serve.app import make_app
    from tui.serve.service import Service

    made = token == "auto"  # noqa: S105 - the word that asks for a token, not a token
    token = run.check_token(host, token)
    with run.listen(host, port) as listening, opened(settings, unsaved=True) as fovea:
        settings = _adaptive(settings)
        ladder = fovea.ladder()
        for notice in ladder.notices:
            say(notice)
        service = Service(fovea.engine, ladder, model_name(settings), settings, fovea.overseer)
        for notice in service.notices():
            say(notice)
        embed = run.LazyEmbedder() if find_spec("sentence_transformers") else None
        app = make_app(service, token=token, embed=embed, longest_queue=queue)
        say(f"Serving {service.model} ({', '.join(ladder.loaded())}) at {run.address_of(listening)}/v1")
        if made:
            say(f"Clients need the token {token}")
        run.serve(app, listening)
    return 0


def _adaptive(settings: Settings) -> Settings:
    """The settings with ``ask`` turned into ``auto``: a client cannot be asked."""
    from agent.values import Policy

    if settings.policy.mode is not Policy.ASK:
        return settings
    say("Clients cannot be asked: the policy here is auto (--policy manual stays at the speaking tier)")
    return settings.with_values({"policy.mode": "auto"})
