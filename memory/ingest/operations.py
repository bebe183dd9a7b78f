"""What a person does with the knowledge base: add, refresh, remove. Each holds the writer lock for its whole run."""

from __future__ import annotations

import fnmatch
import glob
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memory.errors import FetchError, IngestError
from memory.formats.host import ReaderHost
from memory.formats.values import DEFAULT_LIMITS, ReadLimits
from memory.ingest.fetch import fetched, is_url, page_uri
from memory.ingest.pipeline import Cancelled, ingest_files, remove_missing
from memory.ingest.progress import Outcome, Report
from memory.ingest.walk import Found, Selection, is_folder, path_of, place_of, refuse_empty, select, uri_of
from memory.store import Document, DocumentInfo, Store

_ROOT = "root:"
_EXCLUDED = "excluded:"
_PRIVATE = "private:"
"""Folders and files that were added as private: so is what comes there later."""
_EMPTIED = "no file to read is left here, which a disk that is not mounted looks like too; what is known is kept"


@dataclass(frozen=True, slots=True)
class Control:
    """How an operation is watched and stopped."""

    report: Report | None = None
    cancelled: Cancelled = lambda: False
    limits: ReadLimits = DEFAULT_LIMITS


def add(store: Store, sources: Sequence[str], control: Control, *, private: bool = False) -> Outcome:
    """Add files, folders, globs and web pages; a folder given again is brought up to date.

    Args:
        store: Where to.
        sources: As the person wrote them.
        control: Progress, cancelling and bounds.
        private: Never recall what is added, nor what comes into these folders later.

    Raises:
        IngestError: No source was given, or an empty one.
    """
    refuse_empty(sources)
    began = time.monotonic()
    pages = [source for source in sources if is_url(source)]
    paths = [source for source in sources if not is_url(source)]
    chosen = select(paths) if paths else Selection()
    if not sources:
        raise IngestError("Name at least one file, folder, pattern or web address to add.")
    for root in chosen.roots:
        store.set_meta(_ROOT + uri_of(root), "1")
    for found in chosen.files:
        if not found.root:
            _forget_key(store, _EXCLUDED + uri_of(found.path))
    if private:  # first of all, so that nothing is open to recall even while this runs, or after a kill
        _mark_private(store, chosen, pages)
    outcome = _bring_up_to_date(store, chosen, control, retry_failed=True)
    for page in pages:
        if control.cancelled():
            break
        _add_page(store, page, control, outcome, private=private)
    outcome.seconds = time.monotonic() - began
    return outcome


