from __future__ import annotations

import subprocess
import sys

import pytest

import agent.app
from tui import main


def test_help_imports_nothing_heavy():
    heavy = [
        "torch",
        "transformers",
        "chromadb",
        "sentence_transformers",
        "llama_cpp",
        "gguf",
        "textual",
        "pydantic",
        "numpy",
        "yaml",
        "sqlite3",
    ]
    code = (
        "import sys; from tui.main import run; code = run(['--help']); "
        f"bad = [m for m in {heavy!r} if m in sys.modules]; assert code == 0 and not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_the_table_is_what_help_shows(fovea):
    code, out, _ = fovea("--help")
    assert code == 0
    for name, (_, _, text) in main.COMMANDS.items():
        assert name in out and text[:30] in " ".join(out.split())


def test_a_command_that_is_not_installed_says_so(fovea, monkeypatch):
    monkeypatch.setitem(main.COMMANDS, "kb", ("tui.commands.no_such_module", "kb", "x"))
    code, out, err = fovea("kb")
    assert code == 1 and out == "" and err == "fovea: `fovea kb` is not part of this installation\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["akk"], "Did you mean `fovea ask`"),
        (["ask", "--tiers", "x"], "tier"),
        (["ask", "--n", "many", "Q"], "many"),
        (["--set"], "set"),
        (["ask", "--set", "sampling.temperatur=1", "Q"], "sampling.temperature"),
        (["ask", "--set", "nonsense", "Q"], "key=value"),
        (["ask", "--budget", "lots", "Q"], "20%"),
        (["ask", "--policy", "maybe", "Q"], "'auto', 'ask', 'manual' or 'off'"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(fovea, engine, arguments, word):
    code, out, err = fovea(*arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and err.startswith("fovea: ") and word in err
    assert engine.requests == []


def test_a_fault_is_one_line_and_stands_in_the_log(fovea, home, monkeypatch):
    def broken(*parts):
        raise ZeroDivisionError("an inner\nfault")

    monkeypatch.setattr(agent.app, "_host", broken)
    code, _, err = fovea("ask", "Q")
    assert code == 70 and err.count("\n") == 1 and str(home / "data" / "fovea.log") in err
    assert "ZeroDivisionError" in (home / "data" / "fovea.log").read_text()


def test_the_log_is_private(fovea, home):
    fovea("ask", "Q")
    for name in ("fovea.log", "conversations.sqlite"):
        assert (home / "data" / name).stat().st_mode & 0o777 == 0o600
    assert (home / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("arguments", "streams", "code"),
    [
        ("--version", ">&-", 0),
        ("sessions list", ">&- 2>&- <&-", 0),
        ("ask", "<&-", 4),
        ("chat --plain", "<&- >&-", 0),
        ("--version", ">/dev/full", 1),
        ("settings show", ">/dev/full", 1),
    ],
)
def test_closed_and_full_streams_are_no_fault(home, arguments, streams, code):
    line = f'"{sys.executable}" -m tui.main {arguments} {streams}'
    done = subprocess.run(["/bin/sh", "-c", line], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and "Traceback" not in done.stderr and "inside" not in done.stderr
    if "full" in streams:
        assert done.stderr == "fovea: standard output cannot be written: No space left on device\n"
