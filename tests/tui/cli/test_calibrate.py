from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

import agent.app
from tests.agent.toy_engine import ToyEngine
from tui.commands.calibrate import calibrate


@pytest.fixture
def runner(tmp_path, monkeypatch):
    for name in ("DATA", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"FOVEA_{name}", str(tmp_path / name.lower()))
    for tier in ("4-bit", "16-bit"):
        (tmp_path / f"{tier}.gguf").write_bytes(tier.encode() * 100)
    (tmp_path / "config").mkdir()
    engine = ToyEngine({"4-bit": 0.5, "16-bit": 0.0}, folder=tmp_path)
    monkeypatch.setattr(agent.app, "_engine", lambda *_: engine)
    monkeypatch.setattr(agent.app.ladders, "build", lambda *_: engine._spec)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"{chr(97 + n % 26) * 4}word{n}\n" for n in range(24)))

    def run(*arguments):
        return CliRunner().invoke(calibrate, list(arguments))

    run.engine = engine
    return run, prompts, tmp_path


def test_nothing_is_applied_unless_told(runner):
    run, prompts, folder = runner
    shown = run(str(prompts), "--tokens", "24")
    assert shown.exit_code == 0, shown.output
    assert "forks caught" in shown.output and "Nothing was changed" in shown.output
    assert not (folder / "config" / "generation_config.yaml").exists()
    assert len(list((folder / "cache" / "calibrations").glob("*.json"))) == 1


def test_replies_are_written_as_the_chat_writes_them(runner):
    run, prompts, folder = runner
    (folder / "config" / "generation_config.yaml").write_text("sampling: {temperature: 0.9, top_k: 7}\n")
    assert run(str(prompts), "--tokens", "24", "--budget", "12%").exit_code == 0
    gated = [request.sampling for request in run.engine.requests if request.decoder == "gated"]
    assert {(drawn.temperature, drawn.top_k, drawn.repetition_penalty) for drawn in gated} == {(0.9, 7, 1.1)}
    assert len({drawn.seed for drawn in gated}) > 1


def test_a_budget_between_the_usual_ones_is_shown_too(runner):
    run, prompts, _ = runner
    shown = run(str(prompts), "--tokens", "24", "--budget", "12%").output
    assert shown.index(" 10%") < shown.index(" 12%") < shown.index(" 20%")


def test_apply_names_the_file_in_the_settings(runner):
    run, prompts, folder = runner
    shown = run(str(prompts), "--tokens", "24", "--budget", "10%", "--apply", "--json", "--out", str(folder / "c.json"))
    assert shown.exit_code == 0, shown.output
    made = json.loads(shown.stdout[shown.stdout.index("{") :])
    assert made["applied"] and made["calibration"]["budget"] == pytest.approx(0.1)
    assert str(folder / "c.json") in (folder / "config" / "generation_config.yaml").read_text()


@pytest.mark.parametrize("budget", ["0%", "100%", "120%", "much", "-5%"])
def test_a_budget_is_a_percentage(runner, budget):
    run, prompts, _ = runner
    shown = run(str(prompts), "--budget", budget)
    assert shown.exit_code == 2 and "Traceback" not in shown.output


def test_no_prompts_and_no_past_is_said(runner):
    run, _, _ = runner
    shown = run()
    assert shown.exit_code == 1 and "There are 0 prompts" in shown.output


def test_too_few_prompts_are_refused_before_the_model_is_loaded(runner, monkeypatch):
    run, prompts, _ = runner
    prompts.write_text("one\ntwo\n")
    monkeypatch.setattr(agent.app.Fovea, "ladder", lambda self: pytest.fail("the model was loaded"))
    shown = run(str(prompts))
    assert shown.exit_code == 1 and "There are 2 prompts" in shown.output


def test_no_picks_is_said(runner):
    run, _, _ = runner
    shown = run("--from-picks")
    assert shown.exit_code == 1 and "There are 0 picks" in shown.output
