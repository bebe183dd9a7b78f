from __future__ import annotations

from memory.recall.surroundings import surroundings
from memory.store import Store


def test_a_passage_opens_at_its_place_with_what_stands_around_it(store: Store) -> None:
    body = "\n\n".join(f"Paragraph {number} says the number {number} and {'words ' * 60}" for number in range(30))
    store.put_document("file", "/a.md", "A", body)
    start = body.index("Paragraph 17")
    found = surroundings(store, "file", "/a.md", start, start + 40, reach=2)
    assert found is not None
    assert found.text[found.start : found.end] == body[start : start + 40]
    assert "Paragraph 16" in found.text[: found.start]
    assert "Paragraph 18" in found.text[found.end :]
    assert len(found.text) < len(body)


def test_a_place_that_is_gone_does_not_open(store: Store) -> None:
    store.put_document("file", "/a.md", "A", "Short.")
    assert surroundings(store, "file", "/a.md", 500, 600) is None
    assert surroundings(store, "file", "/b.md", 0, 5) is None
