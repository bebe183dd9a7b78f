"""Making tiers: right types, once, atomically, and without half files whatever happens."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from backends.errors import TierError
from backends.models import quantizer, tiers
from backends.models.gguf_file import read_model
from backends.models.identity import content_key, sha256
from backends.models.random_gguf import write_random
from backends.models.recipes import best_four_bit, predicted_bytes
from backends.models.shape import Shape
from backends.models.tiers import ensure_tier, ladder_for, make_quant, recipe_for, tier_path


@pytest.fixture(scope="module")
def made(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds the 4-bit and 8-bit tiers of the tiny model."""
    cache = tmp_path_factory.mktemp("cache")
    ladder_for(tiny, cache, ["16-bit", "8-bit", "4-bit"])
    return cache


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def test_a_ladder_is_made_low_to_high(tiny: Path, made: Path) -> None:
    ladder = ladder_for(tiny, made, ["8-bit", "16-bit", "4-bit", "8-bit"])
    assert [tier.name for tier in ladder] == ["4-bit", "8-bit", "16-bit"]
    assert [read_model(tier.path).tier for tier in ladder] == ["4-bit", "8-bit", "16-bit"]
    assert ladder[2].path == tiny
    assert files(made) == ["Q4_K_M.gguf", "Q8_0.gguf"]


def test_made_tiers_keep_what_the_model_says_of_itself(tiny: Path, made: Path) -> None:
    source, low = read_model(tiny), read_model(ensure_tier(tiny, "4-bit", made))
    assert (low.template, low.vocabulary, low.context) == (source.template, source.vocabulary, source.context)
    assert low.recipe == "Q4_K_M"


def test_sizes_are_predicted(tiny: Path, made: Path) -> None:
    source = read_model(tiny)
    for tier in ("4-bit", "8-bit"):
        made_tier = read_model(ensure_tier(tiny, tier, made))
        assert made_tier.weights == predicted_bytes(source.tensors, recipe_for(source, tier))


def test_a_tier_is_made_once(tiny: Path, made: Path) -> None:
    path = ensure_tier(tiny, "4-bit", made)
    before = path.stat().st_mtime_ns
    calls: list[float] = []
    assert ensure_tier(tiny, "4-bit", made, calls.append) == path
    assert path.stat().st_mtime_ns == before and calls == []


def test_progress_rises_to_one(tiny: Path, tmp_path: Path) -> None:
    seen: list[float] = []
    ladder_for(tiny, tmp_path, ["4-bit", "8-bit", "16-bit"], seen.append)
    assert seen == sorted(seen) and len(seen) > 10 and 0 < seen[0] < 0.2 and seen[-1] <= 1.0


def test_short_rows_get_q4_0(narrow: Path, tmp_path: Path) -> None:
    source = read_model(narrow)
    assert best_four_bit(source.tensors) == "Q4_0"
    low = read_model(ensure_tier(narrow, "4-bit", tmp_path))
    assert low.recipe == "Q4_0" and low.tier == "4-bit"
    assert low.weights == predicted_bytes(source.tensors, "Q4_0")


def test_hybrid_keeps_embeddings_and_head(tiny: Path, tmp_path: Path) -> None:
    path = ensure_tier(tiny, "4-bit", tmp_path, hybrid=True)
    kinds = {tensor.name: tensor.kind.name for tensor in read_model(path).tensors}
    assert kinds["token_embd.weight"] == kinds["output.weight"] == "F16"
    assert kinds["blk.0.attn_q.weight"] == "Q4_K"
    assert path.name == "Q4_K_M-hybrid.gguf" and read_model(path).tier == "4-bit"
    assert read_model(path).weights == predicted_bytes(read_model(tiny).tensors, "Q4_K_M", hybrid=True)


def test_other_quantizations(tiny: Path, tmp_path: Path) -> None:
    for recipe in ("Q5_K_M", "Q6_K", "Q3_K_M", "Q2_K"):
        made_file = make_quant(tiny, recipe, tmp_path / f"{recipe}.gguf")
        assert read_model(made_file).recipe == recipe
        predicted = predicted_bytes(read_model(tiny).tensors, recipe)
        assert abs(read_model(made_file).weights / predicted - 1) < 0.15
    assert ensure_tier(tiny, "q6_k", tmp_path).name == "Q6_K.gguf"


def test_experts_are_quantized_too(tmp_path: Path) -> None:
    moe = write_random(tmp_path / "moe.gguf", Shape(experts=4, layers=1))
    low = read_model(ensure_tier(moe, "4-bit", tmp_path / "cache"))
    kinds = {tensor.name: tensor.kind.name for tensor in low.tensors}
    assert kinds["blk.0.ffn_up_exps.weight"] == "Q4_K" and kinds["blk.0.ffn_gate_inp.weight"] == "F16"
    assert low.weights == predicted_bytes(read_model(moe).tensors, "Q4_K_M")


def test_what_cannot_be_made(tiny: Path, made: Path, tmp_path: Path) -> None:
    low = ensure_tier(tiny, "4-bit", made)
    with pytest.raises(TierError, match="fetch the 16-bit file"):
        ensure_tier(low, "8-bit", tmp_path)
    with pytest.raises(TierError, match="fetch the 16-bit file"):
        ensure_tier(low, "16-bit", tmp_path)
    with pytest.raises(TierError, match="not a tier"):
        ensure_tier(tiny, "5-bit", tmp_path)
    with pytest.raises(TierError, match="importance matrix"):
        make_quant(tiny, "IQ2_XS", tmp_path / "x.gguf")
    assert files(tmp_path) == []


