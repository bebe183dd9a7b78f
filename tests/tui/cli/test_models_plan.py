"""`fovea plan`: the table, JSON, --write, --try, --levels, and that it never refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from backends.models.random_gguf import write_random
from backends.plan import hardware
from tui.commands.plan import plan


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"FOVEA_{name}", str(tmp_path / name.lower()))
    yield tmp_path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("models") / "tiny.gguf")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(plan, [str(argument) for argument in arguments])


def shrink(monkeypatch: pytest.MonkeyPatch, available: int) -> None:
    found = replace(hardware.detect(Path()), available=available)
    monkeypatch.setattr(hardware, "detect", lambda folder: found)


def test_the_table_names_tiers_needs_and_reasons(tiny: Path) -> None:
    shown = run(tiny).output
    for words in ("processor", "memory", "4-bit", "Q4_K_M", "to be made", "look closer", "ctx 512", "batch 512"):
        assert words in shown


def test_json(tiny: Path) -> None:
    found = json.loads(run(tiny, "--json", "--ctx", "256", "--n-parallel", "2", "--batch-size", "64").output)
    assert found["hardware"]["memory"] > 0
    entry = found["plans"][0]
    assert (entry["ctx"], entry["batch_size"], entry["n_parallel"], entry["fits"]) == (256, 64, 2, True)
    assert [tier["tier"] for tier in entry["tiers"]] == ["4-bit", "8-bit", "16-bit"]
    assert entry["tiers"][0]["path"] is None and entry["tiers"][2]["path"] == str(tiny)
    assert entry["reasons"] and entry["measured_peak"] is None


def test_several_models_and_the_one_of_the_settings(tiny: Path) -> None:
    assert len(json.loads(run(tiny, tiny, "--json").output)["plans"]) == 2
    run(tiny, "--write")
    assert json.loads(run("--json").output)["plans"][0]["path"] == str(tiny.resolve())


def test_write_fills_the_settings(tiny: Path, own_folders: Path) -> None:
    result = run(tiny, "--write", "--ctx", "256")
    assert result.exit_code == 0 and "Written into" in result.output
    written = yaml.safe_load((own_folders / "config" / "generation_config.yaml").read_text())
    assert written["model"] == str(tiny.resolve()) and written["engine"]["ctx"] == 256
    assert "tiers" not in written


def test_write_names_the_files_when_a_tier_is_left_out(
    tiny: Path, own_folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = 10_000_000_000
    shrink(monkeypatch, plenty)
    wide = json.loads(run(tiny, "--no-embedder", "--json").output)["plans"][0]
    margin = plenty - wide["budget"]
    low, middle = (tier["least"] for tier in wide["tiers"][:2])
    shrink(monkeypatch, wide["base"] + margin + low + middle + 100_000)
    result = run(tiny, "--no-embedder", "--write")
    assert "16-bit does not fit beside 4-bit: 8-bit is the closer look" in result.output
    written = yaml.safe_load((own_folders / "config" / "generation_config.yaml").read_text())
    assert list(written["tiers"]) == ["4-bit", "8-bit"]
    assert all(Path(path).is_file() for path in written["tiers"].values())


def test_it_never_refuses(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, 10_000_000)
    result = run(tiny)
    assert result.exit_code == 0 and "expected not to fit" in result.output


def test_try_measures_and_remembers(tiny: Path) -> None:
    tried = json.loads(run(tiny, "--try", "--json").output)["plans"][0]
    assert tried["measured_peak"] == pytest.approx(tried["predicted_peak"], rel=0.05, abs=100e6)
    shown = run(tiny).output
    assert "measured: peak" in shown and "were predicted" in shown


def test_try_offers_the_next_smaller_ladder(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.errors import LoadError
    from backends.plan import trial

    real = trial.measure

    def only_two(paths: list[Path], *args: object, **kwargs: object) -> object:
        if len(paths) > 1:
            raise LoadError("the system ended the trial: there was not enough memory")
        return real(paths, *args, **kwargs)

    monkeypatch.setattr(trial, "measure", only_two)
    entry = json.loads(run(tiny, "--try", "--json").output)["plans"][0]
    assert entry["chosen"] == ["4-bit"] and entry["measured_peak"] > 0
    assert "not enough memory" in entry["problem"]


def test_levels(tmp_path: Path) -> None:
    target = tmp_path / "guide.md"
    assert run("--levels", "--output", target).exit_code == 0
    assert target.read_text().startswith("# Which model runs on what")


def test_bad_files_are_one_line(tmp_path: Path) -> None:
    result = run(tmp_path / "missing.gguf")
    assert result.exit_code == 1 and result.output.count("\n") == 1 and "no such file" in result.output
    assert run("--write", "a", "b").exit_code == 2


def test_a_folder_of_safetensors_is_planned_too(tmp_path: Path) -> None:
    from tests.backends.plan.test_folder import folder

    made = folder(tmp_path / "model")
    shown = run(made).output
    for words in ("nf4", "int8", "as stored", "a folder", "4-bit speaks"):
        assert words in shown
    assert run(made, "--try").exit_code == 1
    assert f"vllm serve {made}" in run("--serve", "vllm", made).output


def test_a_plan_says_what_a_folder_still_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.backends.plan.test_folder import folder

    monkeypatch.setattr("backends.transformers_engine.formats.find_spec", lambda name: None)
    made = folder(tmp_path / "model", quantization_config={"quant_method": "gptq", "bits": 4})
    assert "cannot be loaded yet: GPTQ needs gptqmodel and optimum" in run(made).output


def test_the_guide_makes_no_folders(fovea, home):
    target = home / "slip" / "levels.md"
    code, _, err = fovea("plan", "--levels", "--output", str(target))
    assert code == 1 and "there is no folder" in err and not target.parent.exists()
