from __future__ import annotations

import json
import subprocess

import pytest


def test_a_conversation_in_two_commands(program):
    first = program.run("ask", "--json", *program.options(), "Hello")
    assert first.returncode == 0, first.stderr
    value = json.loads(first.stdout)
    assert 0 < len(value["tokens"]) <= 40
    assert {token["tier"] for token in value["tokens"]} == {"4-bit"}
    second = program.run("ask", "--session", value["session"], *program.options(5), "--look-closer", "turn", "Again")
    assert second.returncode == 0, second.stderr
    shown = program.run("sessions", "show", "last").stdout.decode()
    assert "fovea (4-bit)" in shown and "fovea (8-bit)" in shown and "manual: looked closer" in shown
    assert program.hosts() == []


def test_the_same_seed_gives_the_same_text(program):
    one, two, other = (
        program.run("ask", *program.options(20), "--seed", seed, "--temperature", "0.9", "Q").stdout
        for seed in ("7", "7", "8")
    )
    assert one == two != other


def test_output_is_harmless_for_a_terminal(program):
    for seed in range(2):
        done = program.run("ask", *program.options(100), "--seed", str(seed), "--temperature", "2", "Q")
        assert done.returncode == 0
        text = done.stdout.decode("utf-8")
        assert not {c for c in text if ord(c) < 32 and c not in "\n\t"} and "\x7f" not in text
        assert done.stderr == b"", "the engine's own messages reach nobody's terminal"


def test_a_closed_pipe_is_no_error_and_leaves_no_process(program):
    process = program.start("ask", *program.options(8000), "Q")
    assert process.stdout.read(1)
    process.stdout.close()
    assert process.wait(60) == 0
    assert process.stderr.read() == b""
    process.stderr.close()
    assert program.hosts() == []


@pytest.mark.parametrize("number", [2, 15])
def test_signals_end_the_program_and_keep_the_text(program, number):
    process = program.start("ask", *program.options(8000), "Q")
    assert process.stdout.read(1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == {2: 130, 15: -15}[number]
    for host in program.hosts():
        host.wait(30)
    assert "fovea (4-bit)" in program.run("sessions", "show", "last").stdout.decode()


def test_a_pipe_is_the_question(program):
    done = program.run("ask", "--json", *program.options(3), stdin="Пингвин".encode())
    assert done.returncode == 0, done.stderr
    assert "Пингвин" in program.run("sessions", "list").stdout.decode()


def test_line_mode_from_a_pipe(program):
    lines = b"Hello\n/closer\n/several 2\n/pick 2\n/forks\n/export\n/quit\n"
    done = program.run("chat", *program.options(8), stdin=lines)
    assert done.returncode == 0, done.stdout
    text = done.stdout.decode()
    assert (
        "random \u00b7 8-bit" in text
        and "--- 2 (4-bit) ---" in text
        and "judged by 16-bit" in text
        and "# Hello" in text
    )
    assert done.stderr == b""


def test_help_is_quick_to_start(program):
    done = subprocess.run(program.command("--help"), env=program.env, capture_output=True, timeout=60, check=True)
    assert b"look" in done.stdout