def refresh(
    store: Store,
    targets: Sequence[str],
    control: Control,
    *,
    pages: bool = False,
    unattended: bool = False,
) -> Outcome:
    """Bring what was added up to date with the disk: changed files, new ones, moved ones, removed ones.

    A folder that is there but has lost every file at once may be the empty place of a disk that is not mounted: what
    is known of it is kept and reported, unless the person named that very folder.

    Args:
        store: Which store.
        targets: Folders or files to look at; all when empty.
        control: Progress, cancelling and bounds.
        pages: Whether web pages are fetched again.
        unattended: Whether a program chose the targets, so that naming a folder confirms nothing.

    Raises:
        IngestError: A target is empty.
    """
    refuse_empty(targets)
    began = time.monotonic()
    wanted = [place_of(target) for target in targets if not is_url(target)]

    def asked(path: Path) -> bool:
        return not targets or any(path == one or one in path.parents or path in one.parents for one in wanted)

    confirmed = frozenset() if unattended else frozenset(wanted)
    chosen, gone = _followed(store, asked, confirmed)
    outcome = _bring_up_to_date(store, chosen, control, retry_failed=False, confirmed=confirmed)
    outcome.removed += remove_missing(store, gone, set(), [])
    if pages:
        for document in store.documents(["url"]):
            if not control.cancelled() and (not targets or document.uri in targets):
                _add_page(store, document.uri, control, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def remove(store: Store, targets: Sequence[str]) -> Outcome:
    """Remove documents by path, folder, pattern or web address, with everything only they held.

    A file removed from a folder that stays added is remembered as excluded, so that ``refresh`` does not bring it back.

    Raises:
        IngestError: A target is empty.
    """
    refuse_empty(targets)
    outcome = Outcome()
    documents = store.documents(["file", "url"])
    for target in targets:
        matches = [document for document in documents if _matches(document, target)]
        root_key = "" if is_url(target) else _ROOT + uri_of(place_of(target))
        known_root = bool(root_key) and store.meta(root_key) is not None
        if known_root:
            store.delete_meta(root_key)
            _forget_key(store, _PRIVATE + root_key.removeprefix(_ROOT))
            for key in store.meta_keys(_EXCLUDED + root_key.removeprefix(_ROOT).rstrip("/") + "/"):
                store.delete_meta(key)
        if not matches and not known_root:
            outcome.failed.append((target, "not in the knowledge base"))
        roots = {path_of(key.removeprefix(_ROOT)) for key in store.meta_keys(_ROOT)}
        for document in matches:
            if document.kind == "file" and roots.intersection(path_of(document.uri).parents):
                store.set_meta(_EXCLUDED + document.uri, "1")
            _forget_key(store, _PRIVATE + document.uri)
            outcome.removed += store.remove_document(document.kind, document.uri)
    return outcome


def roots(store: Store) -> list[Path]:
    """Return the folders that were added."""
    return [path_of(key.removeprefix(_ROOT)) for key in store.meta_keys(_ROOT)]


def _followed(
    store: Store, asked: Callable[[Path], bool], confirmed: Collection[Path]
) -> tuple[Selection, list[Document]]:
    """What there is on the disk of that which was added, and the files added by themselves that are gone."""
    chosen = Selection()
    for root in roots(store):
        if not asked(root):
            continue
        if is_folder(root):
            found = select([str(root)])
            chosen.files += found.files
            chosen.roots += found.roots
            chosen.problems += found.problems
        else:
            chosen.problems.append((uri_of(root), "the folder is gone or not mounted; `fovea kb rm` forgets it"))
    gone: list[Document] = []
    for document in store.single_files():
        path = path_of(document.uri)
        if not asked(path):
            continue
        try:
            path.stat()
            chosen.files.append(Found(path))
        except (FileNotFoundError, NotADirectoryError):
            if path not in confirmed and _empty(path.parent):
                chosen.problems.append((document.uri, f"{_EMPTIED}; `fovea kb rm` forgets it"))
            elif is_folder(path.parent):
                gone.append(document)
        except OSError as error:  # the disk does not answer, or the folder may not be entered: nothing is known
            chosen.problems.append((document.uri, f"cannot be looked at: {error.strerror or error}"))
    return chosen, gone


def _bring_up_to_date(
    store: Store,
    chosen: Selection,
    control: Control,
    *,
    retry_failed: bool,
    confirmed: Collection[Path] = (),
) -> Outcome:
    excluded = {key.removeprefix(_EXCLUDED) for key in store.meta_keys(_EXCLUDED)}
    files = [found for found in chosen.files if not excluded or uri_of(found.path) not in excluded]
    private = {path_of(key.removeprefix(_PRIVATE)) for key in store.meta_keys(_PRIVATE)}
    if private:
        files = [replace(found, private=not private.isdisjoint((found.path, *found.path.parents))) for found in files]
    outcome = ingest_files(
        store,
        files,
        limits=control.limits,
        report=control.report,
        cancelled=control.cancelled,
        retry_failed=retry_failed,
    )
    if chosen.roots and not outcome.cancelled:
        _forget_missing(store, chosen, {uri_of(found.path) for found in files}, confirmed, outcome)
    outcome.failed = [*chosen.problems, *outcome.failed]
    return outcome


def _forget_missing(
    store: Store, chosen: Selection, keep: set[str], confirmed: Collection[Path], outcome: Outcome
) -> None:
    """Remove what is no longer in the chosen folders, except where a folder has lost every file at once."""
    below = _by_folder({*chosen.roots, *roots(store)}, [one for one in store.documents(["file"]) if one.root])
    problems = [name for name, _ in chosen.problems]
    filled = {parent for found in chosen.files for parent in found.path.parents}
    for root in chosen.roots:
        known = sum(one.status == "ready" for one in below[root])
        if not known or root in filled or root in confirmed or uri_of(root) in problems:
            outcome.removed += remove_missing(store, below[root], keep, problems)
            continue
        what = "1 document" if known == 1 else f"{known} documents"
        until = "until `fovea kb refresh` or `fovea kb rm` names this folder"
        outcome.failed.append((uri_of(root), f"{_EMPTIED} ({what}) {until}"))


def _by_folder(folders: Collection[Path], documents: Sequence[Document]) -> dict[Path, list[Document]]:
    """The documents below each folder; below several, a document counts as the innermost one's, which may be a disk."""
    out: dict[Path, list[Document]] = {folder: [] for folder in folders}
    for document in documents:
        home = next((parent for parent in path_of(document.uri).parents if parent in out), None)
        if home is not None:
            out[home].append(document)
    return out


def _add_page(store: Store, url: str, control: Control, outcome: Outcome, *, private: bool = False) -> None:
    uri, held = url, None
    try:
        uri = page_uri(url)
        held = store.document("url", uri)
        with fetched(url, store.folder) as page, ReaderHost(control.limits) as host:
            known = (held.content_hash,) if held and held.status == "ready" else ()
            result = host.read(page.path, name=page.name, known=known, declared=page.declared)
    except IngestError as error:
        outcome.failed.append((uri, str(error)))
        if not isinstance(error, FetchError):
            info = DocumentInfo(title=uri, private=private or (held is not None and held.private))
            store.put_failed("url", uri, str(error), info)
        return  # a page that cannot be fetched today keeps what it held
    if result.same:
        outcome.unchanged += 1
        return
    info = DocumentInfo(
        title=result.title or uri,
        content_hash=result.content_hash,
        size=result.size,
        mtime_ns=result.mtime_ns,
        format=result.format,
        mark=result.mark,
        private=private or (held is not None and held.private),
    )
    put = store.put_pieces("url", uri, result.pieces, info, titled=bool(result.title))
    outcome.added += held is None or held.status == "failed"
    outcome.updated += held is not None and held.status == "ready"
    outcome.new_chunks += put.new_chunks
    outcome.removed_chunks += put.removed_chunks
    if result.mark:
        outcome.marked.append((uri, result.mark))


def _mark_private(store: Store, chosen: Selection, pages: Sequence[str]) -> None:
    for place in (*chosen.roots, *(found.path for found in chosen.files if not found.root)):
        store.set_meta(_PRIVATE + uri_of(place), "1")
    for found in chosen.files:
        store.set_private("file", uri_of(found.path), True)
    for page in pages:
        try:
            store.set_private("url", page_uri(page), True)
        except FetchError:
            continue  # reported when it was to be fetched


def _matches(document: Document, target: str) -> bool:
    if document.uri == target:
        return True
    if is_url(target):
        return document.kind == "url" and document.uri.rstrip("/") == target.rstrip("/")
    if document.kind != "file":
        return False
    path = place_of(target)
    uri = uri_of(path)
    if document.uri == uri or document.uri.startswith(uri.rstrip("/") + "/"):
        return True
    return glob.has_magic(target) and fnmatch.fnmatchcase(document.uri, str(path))


def _empty(folder: Path) -> bool:
    """Whether a folder is there and holds nothing at all."""
    try:
        return next(folder.iterdir(), None) is None
    except OSError:
        return False


def _forget_key(store: Store, key: str) -> None:
    if store.meta(key) is not None:
        store.delete_meta(key)


__all__ = ["Control", "add", "refresh", "remove", "roots"]
