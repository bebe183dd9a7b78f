from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from backends.types import Step
from tests.tui.serve.serving import serving
from tests.tui.serve.test_serve import ASK, engine
from tui.serve.stops import StopFilter


def steps(pieces: Sequence[str]) -> list[Step]:
    return [Step(at, text, "4-bit", 0.9, 0.5, 3.0, 0.0) for at, text in enumerate(pieces)]


def expected(pieces: Sequence[str], stops: Sequence[str]) -> str:
    text = ""
    for piece in pieces:
        text += piece
        if found := [text.index(stop) for stop in stops if stop in text]:
            return text[: min(found)]
    return text


letters = st.text("ab", min_size=1, max_size=4)


@given(st.lists(st.text("ab", max_size=3), max_size=12), st.lists(letters, max_size=3))
def test_what_is_shown_is_the_text_before_the_first_stop(pieces: list[str], stops: list[str]) -> None:
    one = StopFilter(stops)
    shown = ""
    for step in steps(pieces):
        shown += "".join(part.text for part in one.feed(step))
        assert not any(stop in shown for stop in stops), "nothing of a stop text gets out early"
    shown += "".join(part.text for part in one.end())
    assert shown == expected(pieces, stops)


def test_without_stop_texts_nothing_is_held_back() -> None:
    one = StopFilter(())
    assert [part.token for step in steps(["a", "", "b"]) for part in one.feed(step)] == [0, 1, 2]


def test_an_answer_ends_before_its_stop_text() -> None:
    said = "Hello! How can I help you?"
    body = {"messages": ASK, "stop": ["can I help"]}
    with serving(engine(said, said)) as server, server.client() as client:
        _, answer = server.raw("POST", "/v1/chat/completions", body)
        chunks = list(client.chat.completions.create(model="pocket", messages=ASK, stop=["can I help"], stream=True))
    assert answer["choices"][0]["message"]["content"] == "Hello! How "
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello! How "
