from __future__ import annotations

from pathlib import Path

import pytest

from agent.measure.bare import BareLoop, best_threads, open_bare
from backends.errors import BackendError
from backends.models.random_gguf import write_random
from backends.types import LadderSpec, TierSpec


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("bare") / "random.gguf")


def test_the_bare_loop_reads_writes_and_cuts(model):
    loop = open_bare(TierSpec("16-bit", model), LadderSpec((), ctx=128, batch_size=16, threads=1))
    try:
        assert loop.prefill(list(range(40))) > 0 and loop.length == 40
        assert loop.decode(5) > 0 and loop.length == 45
        loop.cut(40)
        assert loop.decode(3) > 0 and loop.length == 43
        assert loop.decode_together(4, 5) > 0 and loop.length == 43, "the continuations are forgotten"
        assert loop.decode(80) > 0, "and leave no room taken"
        loop.prefill([1, 2, 3])
        assert loop.length == 3
    finally:
        loop.close()


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(BackendError, match="could not load"):
        BareLoop(Path(tmp_path / "nothing.gguf"), ctx=64, threads=1)


def test_threads_are_measured_where_they_are_not_given(model):
    spec = LadderSpec((TierSpec("16-bit", model),))
    assert best_threads(spec).threads >= 1
