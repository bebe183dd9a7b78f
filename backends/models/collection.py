"""The list of models this person has: names for paths, kept in one JSON file.

A name is what ``--model`` and the settings may say instead of a path. The list holds only names and paths: everything
else is read from the files when it is asked, so it cannot go stale.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from backends.errors import ModelFileError
from backends.models.gguf_file import ModelFile, read_model
from backends.models.gguf_header import shown

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FILE_NAME = "models.json"


class Collection:
    """The models in ``folder`` (the data folder); nothing is created before something is added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / FILE_NAME

    def paths(self) -> dict[str, Path]:
        """Name -> path, by name.

        Raises:
            ModelFileError: the list itself is damaged.
        """
        try:
            known = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise ModelFileError(
                f"{shown(self._file)} cannot be read ({error}); correct or delete it: it only holds names of models"
            ) from error
        if not isinstance(known, dict):
            raise ModelFileError(f"{shown(self._file)} is not a list of models; delete it and add them again")
        return {name: Path(path) for name, path in sorted(known.items()) if isinstance(path, str)}

    def add(self, path: Path, name: str = "") -> tuple[str, ModelFile]:
        """Check a model file and put it on the list; an entry of the same name is replaced.

        Raises:
            ModelFileError: the file cannot be used, the name is not a name, or the list cannot be written.
        """
        model = read_model(path)
        name = name or default_name(model)
        if not _NAME.fullmatch(name):
            raise ModelFileError(f"{name!a} is no name for a model: use small letters, digits, dots, dashes")
        known = {**self.paths(), name: model.path.resolve()}
        self._write(known)
        return name, model

    def remove(self, name: str) -> None:
        """Take a name off the list; the file stays.

        Raises:
            ModelFileError: no model has this name.
        """
        known = self.paths()
        if name not in known:
            raise ModelFileError(f"no model is called {name!a}; `fovea models list` shows the names")
        del known[name]
        self._write(known)

    def resolve(self, model: str) -> Path:
        """The path a name or a path means. A file of that path wins over a name.

        Raises:
            ModelFileError: it is neither.
        """
        path = Path(model).expanduser()
        if path.exists():
            return path
        named = self.paths().get(model)
        if named is not None:
            return named
        raise ModelFileError(f"{shown(path)}: no such file, and no model of that name; `fovea models list` shows them")

    def _write(self, known: dict[str, Path]) -> None:
        text = json.dumps({name: str(path) for name, path in sorted(known.items())}, indent=2) + "\n"
        temporary: Path | None = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._folder, prefix=f".{FILE_NAME}.", delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._file)
        except OSError as error:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise ModelFileError(f"{shown(self._file)} cannot be written: {error.strerror or error}") from error


def default_name(model: ModelFile) -> str:
    """A name from the file name: ``Qwen3-0.6B-F16.gguf`` becomes ``qwen3-0.6b-f16``."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", model.path.stem).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", stem).strip(".-_")[:64] or "model"
