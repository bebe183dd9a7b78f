"""E-mail (RFC 5322) and books (EPUB)."""

from __future__ import annotations

import email
import email.policy
import posixpath
import urllib.parse
from email.message import EmailMessage

from memory.errors import DocumentDamagedError, IngestError
from memory.formats.archive import checked_archive, read_member
from memory.formats.html import html_to_markdown, read_html
from memory.formats.values import Extracted, ReadLimits

_PARTS = 1000


def read_email(data: bytes, limits: ReadLimits) -> Extracted:
    """Read a message's headers and its text; attachments are named, not opened.

    Raises:
        DocumentDamagedError: No message in it.
    """
    try:
        message = email.message_from_bytes(data, _class=EmailMessage, policy=email.policy.default)
        lines = [f"{name}: {message[name]}" for name in ("From", "To", "Cc", "Date") if message[name]]
        subject = " ".join(str(message["Subject"] or "").split())[:200]
        bodies, attached = _bodies(message)
    except RecursionError as error:
        raise DocumentDamagedError("nested too deeply") from error
    except (LookupError, ValueError, AttributeError, TypeError) as error:
        raise DocumentDamagedError(f"not a readable message ({error})") from error
    if not lines and not subject:
        raise DocumentDamagedError("no message headers in it")
    if attached:
        lines.append("Attachments: " + ", ".join(attached))
    text = "\n\n".join([f"# {subject or 'Message'}", "\n".join(lines), *bodies])
    marks = (f"{len(attached)} attachments not read",) if attached else ()
    return Extracted(text, "markdown", subject, marks=marks)


def _bodies(message: EmailMessage) -> tuple[list[str], list[str]]:
    bodies: list[str] = []
    attached: list[str] = []
    plain = message.get_body(("plain",)) is not None
    for number, part in enumerate(message.walk()):
        if number > _PARTS:
            raise DocumentDamagedError(f"more than {_PARTS} parts")
        if part.is_multipart() or not isinstance(part, EmailMessage):
            continue
        if part.get_content_disposition() == "attachment" or part.get_content_maintype() != "text":
            attached.append(" ".join((part.get_filename() or part.get_content_type()).split())[:100])
        elif part.get_content_subtype() == "html":
            if not plain:
                bodies.append(html_to_markdown(str(part.get_content()))[1])
        else:
            bodies.append(str(part.get_content()).strip())
    return bodies, attached


def read_epub(data: bytes, limits: ReadLimits) -> Extracted:
    """Read a book's chapters in reading order.

    Raises:
        DocumentDamagedError: No readable chapter.
    """
    from defusedxml import ElementTree

    with checked_archive(data, limits, allow_doctype=True) as archive:
        try:
            container = ElementTree.fromstring(read_member(archive, "META-INF/container.xml"))
            package = next(node.attrib["full-path"] for node in container.iter() if node.tag.endswith("rootfile"))
            root = ElementTree.fromstring(read_member(archive, package))
        except (ElementTree.ParseError, StopIteration, KeyError, ValueError) as error:
            raise DocumentDamagedError("a book without a readable table of contents") from error
        manifest = {n.attrib.get("id"): n.attrib.get("href", "") for n in root.iter() if n.tag.endswith("}item")}
        order = [n.attrib.get("idref") for n in root.iter() if n.tag.endswith("}itemref")]
        title = next((" ".join((n.text or "").split()) for n in root.iter() if n.tag.endswith("}title")), "")[:200]
        chapters: list[str] = []
        broken = 0
        for name in order:
            target = posixpath.join(posixpath.dirname(package), urllib.parse.unquote(manifest.get(name, "")))
            try:
                chapters.append(read_html(read_member(archive, posixpath.normpath(target)), limits).text)
            except IngestError:
                broken += 1
    if not any(chapter.strip() for chapter in chapters):
        raise DocumentDamagedError("a book without a readable chapter")
    marks = (f"{broken} chapters unreadable",) if broken else ()
    return Extracted("\n\n".join(chapter for chapter in chapters if chapter), "markdown", title, marks=marks)
