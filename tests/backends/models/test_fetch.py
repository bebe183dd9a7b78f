"""Fetching from a server that speaks the hub's protocol, honestly and otherwise."""

from __future__ import annotations

import sys
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.errors import FetchError, ModelFileError
from backends.models import fetch as fetching
from backends.models.catalogue import Target, catalogue, pick, target
from backends.models.fetch import fetch, look_up

sys.path.insert(0, str(Path(__file__).parent))
from hub import Hub, serve

REPO = "owner/Tiny-GGUF"
NAME = "Tiny-F16.gguf"
Start = Callable[..., Hub]


@pytest.fixture
def start(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a hub with the tiny model; faults as keyword arguments."""
    servers = []

    def begin(**faults: object) -> Hub:
        files = {NAME: tiny.read_bytes(), "README.md": b"hello"}
        hub = Hub(REPO, files)
        for key, value in faults.items():
            setattr(hub, key, value)
        server, address = serve(hub)
        servers.append(server)
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        return hub

    # The hub's client waits seconds between its attempts; here it need not.
    monkeypatch.setattr(time, "sleep", lambda _: None)
    # It writes, and so continues, in steps of 10 MB; the model here is smaller than one.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def get(folder: Path, progress: fetching.Progress | None = None) -> Path:
    remote = look_up(Target(REPO))
    return fetch(remote, remote.chosen(Target(REPO)), folder, progress).path


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.gguf") if path.is_file()]


def test_a_file_is_fetched_checked_and_told(start: Start, tiny: Path, tmp_path: Path) -> None:
    start()
    seen: list[float] = []
    path = get(tmp_path, lambda name, done: seen.append(done))
    assert path == tmp_path / "owner" / "Tiny-GGUF" / NAME
    assert path.read_bytes() == tiny.read_bytes()
    assert seen[-1] == 1.0 and seen == sorted(seen)


def test_it_is_not_fetched_twice(start: Start, tmp_path: Path) -> None:
    hub = start()
    get(tmp_path)
    sent = hub.sent
    get(tmp_path)
    assert hub.sent == sent


def test_cut_connections_are_continued(start: Start, tiny: Path, tmp_path: Path) -> None:
    hub = start(cut_after=700_000, cuts=3)
    path = get(tmp_path)
    assert path.read_bytes() == tiny.read_bytes()
    ranges = [asked for method, _, asked in hub.requests if method == "GET" and asked]
    assert len(ranges) >= 1 and hub.sent < 1.5 * len(hub.files[NAME])


def test_a_pull_that_was_given_up_is_continued_by_the_next(start: Start, tiny: Path, tmp_path: Path) -> None:
    hub = start(cut_after=0, cuts=1000)
    with pytest.raises(FetchError, match="next pull continues"):
        get(tmp_path)
    assert leftovers(tmp_path) == []
    hub.cuts = 0
    assert get(tmp_path).read_bytes() == tiny.read_bytes()


def test_a_wrong_checksum_is_found_and_the_file_deleted(start: Start, tmp_path: Path) -> None:
    hub = start(announced={NAME: "0" * 64})
    with pytest.raises(FetchError, match="SHA-256 is not the one announced"):
        get(tmp_path)
    assert leftovers(tmp_path) == []
    hub.announced.clear()
    assert get(tmp_path).is_file()


def test_a_lying_length_is_found(start: Start, tmp_path: Path) -> None:
    start(lie=1000)
    with pytest.raises(FetchError):
        get(tmp_path)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("off", [-1000, 1000])
def test_an_announced_size_that_is_not_true_is_found(start: Start, tmp_path: Path, tiny: Path, off: int) -> None:
    start(sizes={NAME: tiny.stat().st_size + off})
    with pytest.raises(FetchError):
        get(tmp_path)
    assert leftovers(tmp_path) == []


def test_too_many_requests_are_waited_for(start: Start, tmp_path: Path) -> None:
    hub = start(too_many=2)
    assert get(tmp_path).is_file() and hub.too_many == 0


def test_too_many_requests_for_ever_is_said(start: Start, tmp_path: Path) -> None:
    start(too_many=1000)
    with pytest.raises(FetchError, match="too many requests"):
        get(tmp_path)


def test_a_repository_that_does_not_exist(start: Start) -> None:
    start()
    with pytest.raises(FetchError, match="does not exist"):
        look_up(Target("nobody/nothing"))


def test_a_file_that_does_not_exist(start: Start) -> None:
    start()
    with pytest.raises(FetchError, match=r"has no 'Q8_0'; it has Tiny-F16\.gguf"):
        look_up(Target(REPO)).chosen(Target(REPO, quantization="Q8_0"))


def test_a_server_error_is_said(start: Start) -> None:
    start(status=500)
    with pytest.raises(FetchError, match="error 500"):
        look_up(Target(REPO))


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(FetchError, match=r"was not fetched from http://127\.0\.0\.1:9"):
        look_up(Target(REPO))


def test_a_full_disk_is_said_before(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = start()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(FetchError, match="GB are free"):
        get(tmp_path)
    assert hub.sent == 0 and leftovers(tmp_path) == []


def test_what_is_no_model_is_said(start: Start, tmp_path: Path) -> None:
    start(files={NAME: b"<html>not a model</html>"})
    with pytest.raises(ModelFileError, match="not a GGUF file"):
        get(tmp_path)


# Names ---------------------------------------------------------------------------------------------------------------


def test_the_catalogue_is_whole() -> None:
    date, models = catalogue()
    assert len(date) == 10 and len(models) >= 6
    for model in models:
        assert set(model.files) == {"4-bit", "8-bit", "16-bit"} and model.licence and "/" in model.repo
        sizes = [size for _, size in model.files.values()]
        assert sizes == sorted(sizes, reverse=True)


def test_targets() -> None:
    assert target("qwen3-0.6b").quantization == "BF16"
    assert target("qwen3-0.6b:8-bit") == Target(
        "unsloth/Qwen3-0.6B-GGUF", quantization="Q8_0", name="qwen3-0.6b-8-bit", licence="apache-2.0"
    )
    assert target("hf:owner/repo") == Target("owner/repo")
    assert target("hf:owner/repo:q6_k") == Target("owner/repo", quantization="q6_k")
    assert target("hf:owner/repo/sub/file.gguf") == Target("owner/repo", file="sub/file.gguf")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("qwen3-0.6", "did you mean qwen3-0.6b"),
        ("qwen3-0.6b:5-bit", "no tier"),
        ("hf:", "not of the form"),
        ("hf:only-owner", "not of the form"),
        ("hf:../../etc/passwd", "not of the form"),
        ("hf:a/b/../../x.gguf", "not the name"),
        ("hf:a/b/model.bin", "not the name"),
        ("hf:a/b/x\x1b[31m.gguf", "not the name"),
    ],
)
def test_what_is_no_target(text: str, words: str) -> None:
    with pytest.raises(FetchError, match=words):
        target(text)


def test_files_are_picked_by_their_quantization() -> None:
    names = ["README.md", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-BF16.gguf", "mmproj-F16.gguf", "m-Q4_0_4_8.gguf"]
    assert pick(names) == ["m-BF16.gguf"]
    assert pick(names, "4-bit") == ["m-Q4_K_M.gguf"]
    assert pick(names, "q8_0") == ["m-Q8_0.gguf"]
    assert pick(names, "Q4_0") == []
    assert pick(["only.gguf", "x.txt"]) == ["only.gguf"]
    assert pick(["a.gguf", "b.gguf"]) == []
    parts = ["m-fp16-00002-of-00002.gguf", "m-fp16-00001-of-00002.gguf", "other-fp16.gguf"]
    assert pick(parts) == ["m-fp16-00001-of-00002.gguf", "m-fp16-00002-of-00002.gguf"]


def test_all_parts_of_a_named_part_are_fetched() -> None:
    from backends.models.fetch import Remote, RemoteFile

    names = ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "x.gguf")
    files = tuple(RemoteFile(name, 1, "") for name in names)
    chosen = Remote("o/r", "c", files).chosen(Target("o/r", file="m-00001-of-00002.gguf"))
    assert [file.name for file in chosen] == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]
