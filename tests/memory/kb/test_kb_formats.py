from __future__ import annotations

import os
from pathlib import Path

import pytest

from memory.errors import DocumentDamagedError, DocumentTooLargeError, UnsupportedFormatError
from memory.formats import DEFAULT_LIMITS, ReadLimits, extract
from memory.formats.host import ReaderHost
from memory.formats.html import html_to_markdown
from memory.formats.worker import cut
from memory.kb import KnowledgeBase
from tests.memory.kb.kb_samples import SENTENCE, malformed, pdf, sound, write_all

SOUND = sound()


@pytest.mark.parametrize("name", sorted(SOUND))
def test_every_format_gives_its_text_as_exact_spans(name: str) -> None:
    found = extract(name, SOUND[name])
    assert SENTENCE in found.text
    pieces = cut(found)
    assert all(piece.text == found.text[piece.start : piece.end] for piece in pieces)
    assert any(SENTENCE in piece.text for piece in pieces)


def test_pages_of_a_pdf_are_cited() -> None:
    pieces = cut(extract("a.pdf", pdf(["alpha " * 150, "beta " * 150, "gamma " * 150])))
    for number, word in enumerate(("alpha", "beta", "gamma"), 1):
        spans = [(piece.page_start or 0, piece.page_end or 0) for piece in pieces if word in piece.text]
        assert spans and all(first <= number <= last for first, last in spans)
    assert pieces[-1].page_end == 3


def test_slides_are_pages_and_notes_are_read() -> None:
    found = extract("talk.pptx", SOUND["talk.pptx"])
    assert len(found.pages) == 2
    assert "Notes: Say this about Gate" in found.text


def test_office_structure_becomes_markdown() -> None:
    word = extract("report.docx", SOUND["report.docx"])
    assert word.title == "Gate report"
    assert "# Results" in word.text and "- First item" in word.text and "| 4-bit | 2.46 |" in word.text
    assert "## Notes" in extract("tiers.xlsx", SOUND["tiers.xlsx"]).text


def test_mail_names_attachments_and_prefers_plain_text() -> None:
    found = extract("letter.eml", SOUND["letter.eml"])
    assert found.title == "About the gate"
    assert "weights.bin" in found.text and "(as HTML)" not in found.text
    assert found.marks == ("1 attachments not read",)


def test_bytes_decide_and_a_wrong_extension_does_no_harm() -> None:
    assert extract("really.txt", SOUND["report.docx"]).title == "Gate report"
    assert extract("really.md", pdf([SENTENCE])).pages == (0,)


@pytest.mark.parametrize(
    "hidden",
    [
        "<p style='display:none'>evil</p>",
        "<p style='DISPLAY : NONE'>evil</p>",
        "<p hidden>evil</p>",
        "<span style='font-size:0'>evil</span>",
        "<span aria-hidden='true'>evil</span>",
        "<script>evil</script>",
        "<template>evil</template>",
        "<!-- evil -->",
        "<div style='visibility:hidden'><b>evil</b></div>",
        "<span style='opacity:0'>evil</span>",
    ],
)
def test_what_a_browser_hides_is_not_read(hidden: str) -> None:
    assert "evil" not in html_to_markdown(f"<body><p>seen</p>{hidden}<p>after</p></body>")[1]


def test_the_reading_process_is_killed_when_it_takes_too_long_or_too_much(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("слово и дело Ð¿Ñ€Ð¸\n" * 400_000, encoding="utf-8")
    with ReaderHost(ReadLimits(seconds=0.3)) as host:
        with pytest.raises(DocumentTooLargeError, match="takes more than"):
            host.read(path)
        note = tmp_path / "note.md"
        note.write_text("# Fine\n\ntext\n", encoding="utf-8")
        host.limits = DEFAULT_LIMITS
        assert host.read(note).title == "Fine"  # a new child serves the next document
    with ReaderHost(ReadLimits(memory_bytes=70 << 20)) as host, pytest.raises(DocumentTooLargeError, match="memory"):
        host.read(path)


def test_known_bytes_are_not_read_further(tmp_path: Path) -> None:
    path = tmp_path / "note.md"
    path.write_text("# Same\n\ntext\n", encoding="utf-8")
    with ReaderHost() as host:
        first = host.read(path)
        again = host.read(path, known=[first.content_hash])
    assert first.pieces and again.same and not again.pieces


def test_sixty_malformed_documents_are_each_named_with_one_line_of_reason(base: KnowledgeBase, docs: Path) -> None:
    documents = malformed()
    assert len(documents) >= 60
    write_all(docs, documents)
    with (docs / "one-line.txt").open("wb") as file:
        file.write(b"x" * (50 << 20))
    os.mkfifo(docs / "pipe.txt")
    (docs / "unreadable.txt").write_text("secret", encoding="utf-8")
    (docs / "unreadable.txt").chmod(0)
    (docs / "gone.txt").symlink_to(docs / "nowhere.txt")
    for name, data in SOUND.items():
        (docs / f"sound-{name}").write_bytes(data)

    paths = [str(path) for path in docs.iterdir()]
    outcome = base.add(paths)

    reasons = dict(outcome.failed)
    read_all = os.geteuid() == 0  # root may read what nobody may
    expected_sound = len(SOUND) + (1 if read_all else 0)
    assert outcome.added == expected_sound, sorted(
        document.uri for document in base.documents() if document.status == "ready"
    )
    assert len(reasons) == len(paths) - expected_sound
    assert all(reason and "\n" not in reason and "Traceback" not in reason for reason in reasons.values())
    assert base.verify().clean
    assert base.search(SENTENCE)[0]
    again = base.refresh()
    assert (again.added, again.updated, again.removed) == (0, 0, 1)  # the dangling link points to nothing: forgotten


def test_a_file_that_vanishes_while_it_is_read_is_reported(tmp_path: Path) -> None:
    with ReaderHost() as host, pytest.raises(Exception, match="it is gone"):
        host.read(tmp_path / "never-there.md")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("bomb.docx", DocumentTooLargeError),
        ("entities.docx", UnsupportedFormatError),
        ("no-text.pdf", DocumentDamagedError),
    ],
)
def test_hostile_documents_are_told_apart(name: str, error: type[Exception]) -> None:
    data = malformed()[os.fsencode(name)]
    assert data is not None
    with pytest.raises(error):
        extract(name, data)
