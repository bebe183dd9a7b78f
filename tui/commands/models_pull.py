"""``fovea models pull`` and ``fovea models catalogue``: fetch model files from the Hugging Face hub or a mirror."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui.commands.model_tools import Bar, data_folder, plainly, say_json, size, table

if TYPE_CHECKING:
    from backends.models.fetch import RemoteFile


@click.command("pull")
@click.argument("what")
@click.option("--name", default="", help="What to call it on the list of models.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to put it (otherwise the data folder).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def pull(what: str, name: str, folder: Path | None, as_json: bool) -> None:
    """Fetch a model and put it on the list of models.

    WHAT is a name of the catalogue (NAME or NAME:tier), or hf:owner/repo, or hf:owner/repo/file.gguf. Without a tier
    the 16-bit file is fetched: the other tiers are made from it. An interrupted pull is continued by the next one.
    HF_ENDPOINT names a mirror, HF_TOKEN a token for gated models.
    """
    from backends.models.catalogue import target
    from backends.models.collection import Collection
    from backends.models.fetch import endpoint, fetch, look_up

    wanted = target(what)
    remote = look_up(wanted)
    files = remote.chosen(wanted)
    total = sum(file.size for file in files)
    licence = f", licence {wanted.licence}" if wanted.licence else ""
    click.echo(f"{remote.repo} from {endpoint()}: {_names(files)}, {size(total)}{licence}", err=True)
    place = folder or data_folder() / "models"
    with Bar("fetching") as bar:
        model = fetch(remote, files, place, OverAll(files, bar))
    listed, _ = Collection(data_folder()).add(model.path, name or wanted.name)
    if as_json:
        say_json(
            {
                "name": listed,
                "path": str(model.path),
                "repo": remote.repo,
                "commit": remote.commit,
                "bytes": model.size,
                "tier": model.tier,
                "sha256": {file.name: file.sha256 for file in files},
            }
        )
        return
    checked = "checksum verified" if all(file.sha256 for file in files) else "the hub announced no checksum"
    click.echo(f"{listed}: {model.architecture}, {model.tier}, {size(model.size)}, {checked}")
    click.echo(f"Talk to it with: fovea chat --model {model.path}")


def _names(files: tuple[RemoteFile, ...]) -> str:
    from tui.app.safe import one_line

    return one_line(files[0].name) + (f" and {len(files) - 1} more parts" if len(files) > 1 else "")


class OverAll:
    """Progress over several files from the progress of each."""

    def __init__(self, files: tuple[RemoteFile, ...], bar: Bar) -> None:
        self._sizes = {file.name: file.size for file in files}
        self._done = dict.fromkeys(self._sizes, 0.0)
        self._bar = bar

    def __call__(self, name: str, done: float) -> None:
        """One file's share done, 0..1."""
        self._done[name] = done
        total = sum(self._sizes.values()) or 1
        self._bar(sum(self._sizes[file] * share for file, share in self._done.items()) / total)


@click.command("catalogue")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@plainly
def show_catalogue(as_json: bool) -> None:
    """Show the models that `fovea models pull` knows by name."""
    from backends.models.catalogue import catalogue

    date, models = catalogue()
    if as_json:
        listed = [
            {
                "name": model.name,
                "repo": model.repo,
                "licence": model.licence,
                "about": model.about,
                "gb": {tier: gb for tier, (_, gb) in model.files.items()},
            }
            for model in models
        ]
        say_json({"date": date, "models": listed})
        return
    rows = [["name", "4-bit", "8-bit", "16-bit", "licence", "repository", ""]]
    for model in models:
        sizes = [f"{model.files[tier][1]:.1f} GB" for tier in ("4-bit", "8-bit", "16-bit")]
        rows.append([model.name, *sizes, model.licence, model.repo, model.about])
    click.echo(table(rows, right=frozenset({1, 2, 3})))
    click.echo(f"\nAs of {date}. A pull shows the exact size first.")
