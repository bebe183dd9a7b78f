"""``fovea settings``: show and change what is in generation_config.yaml."""

from __future__ import annotations

import json
from typing import Any

import click


@click.group("settings")
def settings() -> None:
    """Show and change settings."""


@settings.command("path")
def path() -> None:
    """Print where the settings file is (it need not exist)."""
    from agent import paths

    click.echo(str(paths.find().settings))


@settings.command("show")
@click.argument("key", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(key: str | None, as_json: bool) -> None:
    """All settings with their meaning, or one KEY (or section)."""
    from agent import paths, settings_file
    from agent.errors import SettingsError
    from agent.settings import Settings
    from agent.settings_doc import descriptions

    values = settings_file.flatten(settings_file.load(paths.find().settings))
    defaults = settings_file.flatten(Settings())
    if key is not None:
        chosen = {k: v for k, v in values.items() if k == key or k.startswith(f"{key}.")}
        if not chosen:
            settings_file.with_dotted({}, {key: None})  # explains which key was meant
            raise SettingsError(f"There is no setting `{key}`")
        values = chosen
    if as_json:
        click.echo(json.dumps(values))
        return
    meaning = descriptions()
    for name, value in values.items():
        changed = "" if value == defaults[name] else f"   (default: {_shown(defaults[name])})"
        click.echo(f"{name} = {_shown(value)}{changed}\n    {meaning[name]}")


@settings.command("set")
@click.argument("key")
@click.argument("value")
def set_(key: str, value: str) -> None:
    """Write KEY VALUE to the settings file; it is checked before anything is written."""
    from agent import paths, settings_file

    settings_file.save(paths.find().settings, {key: settings_file.parse_value(key, value)})


@settings.command("unset")
@click.argument("key")
def unset(key: str) -> None:
    """Give KEY its default again."""
    from agent import paths, settings_file
    from agent.settings import Settings

    defaults = settings_file.flatten(Settings())
    settings_file.save(paths.find().settings, {key: defaults.get(key)})


@settings.command("docs", hidden=True)
def docs() -> None:
    """Print docs/settings.md."""
    from agent.settings_doc import markdown

    click.echo(markdown(), nl=False)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value not in ("", None) else "(empty)"
