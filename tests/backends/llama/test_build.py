"""The build of the engine: what ``cmake/wide-steps.cmake`` does to llama.cpp's sources, and how it is recognised."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from backends.llama import build

RECIPE = Path(__file__).parents[3] / "cmake" / "wide-steps.cmake"
SGEMM, REPACK = Path("src/ggml-cpu/llamafile/sgemm.cpp"), Path("src/ggml-cpu/arch/x86/repack.cpp")

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not on the PATH")


def blocks() -> list[tuple[str, str]]:
    """What is replaced, and by what."""
    found = re.findall(r"\[==\[(.*?)\]==\]", RECIPE.read_text("utf-8"), re.DOTALL)
    return list(zip(found[::2], found[1::2], strict=True))


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Files that hold what is looked for; one piece stands again, in a class that is to be left alone."""
    old = [before for before, _ in blocks()]
    for path, texts in ((SGEMM, [*old[:3], "class tinyBLAS_RVV {\n", old[1]]), (REPACK, old[3:])):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("\n".join(["// a; [b] \\", *texts, "// end\n"]), "utf-8")
    return tmp_path


def run(folder: Path) -> str:
    done = subprocess.run(["cmake", "-P", str(RECIPE)], cwd=folder, capture_output=True, text=True, check=True)
    return done.stderr


@needs_cmake
def test_every_piece_is_replaced_once_and_only_once(sources: Path) -> None:
    pieces = blocks()
    assert len(pieces) == 5
    assert run(sources) == ""
    once = {path: (sources / path).read_text("utf-8") for path in (SGEMM, REPACK)}
    whole = "".join(once.values())
    for old, new in pieces:
        assert whole.count(new) == 1, new
        assert old not in once[SGEMM].partition("class tinyBLAS_RVV")[0] + once[REPACK]
    assert once[SGEMM].count("fovea_wide_steps") == 2
    assert once[SGEMM].startswith("// a; [b] \\\n")
    assert pieces[1][0] in once[SGEMM].partition("class tinyBLAS_RVV")[2], "the other class is left alone"
    assert run(sources) == ""
    assert once == {path: (sources / path).read_text("utf-8") for path in (SGEMM, REPACK)}


@needs_cmake
def test_sources_that_differ_are_left_as_they_are_with_a_warning_and_no_mark(sources: Path) -> None:
    path = sources / REPACK
    other = path.read_text("utf-8").replace("acc_rows[4]", "acc_rows[8]")
    path.write_text(other, "utf-8")
    assert "prefetching was written for" in run(sources)
    assert path.read_text("utf-8") == other, "half of a change would not compile"
    written = (sources / SGEMM).read_text("utf-8")
    assert blocks()[0][1] in written and "fovea_wide_steps" not in written


@needs_cmake
def test_a_file_that_is_not_there_is_a_warning_too(sources: Path) -> None:
    (sources / REPACK).unlink()
    assert "prefetching was written for" in run(sources)
    assert not (sources / REPACK).exists()


def test_the_build_is_recognised_by_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "llama_cpp"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "llama_cpp", raising=False)
    for name, content, expected in (
        ("libggml-cpu.so", b"", False),
        ("libggml-cpu.so", b"\x7fELF...", False),
        ("libllama.so", b"fovea recipe 0123\0", False),
        ("libggml-cpu.so", b"\x7fELF fovea recipe 0123\0", True),
    ):
        (package / "lib" / name).write_bytes(content)
        build.prefetches.cache_clear()
        try:
            assert build.prefetches() is expected
        finally:
            build.prefetches.cache_clear()
