from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.errors import NotFoundError
from agent.packing import pack_steps, unpack_steps
from agent.text import fts_query, title_of
from agent.tree import Tree
from agent.values import Passage, Status
from backends.types import Alternative, Step, Timing, Usage, Why


@pytest.fixture
def tree():
    made = Tree.in_memory()
    yield made
    made.close()


def say(tree, session, *texts):
    parent = None
    for number, text in enumerate(texts):
        parent = tree.add(session, parent, ("user", "assistant")[number % 2], text, author="person").id
    tree.shelf.set_head(session, parent)
    return parent


@pytest.mark.parametrize(
    "query", ['"', "*", "a OR", "NEAR(", "-", "(", "text:bird", "\0", "^bird", "'; DROP TABLE nodes", "🐧", "\ud800"]
)
def test_any_query_is_words(tree, query):
    say(tree, "s", "A bird", "sings")
    tree.shelf.search(query)
    tree.shelf.sessions(query)
    assert tree.integrity() == "ok"


def test_search_follows_edits_and_ignores_case_and_accents(tree):
    head = say(tree, "s", "Un café", "Бар")
    assert [found.node for found in tree.shelf.search("CAFE")] == [1]
    assert [found.node for found in tree.shelf.search("бар")] == [2]
    tree.checkpoint(head, "Театр", ())
    assert tree.shelf.search("бар") == [] and len(tree.shelf.search("теат")) == 1
    tree.mark_deleted(1, True)
    assert tree.shelf.search("cafe") == []


def test_titles_with_wildcards_are_found_literally(tree):
    say(tree, "a", "100% sure")
    say(tree, "b", "1000 things")
    assert [info.id for info in tree.shelf.sessions("%")] == ["a"]
    assert tree.shelf.sessions("_") == []


def test_a_name_is_an_id_its_start_or_last(tree):
    for name in ("abc1", "abd2", "x"):
        say(tree, name, name)
    assert tree.shelf.find_session("abc") == "abc1"
    assert tree.shelf.find_session("last") == "x"
    with pytest.raises(NotFoundError, match="Several"):
        tree.shelf.find_session("ab")
    with pytest.raises(NotFoundError, match="no conversation"):
        tree.shelf.find_session("zz")


def test_an_empty_name_is_no_conversation(tree):
    say(tree, "only", "t")
    with pytest.raises(NotFoundError, match="no conversation"):
        tree.shelf.find_session("")


def test_a_deleted_conversation_is_erased_when_the_tree_closes(tmp_path):
    tree = Tree.open(tmp_path / "c.sqlite", tmp_path / "lock")
    say(tree, "s", "a secret sentence", "yes")
    tree.shelf.set_deleted("s", True)
    tree.close()
    again = Tree.open(tmp_path / "c.sqlite", tmp_path / "lock")
    assert again.all_nodes("s") == []
    again.close()
    assert b"secret" not in (tmp_path / "c.sqlite").read_bytes()


def quoting(tree, session, quoted):
    passage = Passage(1, "A talk", quoted, "the secret word is zilvermeeuw", 0, 9, 1.0, "", kind="conversation")
    node = tree.add(session, None, "user", "what was it?", author="person").id
    tree.set_passages(node, [passage])
    return node


def test_what_another_conversation_quotes_is_hidden_while_its_source_is_private(tree):
    say(tree, "source", "the secret word is zilvermeeuw", "noted")
    node = quoting(tree, "other", "source")
    assert len(tree.passages(node)) == 1
    tree.shelf.set_private("source", True)
    assert tree.passages(node) == ()
    tree.shelf.set_private("source", False)
    assert len(tree.passages(node)) == 1


def test_erasing_a_conversation_erases_what_others_quote_from_it(tmp_path):
    tree = Tree.open(tmp_path / "c.sqlite", tmp_path / "lock")
    say(tree, "source", "the secret word is zilvermeeuw", "noted")
    say(tree, "kept", "hello", "hi")
    node, kept = quoting(tree, "other", "source"), quoting(tree, "third", "kept")
    tree.shelf.set_deleted("source", True)
    tree.close()
    again = Tree.open(tmp_path / "c.sqlite", tmp_path / "lock")
    assert again.passages(node) == () and len(again.passages(kept)) == 1
    again.close()


def test_deleting_a_message_counts_as_a_change_of_its_conversation(tree):
    say(tree, "s", "one", "two")
    before = tree.shelf.recallable()["s"]
    tree.mark_deleted(tree.all_nodes("s")[0].id, True)
    assert tree.shelf.recallable()["s"] > before


STEP = st.builds(
    Step,
    token=st.integers(0, 2**31),
    text=st.text(st.characters(codec="utf-8"), max_size=8),
    tier=st.sampled_from(["4-bit", "16-bit"]),
    p=st.floats(0, 1).map(lambda x: round(x, 6)),
    entropy=st.floats(0, 20).map(lambda x: round(x, 6)),
    margin=st.floats(0, 20).map(lambda x: round(x, 6)),
    density=st.floats(0, 1).map(lambda x: round(x, 6)),
    why=st.sampled_from(list(Why)),
    seq=st.integers(0, 3),
    alternatives=st.lists(
        st.builds(Alternative, st.integers(0, 9), st.text(max_size=3), st.just(0.5), st.just("t"))
    ).map(tuple),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(st.lists(STEP, max_size=4))
def test_steps_come_back_as_they_were(steps):
    assert list(unpack_steps(pack_steps(steps))) == steps


def test_a_finished_reply_comes_back_whole(tree):
    head = say(tree, "s", "Q", "")
    usage, timing = Usage(10, 4, 2, 1, 1), Timing(0.1, 0.2, 0.05)
    step = Step(1, "A", "4-bit", 0.5, 1.0, 2.0, 0.1)
    done = tree.finish(head, "A", [step], Status.DONE, usage=usage, timing=timing, high_tokens=1, all_tokens=2)
    assert (done.usage, done.timing, done.steps, done.status) == (usage, timing, (step,), Status.DONE)
    assert tree.path(head)[-1] == done and tree.path(head, steps=False)[-1].steps == ()
    assert tree.ledger.spending("s", 0.2).share == 0.5


def test_thousands_of_messages_are_one_query(tree):
    with tree.transaction():
        head = say(tree, "s", *(f"message {number}" for number in range(3000)))
    assert len(tree.path(head, steps=False)) == 3000


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("\n\n Hello \nworld", "Hello"),
        ("", ""),
        ("x" * 100, "x" * 70 + "…"),
        ("word " * 30, ("word " * 14).strip() + "…"),
    ],
)
def test_titles(text, title):
    assert title_of(text) == title


def test_a_query_without_words_finds_nothing(tree):
    say(tree, "s", "bird")
    assert fts_query("  ") == '""' and tree.shelf.search("  ") == []


def test_a_tier_is_as_fast_as_it_was_without_the_looks_of_a_higher_one(tree):
    def reply(usage, timing):
        node = tree.add("s", None, "assistant", "", author="model", model="m", tier="4-bit")
        tree.finish(node.id, "text", (), Status.DONE, usage=usage, timing=timing)

    reply(Usage(100, 0, 50), Timing(prefill_s=1, decode_s=5))
    reply(Usage(100, 0, 50, high_tokens=5, high_steps=5), Timing(prefill_s=1, decode_s=15, high_s=10))
    reply(Usage(100, 0, 50, high_tokens=50, high_steps=9), Timing(prefill_s=1, decode_s=40, high_s=38))
    speed = tree.ledger.speed("m", "4-bit")
    assert (speed.prefill_tok_s, speed.decode_tok_s) == (100, 10)
