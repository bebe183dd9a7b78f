"""SIGKILL at random moments. Nothing acknowledged is lost, the file stays whole, the conversation goes on."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from contextlib import closing

import pytest

from agent.app import Fovea
from agent.events import Said, Stopped, Wrote
from agent.paths import Folders
from agent.settings import Settings
from agent.values import Status
from backends.scripted import ScriptedEngine
from tui.render.harmless import harmless

TOKENS = 15_000
"""Tokens travel in groups: enough must be left that the death is noticed before the end is there."""
AFTER = 50
"""Tokens that are waited for after a restart."""
LONG = 8000
"""Tokens of replies that must still be going on when something happens."""
DELAYS = random.Random(7).sample(range(100), 5)


def whole(path):
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@pytest.fixture
def settings(model):
    return Settings().with_values(
        {
            "model": str(model),
            "engine.ctx": 16_384,
            "sampling.max_tokens": TOKENS,
            "sampling.temperature": 0,
            "sampling.repetition_penalty": 1.3,
            "policy.mode": "manual",
            "engine.threads": 1,
        }
    )


def test_a_killed_host_costs_one_line_and_no_text(settings, tmp_path, cache):
    """The host dies after a random number of tokens; the reply goes on, nothing is lost and nothing said twice."""
    folders = Folders(tmp_path / "data", tmp_path / "config", cache)
    with Fovea.open(settings, folders=folders) as fovea:
        session = fovea.session()
        for event in session.send("Tell me something"):
            if isinstance(event, Wrote):
                session.cancel()
        (first,) = event.replies
        for after in DELAYS:
            said, seen, goal = [], [], TOKENS
            for event in session.regenerate(first.id):
                if isinstance(event, Wrote):
                    seen.append(event.step.token)
                    if len(seen) == after + 1:
                        os.kill(fovea.engine.pid, signal.SIGKILL)
                    elif len(seen) == goal:
                        session.cancel()
                elif isinstance(event, Said):
                    said.append(event.text)
                    goal = len(seen) + AFTER
            assert isinstance(event, Stopped) and not event.problem
            (reply,) = event.replies
            assert reply.status is Status.STOPPED
            assert [step.token for step in reply.steps] == seen
            assert after + AFTER < len(seen) < TOKENS
            assert sum("restarted" in line for line in said) == 1, said
            assert reply.usage.completion_tokens == len(seen)
    whole(folders.conversations)


@pytest.mark.slow
def test_a_killed_program_loses_nothing_acknowledged(program):
    """The whole program dies at a random moment of a reply; the next one resumes it."""
    first = program.run("ask", *program.options(5), "An acknowledged question")
    assert first.returncode == 0
    acknowledged = first.stdout
    for delay in DELAYS:
        process = program.start("ask", "--session", "last", *program.options(LONG), f"Question after {delay}")
        seen = b"".join(process.stdout.read(1) for _ in range(1 + delay // 20))
        time.sleep(delay / 1000)
        process.kill()
        seen += process.stdout.read()
        process.communicate()
        for host in program.hosts():
            host.wait(30)
        assert len(seen) > 0
        whole(program.data / "conversations.sqlite")
    folders = Folders(program.data, program.home / "config", program.home / "cache")
    with Fovea.open(Settings(), folders=folders, engine=ScriptedEngine()) as fovea:
        session = fovea.session("last")
        path = session.path()
        assert path[0].text == "An acknowledged question"
        assert path[1].status is Status.DONE and harmless(path[1].text).strip() == acknowledged.decode().strip()
        assert [n.text for n in path if n.role == "user"][1:] == [f"Question after {delay}" for delay in DELAYS]
        partial = [node for node in path if node.status is Status.OPEN]
        assert partial, "no kill came before the end of a reply"
        session.move_to(partial[-1].id)
    done = program.run("chat", "--plain", "--session", "last", *program.options(900), stdin=b"/continue\n")
    assert done.returncode == 0, done.stdout
    with Fovea.open(Settings(), folders=folders, engine=ScriptedEngine()) as fovea:
        resumed = fovea.session("last").node(partial[-1].id)
        assert resumed.status is Status.DONE and resumed.text.startswith(partial[-1].text)


def test_a_partial_reply_is_on_disk_while_it_is_written(program):
    """How far behind: tests/agent/test_writing."""
    process = program.start("ask", *program.options(LONG), "Q")
    process.stdout.read(1)
    deadline = time.monotonic() + 30
    stored = 0
    while not stored and time.monotonic() < deadline and process.poll() is None:
        with closing(sqlite3.connect(f"file:{program.data}/conversations.sqlite?mode=ro", uri=True)) as connection:
            stored = connection.execute("SELECT max(length(text)) FROM nodes WHERE status = 'open'").fetchone()[0] or 0
    process.kill()
    process.communicate()
    assert stored
