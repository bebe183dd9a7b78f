"""`fovea models`: what people see, exit codes, JSON, and that bad files change nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backends.models.random_gguf import write_random
from tui.commands.models import models


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"FOVEA_{name}", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random(tmp_path_factory.mktemp("models") / "Tiny Model-F16.gguf")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(models, [str(argument) for argument in arguments])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_empty_list_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.commands.models.pocket_file", lambda: None)
    assert "fovea models add FILE" in run("list").output


def test_add_list_remove(tiny: Path, own_folders: Path) -> None:
    assert run("add", tiny).output == "tiny-model-f16: llama, 16-bit, 2.70 MB\n"
    assert "--use" in run("add", "--help").output
    listed = json.loads(run("list", "--json").output)
    row = next(row for row in listed["models"] if row["name"] == "tiny-model-f16")
    assert (row["tier"], row["path"], row["made"], row["current"]) == ("16-bit", str(tiny.resolve()), [], False)
    assert run("remove", "tiny-model-f16").exit_code == 0
    assert "tiny-model-f16" not in run("list").output
    assert tiny.is_file()
    gone = run("remove", "tiny-model-f16")
    assert gone.exit_code == 1 and "no model is called" in gone.output


def test_add_and_use_changes_the_settings(tiny: Path, own_folders: Path) -> None:
    assert run("add", tiny, "--name", "mine", "--use").exit_code == 0
    listed = json.loads(run("list", "--json").output)
    assert listed["current"] == str(tiny.resolve())
    assert next(row for row in listed["models"] if row["name"] == "mine")["current"]


def test_a_bad_name_is_refused(tiny: Path, own_folders: Path) -> None:
    before = contents(own_folders)
    result = run("add", tiny, "--name", "../x")
    assert result.exit_code == 1 and "is no name" in result.output
    assert contents(own_folders) == before


def test_a_listed_file_that_is_gone_is_shown_as_such(tmp_path: Path) -> None:
    path = write_random(tmp_path / "gone.gguf")
    run("add", path)
    path.unlink()
    result = run("list")
    assert result.exit_code == 0 and "no such file" in result.output


def test_a_damaged_list_is_one_line(own_folders: Path) -> None:
    (own_folders / "data").mkdir()
    (own_folders / "data" / "models.json").write_text("{")
    result = run("list")
    assert result.exit_code == 1 and result.output.count("\n") == 1 and "models.json" in result.output


def test_inspect(tiny: Path) -> None:
    shown = run("inspect", tiny, "--tensors").output
    for words in ("llama, 2 layers", "512 tokens", "16.02 bits per weight", "blk.1.ffn_up.weight", "256×512"):
        assert words in shown
    facts = json.loads(run("inspect", tiny, "--json", "--checksum", "--tensors").output)
    assert facts["architecture"] == "llama" and facts["tier"] == "16-bit" and facts["chat_template"] is True
    assert facts["types"]["F16"]["tensors"] == 16 and len(facts["tensor_list"]) == 21
    assert len(facts["sha256"][tiny.name]) == 64


def test_inspect_takes_a_name_of_the_list(tiny: Path) -> None:
    run("add", tiny, "--name", "t")
    assert json.loads(run("inspect", "t", "--json").output)["path"] == str(tiny.resolve())


def test_tiers_are_made_and_listed(tiny: Path) -> None:
    run("add", tiny, "--name", "t")
    made = json.loads(run("tiers", "t", "--json").output)["tiers"]
    assert [(row["tier"], row["quantization"]) for row in made] == [
        ("4-bit", "Q4_K_M"),
        ("8-bit", "Q8_0"),
        ("16-bit", "F16"),
    ]
    assert all(Path(row["path"]).is_file() for row in made)
    assert "Q4_K_M-hybrid" in run("tiers", "t", "--hybrid", "--tier", "4-bit").output
    assert next(row for row in json.loads(run("list", "--json").output)["models"] if row["name"] == "t")["made"] == [
        "Q4_K_M",
        "Q4_K_M-hybrid",
        "Q8_0",
    ]


@pytest.mark.parametrize("command", ["inspect", "add", "tiers"])
def test_bad_files_are_one_line_and_change_nothing(command: str, tiny: Path, own_folders: Path) -> None:
    bad = own_folders / "bad"
    bad.mkdir()
    content = tiny.read_bytes()
    draw = random.Random(3)
    cases = {f"cut{n}.gguf": content[: draw.randrange(len(content))] for n in range(20)}
    cases |= {"noise.gguf": draw.randbytes(5000), "empty.gguf": b"", "\x1b[2Jevil.gguf": b"GGUF" + draw.randbytes(50)}
    for name, data in cases.items():
        (bad / name).write_bytes(data)
    before = contents(own_folders)
    for target in [*(bad / name for name in cases), bad, bad / "missing.gguf"]:
        result = run(command, target)
        assert result.exit_code == 1, (target, result.output)
        assert result.output.startswith("Error: ") and result.output.count("\n") == 1
        assert "\x1b" not in result.output and "Traceback" not in result.output
    assert contents(own_folders) == before


def test_a_tier_that_cannot_be_made_is_one_line(tiny: Path) -> None:
    low = json.loads(run("tiers", tiny, "--tier", "4-bit", "--json").output)["tiers"][0]["path"]
    result = run("tiers", low)
    assert result.exit_code == 1 and "fetch the 16-bit file" in result.output


def test_help_lists_every_command() -> None:
    assert all(name in run("--help").output for name in ("list", "inspect", "add", "tiers"))
