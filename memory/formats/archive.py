"""Office files and books are zip archives: looked over before any library expands them."""

from __future__ import annotations

import io
import zipfile

from memory.errors import DocumentDamagedError, DocumentTooLargeError, UnsupportedFormatError
from memory.formats.values import MEGABYTE, ReadLimits


def checked_archive(data: bytes, limits: ReadLimits, *, allow_doctype: bool = False) -> zipfile.ZipFile:
    """Open an archive within bounds.

    A member can never expand beyond its declared size (``zipfile`` stops there), so the directory is enough to judge.

    Args:
        data: The archive.
        limits: Members, bytes and ratio.
        allow_doctype: Whether its XML may carry a document type (XHTML does, Office never).

    Raises:
        DocumentDamagedError: No readable archive, or encrypted.
        DocumentTooLargeError: Over a limit.
        UnsupportedFormatError: XML that declares entities.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DocumentDamagedError(f"a damaged archive ({error})") from error
    members = archive.infolist()
    if len(members) > limits.archive_members:
        raise DocumentTooLargeError(f"an archive of {len(members)} members; the limit is {limits.archive_members}")
    total = sum(member.file_size for member in members)
    if total > limits.archive_bytes:
        raise DocumentTooLargeError(
            f"an archive that expands to {total >> 20} MB; the limit is {limits.archive_bytes >> 20} MB"
        )
    for member in members:
        if member.flag_bits & 1:
            raise DocumentDamagedError("encrypted; remove the password first")
        if member.file_size > MEGABYTE and member.file_size > limits.archive_ratio * max(1, member.compress_size):
            raise DocumentTooLargeError("an archive member that expands more than 200 times: a zip bomb")
        if member.filename.lower().endswith((".xml", ".rels", ".opf", ".ncx", ".xhtml", ".html", ".htm")):
            _check_xml(archive, member, allow_doctype)
    return archive


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Read a member.

    Raises:
        DocumentDamagedError: It is missing or its bytes are broken.
    """
    try:
        return archive.read(name)
    except (KeyError, zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise DocumentDamagedError(f"a damaged archive ({error})") from error
    except Exception as error:  # zlib.error and lzma.LZMAError have no common base
        raise DocumentDamagedError(f"a damaged archive ({error})") from error


def _check_xml(archive: zipfile.ZipFile, member: zipfile.ZipInfo, allow_doctype: bool) -> None:
    try:
        with archive.open(member) as stream:
            head = stream.read(65536)
    except Exception as error:  # as above: each compression has its own exception
        raise DocumentDamagedError(f"a damaged archive ({error})") from error
    plain = head.replace(b"\0", b"")  # UTF-16 hides nothing that way
    if b"<!ENTITY" in plain or (b"<!DOCTYPE" in plain and not allow_doctype):
        raise UnsupportedFormatError("XML that declares entities; they could expand without end")
