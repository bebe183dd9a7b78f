from __future__ import annotations

import pytest

from agent import ladder
from agent.paths import Folders
from agent.settings import Settings
from backends.errors import BackendError
from backends.models.gguf_file import read_model
from backends.models.random_gguf import Shape, write_random
from backends.models.tiers import make_quant
from backends.types import EIGHT, FOUR, SIXTEEN


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_random(tmp_path_factory.mktemp("model") / "small-F16.gguf", Shape(context=512))


def build(tmp_path, **values):
    settings = Settings().with_values(values)
    return ladder.build(settings, Folders(tmp_path / "data", tmp_path / "config", tmp_path / "cache")), settings


def test_missing_tiers_are_made_once(tmp_path, model):
    spec, settings = build(tmp_path, model=str(model))
    assert [tier.name for tier in spec.tiers] == [FOUR, EIGHT, SIXTEEN]
    assert spec.tiers[-1].path == model and spec.ctx == 512
    before = [tier.path.stat().st_mtime_ns for tier in spec.tiers]
    again, _ = build(tmp_path, model=str(model))
    assert [tier.path.stat().st_mtime_ns for tier in again.tiers] == before
    assert ladder.model_name(settings) == "small-F16"


def test_a_low_tier_alone_is_a_ladder_of_what_it_can_give(tmp_path, model):
    spec, _ = build(tmp_path, model=str(model))
    low, _ = build(tmp_path, model=str(spec.tiers[0].path))
    assert [tier.name for tier in low.tiers] == [FOUR]


@pytest.mark.parametrize("recipe", ["Q6_K", "Q5_K_M", "Q3_K_M"])
def test_a_file_between_the_tiers_is_a_ladder_of_itself(tmp_path, model, recipe):
    path = make_quant(model, recipe, tmp_path / f"small-{recipe}.gguf")
    spec, _ = build(tmp_path, model=str(path))
    assert [(tier.name, tier.path) for tier in spec.tiers] == [(read_model(path).tier, path)]


def test_named_tiers_replace_the_model_and_servers_are_added(tmp_path, model):
    spec, _ = build(tmp_path, tiers={SIXTEEN: str(model), "mine": str(model)})
    assert [(tier.name, tier.path) for tier in spec.tiers] == [(SIXTEEN, model), ("mine", model)]
    spec, settings = build(tmp_path, model=str(model), tiers={"far": {"url": "http://localhost:1/v1", "model": "big"}})
    assert [tier.name for tier in spec.tiers] == [FOUR, EIGHT, SIXTEEN, "far"]
    assert spec.tiers[-1].options["url"] == "http://localhost:1/v1" and ladder.has_remote(settings)


def test_the_built_in_model_is_a_ladder(tmp_path):
    spec, settings = build(tmp_path)
    assert len(spec.tiers) == 3 and ladder.model_name(settings) == "pocket"


@pytest.mark.parametrize("content", [None, b"", b"GGUF", b"nonsense" * 100])
def test_what_is_no_model_is_one_line(tmp_path, content):
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackendError, match=r"bad\.gguf") as caught:
        build(tmp_path, model=str(path))
    assert "\n" not in str(caught.value)
