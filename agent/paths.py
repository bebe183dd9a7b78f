"""Where fovea keeps its bytes: three folders, each private to the person (mode 0700).

``FOVEA_DATA``, ``FOVEA_CONFIG`` and ``FOVEA_CACHE`` override the platform's own places; the settings file may name a
data and a cache folder too, and the environment wins over it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agent.errors import StorageError

APP = "fovea"
SETTINGS_NAME = "generation_config.yaml"


@dataclass(frozen=True, slots=True)
class Folders:
    """The three folders and the names of the files in them."""

    data: Path
    """Conversations, notes, knowledge base, log."""
    config: Path
    """The settings file."""
    cache: Path
    """What can be made again: tiers, measured speeds, density models."""

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.config / SETTINGS_NAME

    @property
    def conversations(self) -> Path:
        """The SQLite file of the conversation tree."""
        return self.data / "conversations.sqlite"

    @property
    def writer_lock(self) -> Path:
        """Held by the one process that may write to the data folder."""
        return self.data / "writer.lock"

    @property
    def log(self) -> Path:
        """The rotating log file."""
        return self.data / "fovea.log"

    @property
    def tiers(self) -> Path:
        """Model files made on this machine."""
        return self.cache / "tiers"


def find(data: Path | None = None, cache: Path | None = None) -> Folders:
    """The folders to use; nothing is created.

    Args:
        data: The data folder named in the settings, if any.
        cache: The cache folder named in the settings, if any.
    """
    import platformdirs

    def choose(variable: str, named: Path | None, default: str) -> Path:
        value = os.environ.get(variable, "").strip()
        return Path(value).expanduser() if value else (named.expanduser() if named else Path(default))

    return Folders(
        data=choose("FOVEA_DATA", data, platformdirs.user_data_dir(APP, appauthor=False)),
        config=choose("FOVEA_CONFIG", None, platformdirs.user_config_dir(APP, appauthor=False)),
        cache=choose("FOVEA_CACHE", cache, platformdirs.user_cache_dir(APP, appauthor=False)),
    )


def create(folder: Path) -> Path:
    """Make a folder that only its owner can enter; an existing one is left as it is.

    Raises:
        StorageError: The folder cannot be made (read-only, a file is in the way, no space).
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(f"{folder} is a file, but fovea needs a folder there; move the file away") from error
    except OSError as error:
        raise StorageError(f"The folder {folder} cannot be created: {error.strerror or error}") from error
    return folder


def write_where_told(path: Path, text: str) -> None:
    """Write a file to a place that a person named: no folder is made for it, for its name may be a slip.

    Raises:
        StorageError: Its folder is not there, or the file cannot be written.
    """
    if not path.absolute().parent.is_dir():
        raise StorageError(f"{path} cannot be written: there is no folder {path.absolute().parent}")
    write_atomically(path, text)


def write_atomically(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` in one step: readers see the old or the new content, never half.

    Raises:
        StorageError: The file cannot be written; the old one is as it was.
    """
    import tempfile

    create(path.parent)
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as handle:
            temporary = Path(handle.name)
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error.strerror or error}; it is as it was") from error
