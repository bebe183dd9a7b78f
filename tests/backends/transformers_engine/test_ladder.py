"""Every decoder, unchanged, over tiers of the transformers engine: nf4 speaks, the unquantized weights look closer."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from backends.ladder import Ladder
from backends.opening import open_stepper
from backends.types import FOUR, SIXTEEN, LadderSpec, TierSpec
from tests.backends.decoder_contract import DecoderContract
from tests.backends.transformers_engine import tiny

for package in ("transformers", "bitsandbytes"):
    if importlib.util.find_spec(package) is None:
        pytest.skip("needs fovea-agent[transformers]", allow_module_level=True)


class TestDecoders(DecoderContract):
    @pytest.fixture(scope="class")
    def ladder(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ladder]:
        folder = tiny.save_model(tmp_path_factory.mktemp("model"), tiny.llama_config())
        tiers = tuple(TierSpec(name, folder, "transformers", options={"device": "cpu"}) for name in (FOUR, SIXTEEN))
        ladder = Ladder(LadderSpec(tiers, ctx=256, batch_size=32, n_parallel=3, threads=1), open_stepper)
        assert ladder.status().loaded() == [FOUR, SIXTEEN]
        yield ladder
        ladder.close()
