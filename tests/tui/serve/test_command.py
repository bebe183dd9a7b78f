from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from agent.app import Fovea
from backends.scripted import ScriptedEngine
from tui.main import run
from tui.serve.run import ServeError, address_of, check_token, listen


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FOVEA_DATA", "FOVEA_CACHE", "FOVEA_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("FOVEA_SERVE_TOKEN", raising=False)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would be served, instead of serving it; the model is scripted."""
    calls: list[Any] = []
    opened = Fovea.open
    monkeypatch.setattr(
        Fovea, "open", classmethod(lambda cls, settings, **more: opened(settings, engine=ScriptedEngine(), **more))
    )
    monkeypatch.setattr("tui.serve.run.serve", lambda app, listening: calls.append((app, listening.getsockname())))
    return calls


def test_it_serves_and_says_where(served: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--port", "0"]) == 0
    ((_, (host, port)),) = served
    said = capsys.readouterr().err
    assert host == "127.0.0.1" and f"(4-bit, 8-bit, 16-bit) at http://127.0.0.1:{port}/v1" in said
    assert "policy here is auto" in said and "token" not in said


def test_a_new_token_is_shown_once_and_a_given_one_never(
    served: list[Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["serve", "--port", "0", "--host", "0.0.0.0", "--token", "auto"]) == 0
    assert "Clients need the token " in capsys.readouterr().err
    monkeypatch.setenv("FOVEA_SERVE_TOKEN", "a-long-enough-token")
    assert run(["serve", "--port", "0", "--host", "0.0.0.0"]) == 0
    assert "a-long-enough-token" not in capsys.readouterr().err


def test_a_port_in_use_is_one_line(served: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said == f"fovea: Port {port} is in use; choose another one with --port, or 0 for any\n"
    assert not served


def test_other_machines_need_a_token(served: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--host", "0.0.0.0", "--port", "0"]) == 1
    assert "can be reached by other machines: set FOVEA_SERVE_TOKEN" in capsys.readouterr().err
    assert not served


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_none(host: str) -> None:
    assert check_token(host, "") == ""


def test_tokens() -> None:
    assert len(check_token("10.0.0.1", "auto")) >= 32
    with pytest.raises(ServeError, match="too short"):
        check_token("127.0.0.1", "short")


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ServeError, match="192"):
        listen("192.0.2.1", 0)
    with pytest.raises(ServeError, match="is no address"):
        listen("no.such.host.invalid", 0)


def test_addresses() -> None:
    with listen("127.0.0.1", 0) as listening:
        assert address_of(listening).startswith("http://127.0.0.1:")
