from __future__ import annotations

import click
import pytest

from tui.main import run
from tui.old_flags import OLD, translated


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("--model m.gguf --load-in-8bit --chat", "chat --model m.gguf --tier 8-bit"),
        ("--listen --load-in-4bit", "chat --listen --tier 4-bit"),
        ("ask --wbits 16 hello", "ask --tier 16-bit hello"),
        ("ask --wbits=4 hello", "ask --tier 4-bit hello"),
        ("chat --extensions memory,rag", "chat --set memory.recall=true"),
        ("chat --extensions memory", "chat --set memory.recall=true --set memory.embedding_model=none"),
        (
            "chat --n_gpu_layers 20 --tensor_split 1,1",
            "chat --set engine.n_gpu_layers=20 --set engine.tensor_split=[1,1]",
        ),
        ("ask -- --wbits 4", "ask -- --wbits 4"),
        ("kb search --wbits", "kb search --wbits"),
        ("plan --batch_size 4", "plan --batch_size 4"),
        ("--help", "--help"),
        ("--version", "--version"),
        ("", ""),
    ],
)
def test_translations(given: str, wanted: str) -> None:
    assert translated(given.split()) == (wanted.split(), [])


@pytest.mark.parametrize("flag", [flag for flag, old in OLD.items() if old.said])
def test_what_means_nothing_any_more_says_what_took_its_place(flag: str) -> None:
    value = ["3"] * OLD[flag].values
    given, said = translated(["ask", flag.replace("-", "_").replace("__", "--"), *value, "hello"])
    assert given == ["ask", "hello"]
    assert len(said) == 1 and OLD[flag].said in said[0]


@pytest.mark.parametrize("given", ["ask --wbits 5 hi", "ask --wbits", "chat --extensions silly"])
def test_impossible_values(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.UsageError):
        translated(given.split())
    assert run(given.split()) == 2
    assert capsys.readouterr().err.count("\n") == 1