def test_four_bits_can_be_made_from_eight(tiny: Path, made: Path, tmp_path: Path) -> None:
    eight = ensure_tier(tiny, "8-bit", made)
    assert read_model(ensure_tier(eight, "4-bit", tmp_path)).tier == "4-bit"


def test_another_models_tier_is_not_taken(tiny: Path, tmp_path: Path) -> None:
    other = write_random(tmp_path / tiny.name, seed=5)
    assert content_key(read_model(other)) != content_key(read_model(tiny))
    assert tier_path(read_model(other), "4-bit", tmp_path) != tier_path(read_model(tiny), "4-bit", tmp_path)
    copy = tmp_path / "copy.gguf"
    shutil.copy(tiny, copy)
    assert content_key(read_model(copy)) == content_key(read_model(tiny))


def test_large_files_are_sampled_in_every_tensor(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.models.identity._SMALL", 0)
    copy = tmp_path / "copy.gguf"
    shutil.copy(tiny, copy)
    key = content_key(read_model(copy))
    tensor = read_model(copy).tensors[4]
    with copy.open("r+b") as file:
        file.seek(tensor.offset + tensor.bytes // 2 + 7)
        file.write(b"\x55\xaa\x55\xaa")
    assert content_key(read_model(copy)) != key


def test_full_checksums_are_remembered(tiny: Path, tmp_path: Path) -> None:
    import hashlib

    memory = tmp_path / "sums.json"
    calls: list[float] = []
    expected = hashlib.sha256(tiny.read_bytes()).hexdigest()
    assert sha256(tiny, memory, calls.append) == expected and calls[-1] == 1.0
    calls.clear()
    assert sha256(tiny, memory, calls.append) == expected and calls == []
    memory.write_text("[not the right thing]")
    assert sha256(tiny, memory) == expected


def test_stale_partial_files_are_removed(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gguf"
    (tmp_path / ".out.gguf.999.partial").write_bytes(b"half")
    make_quant(tiny, "Q8_0", out)
    assert files(tmp_path) == ["out.gguf"]


def test_a_broken_tier_is_made_again(tiny: Path, tmp_path: Path) -> None:
    path = ensure_tier(tiny, "8-bit", tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    assert read_model(ensure_tier(tiny, "8-bit", tmp_path)).tier == "8-bit"


def test_no_space_is_said_before_anything_is_written(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(tiers.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(TierError, match=r"needs about \d+ MB .* are free"):
        ensure_tier(tiny, "4-bit", tmp_path)
    assert files(tmp_path) == []


def test_a_failing_quantizer_leaves_nothing(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    child.write_text("import os, sys; sys.stdin.readline(); os.abort()")
    monkeypatch.setattr(quantizer, "_CHILD", child)
    cache = tmp_path / "cache"
    with pytest.raises(TierError, match="signal 6"):
        ensure_tier(tiny, "4-bit", cache)
    assert files(cache) == []


def test_the_quantizers_own_reason_is_shown(tmp_path: Path, tiny: Path) -> None:
    job = quantizer.Job(str(tiny), "/proc/nowhere/x.gguf", 7)
    with pytest.raises(TierError, match="could not be quantized"):
        quantizer.run(job, {})


def test_a_folder_that_cannot_be_written(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TierError, match="cannot be written"):
        ensure_tier(tiny, "4-bit", tmp_path / "file")


def test_interrupting_leaves_no_half_file(tiny: Path, tmp_path: Path) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_tier(tiny, "4-bit", tmp_path, stop)
    assert files(tmp_path) == []
    assert ensure_tier(tiny, "4-bit", tmp_path).is_file()


def test_a_killed_maker_takes_its_child_along(tiny: Path, tmp_path: Path) -> None:
    """SIGKILL of the parent: its child ends too, and the next run removes the half file."""
    child = tmp_path / "slow.py"
    child.write_text(
        "import json, os, pathlib, sys, threading\n"
        "request = json.loads(sys.stdin.readline())\n"
        "pathlib.Path(request['target']).write_bytes(b'half')\n"
        "print(f'[   1/   2] pid {os.getpid()}', file=sys.stderr, flush=True)\n"
        "sys.stdin.read()\n"
        "os._exit(3)\n"
    )
    code = (
        "import pathlib, sys; from backends.models import quantizer, tiers;"
        f"quantizer._CHILD = pathlib.Path({str(child)!r});"
        f"tiers.ensure_tier(pathlib.Path({str(tiny)!r}), '4-bit', pathlib.Path({str(tmp_path / 'cache')!r}),"
        "lambda done: print('working', flush=True))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None and parent.stdout.readline() == "working\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert any(name.endswith(".partial") for name in files(tmp_path / "cache"))
    assert ensure_tier(tiny, "4-bit", tmp_path / "cache").is_file()
    assert files(tmp_path / "cache") == ["Q4_K_M.gguf"]


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """The real child hangs in native code (a pipe nobody writes to) and still follows its closed lifeline."""
    import json
    import os
    from dataclasses import asdict

    os.mkfifo(tmp_path / "source.gguf")
    job = quantizer.Job(str(tmp_path / "source.gguf"), str(tmp_path / "target.gguf"), 7, threads=1)
    child = subprocess.Popen([sys.executable, "-P", str(quantizer._CHILD)], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
    child.stdin.close()
    assert child.wait(60) == 3


def test_two_makers_make_it_once(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[str] = []
    real = quantizer.run

    def counted(*args: object) -> None:
        runs.append("run")
        real(*args)

    monkeypatch.setattr(quantizer, "run", counted)
    results: list[Path] = []
    threads = [threading.Thread(target=lambda: results.append(ensure_tier(tiny, "8-bit", tmp_path))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(runs) == 1 and len(set(results)) == 1 and len(results) == 3
