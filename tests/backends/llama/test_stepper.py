from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import BackendError, CacheError, Cancelled, LoadError
from backends.llama.batches import batches
from backends.llama.stepper import LlamaOptions, LlamaStepper
from backends.reading import Reader, hand_over
from backends.stepper import Feed
from backends.threads import choose_threads
from backends.types import Message, TierSpec
from tests.backends.contract import StepperContract


class TestLlama(StepperContract):
    ATOL = 2e-2

    @pytest.fixture(scope="class")
    def make(self, tiny_tiers):
        def open_(**options):
            return LlamaStepper(tiny_tiers["16-bit"], LlamaOptions(threads=2, **options))

        return open_


@pytest.fixture
def stepper(tiny_tiers):
    stepper = LlamaStepper(tiny_tiers["16-bit"], LlamaOptions(ctx=2048, threads=2))
    yield stepper
    stepper.close()


def test_a_cancel_inside_one_native_batch_takes_effect_at_once(stepper):
    seq = stepper.open()
    before = stepper.prefill(seq, [1, 2, 3]).copy()
    stepper.truncate(seq, 2)
    timer = threading.Timer(0.005, stepper.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        for _ in range(1000):
            stepper.step([Feed(seq, [5] * 400)])
            stepper.truncate(seq, 2)
    timer.join()
    assert stepper.length(seq) == 2
    stepper.resume()
    np.testing.assert_allclose(stepper.step([Feed(seq, [3])])[0][0], before, atol=2e-2)


def test_a_step_wider_than_the_batch_gives_the_same_rows(tiny_tiers):
    wide = LlamaStepper(tiny_tiers["16-bit"], LlamaOptions(ctx=512, batch_size=256, threads=2))
    narrow = LlamaStepper(tiny_tiers["16-bit"], LlamaOptions(ctx=512, batch_size=32, threads=2))
    tokens = list(np.random.default_rng(0).integers(0, 256, 100))
    rows = [s.step([Feed(s.open(), tokens, 70)])[0].copy() for s in (wide, narrow)]
    assert rows[0].shape == (70, 512)
    np.testing.assert_allclose(rows[0], rows[1], atol=2e-2)
    wide.close(), narrow.close()


def test_a_batch_narrower_than_the_sequences_works(tiny_tiers):
    stepper = LlamaStepper(tiny_tiers["16-bit"], LlamaOptions(ctx=256, batch_size=1, sequences=16, threads=2))
    seen: list[int] = []
    assert stepper.prefill(stepper.open(), [1, 2, 3], lambda done, total: seen.append(done)).shape == (512,)
    assert seen == [1, 2, 3]
    stepper.close()


def test_a_context_too_small_for_its_sequences_is_a_load_error(tiny_tiers):
    with pytest.raises(LoadError, match=r"context of 8 tokens.*engine\.ctx to 16"):
        LlamaStepper(tiny_tiers["16-bit"], LlamaOptions(ctx=8, sequences=16))


def test_control_tokens_written_in_a_message_stay_text(stepper):
    control = stepper.tokenize("<|im_end|>", special=True)
    assert len(control) == 1
    prompt = stepper.chat_prompt([Message("user", "a <|im_end|> b")])
    assert prompt.count(control[0]) == stepper.chat_prompt([Message("user", "a b")]).count(control[0])
    assert b"<|im_end|>" in b"".join(stepper.piece(token) for token in prompt)


def test_a_reply_keeps_its_own_tokens_in_the_next_prompt(stepper):
    odd = (104, 105, 33)
    text = b"".join(stepper.piece(token) for token in odd).decode()
    first = stepper.chat_prompt([Message("user", "x")])
    both = stepper.chat_prompt([Message("user", "x"), Message("assistant", text, odd), Message("user", "y")])
    assert tuple(both[len(first) : len(first) + 3]) == odd


LATE_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'user' %}<|im_start|>{% if loop.last %}{{ messages[0].content }}/"
    "{% endif %}{{ m.content }}<|im_end|>{% elif m.role == 'assistant' %}{{ m.content|trim }}/{{ m.content }}"
    "{% endif %}{% endfor %}"
)
"""Prints the system text in the last user turn, as Mistral's templates do, and a reply twice."""


def test_messages_stand_where_the_template_puts_them(tiny_tiers):
    stepper = LlamaStepper(tiny_tiers["4-bit"], LlamaOptions(ctx=256, threads=2))
    stepper._vocab.template = LATE_SYSTEM
    talk = [
        Message("system", "S <|im_end|>"),
        Message("user", "one <|im_end|>"),
        Message("assistant", "two", (104, 105)),
    ]
    talk.append(Message("user", "three"))
    text = b"".join(stepper.piece(token) for token in stepper.chat_prompt(talk)).decode()
    reply = b"".join(map(stepper.piece, (104, 105))).decode()
    assert text == f"one <|im_end|>{reply}/{reply}S <|im_end|>/three"
    stepper.close()


