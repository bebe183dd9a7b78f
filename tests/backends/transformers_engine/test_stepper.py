from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from backends.errors import BackendError
from backends.stepper import Feed, Stepper
from tests.backends.contract import Make, StepperContract
from tests.backends.transformers_engine import tiny

if importlib.util.find_spec("transformers") is None:
    pytest.skip("needs fovea-agent[transformers]", allow_module_level=True)


def opener(folder: Path, **fixed: Any) -> Make:
    from backends.transformers_engine.load import TransformersOptions, open_stepper

    # One thread: these models are so small that waking a second one costs more than all the arithmetic.
    return lambda **options: open_stepper(folder, TransformersOptions(threads=1, **fixed, **options))


class TestLlama(StepperContract):
    ATOL = 1e-4

    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory: pytest.TempPathFactory) -> Make:
        return opener(tiny.save_model(tmp_path_factory.mktemp("llama"), tiny.llama_config()))


class TestSlidingWindow(StepperContract):
    """Alternating full and sliding layers, the window far shorter than the prompts."""

    ATOL = 1e-4

    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory: pytest.TempPathFactory) -> Make:
        from transformers import Gemma3TextConfig

        config = Gemma3TextConfig(
            vocab_size=384, hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, max_position_embeddings=512, initializer_range=0.15, sliding_window=6,
            layer_types=["sliding_attention", "full_attention", "sliding_attention"], eos_token_id=2, bos_token_id=None,
            pad_token_id=0, query_pre_attn_scalar=16,
        )  # fmt: skip
        return opener(tiny.save_model(tmp_path_factory.mktemp("gemma"), config))


class TestRecurrent(StepperContract):
    """Layers with a convolution state beside attention: no truncation, no handover, everything else."""

    ATOL = 1e-4
    TRUNCATES = False

    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory: pytest.TempPathFactory) -> Make:
        from transformers import Lfm2Config

        config = Lfm2Config(
            vocab_size=384, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.15, eos_token_id=2,
            bos_token_id=None, pad_token_id=0, layer_types=["conv", "full_attention"], block_multiple_of=16,
        )  # fmt: skip
        return opener(tiny.save_model(tmp_path_factory.mktemp("lfm"), config))


class QuantizedContract(StepperContract):
    QUANT: ClassVar[str]
    DTYPE: ClassVar[str] = "float32"

    @pytest.fixture(scope="class")
    def make(self, tmp_path_factory: pytest.TempPathFactory) -> Make:
        pytest.importorskip("bitsandbytes")
        folder = tiny.save_model(tmp_path_factory.mktemp(self.QUANT), tiny.llama_config(), dtype=self.DTYPE)
        return opener(folder, quant=self.QUANT, device="cpu")


class TestNf4(QuantizedContract):
    QUANT = "nf4"
    ATOL = 1e-3


class TestFp4(QuantizedContract):
    QUANT = "fp4"
    ATOL = 1e-3


class TestInt8(QuantizedContract):
    """int8 rounds activations row by row, so a last-bit difference can move a whole step of the grid."""

    QUANT = "int8"
    ATOL = 0.2


class TestBf16(QuantizedContract):
    QUANT = "none"
    DTYPE = "bfloat16"
    ATOL = 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("plain"), tiny.llama_config())


def test_steps_equal_transformers_own_forward_pass(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    stepper = opener(folder)(ctx=128, batch_size=8)
    ids = stepper.tokenize("The eye sees sharply only where it looks; the rest")
    model = AutoModelForCausalLM.from_pretrained(folder)
    with torch.inference_mode():
        expected = model(torch.tensor([ids]), use_cache=False).logits[0].numpy()
    got = stepper.step([Feed(stepper.open(), ids, len(ids))])[0]
    np.testing.assert_allclose(got, expected, atol=1e-4)


def test_a_cache_crosses_precisions(folder: Path) -> None:
    """Read high, speak low: the nf4 tier goes on from the cache the unquantized tier computed."""
    pytest.importorskip("bitsandbytes")
    high, low = opener(folder)(ctx=128), opener(folder, quant="nf4", device="cpu")(ctx=128)
    assert high.facts.cache_key == low.facts.cache_key
    assert low.facts.bytes < high.facts.bytes
    ids = high.tokenize("The eye sees sharply only where it looks")
    source, target = high.open(), low.open()
    high.prefill(source, ids[:-1])
    low.import_cache(target, high.export_cache(source), len(ids) - 1)
    handed = low.prefill(target, ids[-1:]).copy()
    alone = low.prefill(low.open(), ids).copy()
    exact = high.prefill(high.open(), ids).copy()
    assert np.abs(handed - exact).mean() < np.abs(alone - exact).mean()


def test_another_models_cache_is_refused(folder: Path, tmp_path: Path) -> None:
    from backends.errors import CacheError

    one = opener(folder)(ctx=128)
    other = opener(tiny.save_model(tmp_path, tiny.llama_config(num_key_value_heads=4)))(ctx=128)
    assert one.facts.cache_key != other.facts.cache_key
    seq = one.open()
    one.prefill(seq, [5, 6, 7])
    with pytest.raises(CacheError, match="another model"):
        other.import_cache(other.open(), one.export_cache(seq), 3)


def test_what_torch_raises_is_one_line_and_costs_no_cells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stepper = opener(folder)(ctx=128)
    seq = stepper.open()
    stepper.prefill(seq, [5, 6, 7])

    def broken(**_: object) -> object:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory\nframe #0")

    with monkeypatch.context() as patched:
        patched.setattr(stepper, "_model", broken)
        with pytest.raises(BackendError, match=r"can't allocate memory\)\.$"):
            stepper.step([Feed(seq, [8])])
    assert stepper.length(seq) == 3
    assert stepper.step([Feed(seq, [8])])[0].shape[0] == 1


def test_a_context_is_not_longer_than_the_model_was_made_for(folder: Path) -> None:
    facts = opener(folder)(ctx=4096).facts
    assert (facts.n_ctx, facts.n_ctx_train) == (512, 512)


def test_many_tokens_grow_the_cache_without_changing_it(folder: Path) -> None:
    """The buffers double several times on the way."""
    stepper = opener(folder)(ctx=320, batch_size=64)
    ids = (stepper.tokenize("The eye sees sharply only where it looks; ") * 60)[:290]
    seq = stepper.open()
    for token in ids[:140]:
        stepper.step([Feed(seq, [token], 0)])
    got = stepper.prefill(seq, ids[140:]).copy()
    np.testing.assert_allclose(got, stepper.prefill(stepper.open(), ids), atol=1e-4)


def greedy(stepper: Stepper, count: int) -> list[int]:
    seq = stepper.open()
    logits = stepper.prefill(seq, stepper.tokenize("The eye"))
    out = []
    for _ in range(count):
        out.append(int(logits.argmax()))
        logits = stepper.step([Feed(seq, out[-1:])])[0][0]
    return out


def test_greedy_text_equals_transformers_generate(folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    stepper = opener(folder)(ctx=128)
    prompt = torch.tensor([stepper.tokenize("The eye")])
    generated = AutoModelForCausalLM.from_pretrained(folder).generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=24, do_sample=False, eos_token_id=None
    )
    assert greedy(stepper, 24) == generated[0, prompt.shape[1] :].tolist()
