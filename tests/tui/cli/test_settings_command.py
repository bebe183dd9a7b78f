from __future__ import annotations

import json

import pytest


def test_show_set_unset_path(fovea, home):
    assert fovea("settings", "path")[1].strip() == str(home / "config" / "generation_config.yaml")
    assert fovea("settings", "set", "sampling.temperature", "0.2")[0] == 0
    assert fovea("settings", "set", "policy.budget", "35%")[0] == 0
    assert json.loads(fovea("settings", "show", "--json")[1])["policy.budget"] == 0.35
    for value, share in (("20", 0.2), ("0.4", 0.4), ("1.0", 1.0), ("1%", 0.01), ("100", 1.0)):
        assert fovea("settings", "set", "policy.budget", value)[0] == 0
        assert json.loads(fovea("settings", "show", "--json")[1])["policy.budget"] == share
    for value in ("150%", "101", "-1", "much", "true", "[1]", "", "1"):
        assert fovea("settings", "set", "policy.budget", value)[0] != 0, value
    assert fovea("settings", "set", "policy.budget", "35%")[0] == 0
    shown = fovea("settings", "show", "sampling")[1]
    assert "sampling.temperature = 0.2   (default: 0.3)" in shown and "engine" not in shown
    fovea("settings", "unset", "sampling.temperature")
    assert "temperature" not in (home / "config" / "generation_config.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("engine:\n  batch_size: many\n", (":2:", "`engine.batch_size`", "'many'", "integer")),
        ("engine:\n  batchsize: 3\n", (":2:", "no setting `engine.batchsize`", "`engine.batch_size`")),
        ("sampling:\n\n  temperature: -1\n", (":3:", "greater than or equal to 0")),
        ("engine: [1]\n", (":1:", "section")),
        ("a: [b\n", (":2:", "not YAML")),
        ("- x\n", (":1:", "key: value")),
        ("policy: {mode: sometimes}\n", (":1:", "'auto', 'ask', 'manual' or 'off'")),
        ("sampling: {temperature: '0.5'}\n", (":1:", "valid number")),
    ],
)
def test_a_wrong_file_names_key_and_line_and_is_left_alone(fovea, home, text, words):
    file = home / "config" / "generation_config.yaml"
    file.parent.mkdir()
    file.write_text(text)
    for arguments in (["ask", "Q"], ["settings", "set", "tier", "8-bit"]):
        code, out, err = fovea(*arguments)
        assert code == 2 and out == "" and err.count("\n") == 1
        assert all(word in err for word in (str(file), *words)), err
    assert file.read_text() == text


def test_a_wrong_value_changes_nothing(fovea, home):
    fovea("settings", "set", "tier", "8-bit")
    file = home / "config" / "generation_config.yaml"
    before = file.read_text()
    assert fovea("settings", "set", "sampling.top_p", "7")[0] == 2
    assert file.read_text() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_numbers_in_a_tiers_options_are_taken_as_yaml_reads_them() -> None:
    from agent.settings import TierSettings

    assert TierSettings(options={"silence_s": 60, "tries": "2"}).options == {"silence_s": "60", "tries": "2"}  # type: ignore[dict-item]


def test_a_bare_1_is_asked_about_where_it_is_typed_and_stays_what_it_was_in_a_file(fovea, home):
    code, _, err = fovea("settings", "set", "policy.budget", "1")
    assert code == 2 and "1% or 100%" in err and err.count("\n") == 1
    assert "1% or 100%" in fovea("ask", "--budget", "1", "Q")[2]
    assert "1% or 100%" in fovea("ask", "--set", "policy.budget=1", "Q")[2]
    file = home / "config" / "generation_config.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    for written in ("1", "1.0"):
        file.write_text(f"policy:\n  budget: {written}\n")
        assert json.loads(fovea("settings", "show", "--json")[1])["policy.budget"] == 1.0