def test_a_template_that_swallows_what_the_person_wrote_is_an_error(tiny_tiers):
    stepper = LlamaStepper(tiny_tiers["4-bit"], LlamaOptions(ctx=256, threads=2))
    stepper._vocab.template = "{% for m in messages %}{{ m.content[:4] }}{% endfor %}"
    with pytest.raises(BackendError, match="leaves out a message"):
        stepper.chat_prompt([Message("user", "why is <|im_end|> here?")])
    stepper.close()


@pytest.mark.parametrize(("giver", "taker"), [("16-bit", "4-bit"), ("4-bit", "16-bit"), ("8-bit", "16-bit")])
def test_a_cache_goes_from_tier_to_tier(tiny_tiers, giver, taker):
    readers = {
        name: Reader(TierSpec(name, path), LlamaStepper(path, LlamaOptions(ctx=512, threads=2)))
        for name, path in tiny_tiers.items()
        if name in (giver, taker)
    }
    tokens = list(np.random.default_rng(3).integers(0, 256, 200))
    read = readers[giver].read(tokens)
    taken = hand_over(readers[giver], read.kept, readers[taker], 199)
    row = readers[taker].stepper.step([Feed(taken.seq, tokens[199:])])[0][0].copy()
    own = readers[taker].stepper.open()
    exact = readers[taker].stepper.prefill(own, tokens)
    # Nearly the taker's own result: the cache differs only by the giver's quantization.
    assert np.corrcoef(row, exact)[0, 1] > 0.9
    for reader in readers.values():
        reader.stepper.close()


def test_a_foreign_cache_is_refused_with_the_reason(tiny_tiers, tmp_path):
    from backends.models.random_gguf import Shape, write_random

    other = write_random(tmp_path / "other.gguf", Shape(layers=2, vocabulary=512, context=2048))
    a, b = (
        Reader(TierSpec(name, path), LlamaStepper(path, LlamaOptions(ctx=256, threads=2)))
        for name, path in (("16-bit", tiny_tiers["16-bit"]), ("4-bit", other))
    )
    read = a.read([1, 2, 3])
    with pytest.raises(CacheError, match="layers differ"):
        hand_over(a, read.kept, b)
    with pytest.raises(CacheError):
        b.adopt(b"garbage" * 10, [1, 2, 3])
    assert b.read([1, 2, 3]).logits.shape == (512,)
    a.stepper.close(), b.stepper.close()


def test_thread_choice_leaves_a_working_stepper(stepper):
    assert choose_threads(stepper, steps=1) >= 1
    assert stepper.prefill(stepper.open(), [1, 2]).shape == (512,)


def test_a_context_beyond_the_models_own_is_capped(tiny_tiers):
    stepper = LlamaStepper(tiny_tiers["4-bit"], LlamaOptions(ctx=1_000_000, threads=2))
    assert stepper.facts.n_ctx == 2048
    stepper.close()


def test_a_file_that_is_no_model_is_a_load_error(tmp_path):
    path = tmp_path / "no.gguf"
    path.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(LoadError, match=r"no\.gguf"):
        LlamaStepper(path)


def test_close_twice_is_fine(tiny_tiers):
    stepper = LlamaStepper(tiny_tiers["4-bit"], LlamaOptions(ctx=256))
    stepper.close()
    stepper.close()
    time.sleep(0)


@pytest.mark.parametrize("system", [True, False])
def test_a_template_that_refuses_the_system_role_gets_it_in_the_first_message(tmp_path, monkeypatch, system):
    from backends.llama import vocab
    from backends.models.random_gguf import Shape, write_random

    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    monkeypatch.setattr("backends.models.random_gguf.CHATML", refusing + vocab.CHATML)
    stepper = LlamaStepper(write_random(tmp_path / "m.gguf", Shape(context=512)), LlamaOptions(ctx=256, threads=2))
    messages = [Message("system", "Be brief.")] * system + [Message("user", "Hi")]
    text = b"".join(stepper.piece(token) for token in stepper.chat_prompt(messages)).decode()
    assert "Hi" in text
    assert ("Be brief." in text) == system
    with pytest.raises(LoadError, match="no system role"):
        stepper.chat_prompt([Message("system", "alone")])
    stepper.close()


@pytest.mark.parametrize("token", [-1, 512, 2**31 - 1])
def test_tokens_that_do_not_exist_are_refused_and_do_not_end_the_process(stepper, token):
    assert stepper.piece(token) == b"" and not stepper.is_end(token)
    seq = stepper.open()
    with pytest.raises(BackendError, match="failed to compute"):
        stepper.prefill(seq, [1, token, 2])
    assert stepper.prefill(seq, [1, 2]).shape == (512,)


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(1, 512), st.integers(0, 512))
def test_a_prompt_is_read_in_batches_without_a_small_last_one(total, chunk, more):
    split = list(batches(total, chunk, chunk + more))
    assert [at for start, end in split for at in range(start, end)] == list(range(total))
    widths = [end - start for start, end in split]
    assert max(widths, default=0) <= min(chunk + chunk // 2, chunk + more)
    assert all(width == chunk for width in widths[:-1])
    if len(split) > 1 and more >= chunk // 2:
        assert widths[-1] > chunk // 2
