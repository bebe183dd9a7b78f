"""Every decoder over tiers of llama.cpp: Q4_K_M speaks, 16 bits look closer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backends import pocket
from backends.ladder import Ladder
from backends.models.tiers import make_quant
from backends.opening import open_stepper
from backends.types import FOUR, SIXTEEN, LadderSpec, TierSpec
from tests.backends.decoder_contract import DecoderContract


class TestDecoders(DecoderContract):
    @pytest.fixture(scope="class")
    def ladder(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ladder]:
        # The built-in model: random weights have so many near ties that the width of a batch decides between tokens.
        low = make_quant(pocket.path(), "Q4_K_M", tmp_path_factory.mktemp("model") / "pocket-q4_k_m.gguf")
        tiers = (TierSpec(FOUR, low), TierSpec(SIXTEEN, pocket.path()))
        ladder = Ladder(LadderSpec(tiers, ctx=256, batch_size=32, n_parallel=3, threads=1), open_stepper)
        assert ladder.status().loaded() == [FOUR, SIXTEEN]
        yield ladder
        ladder.close()
