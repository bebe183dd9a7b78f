"""SIGKILL of the engine host and of the whole program at random moments of a reply.

    python -m bench.kills [--hosts 20] [--programs 20] [--json OUT]

Each kill is followed by the checks a person would make: is everything there that was shown as done, is the file whole,
does the conversation go on, is no process left over. Any difference ends the run with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from agent.app import Fovea
from agent.events import Finished, Said, Wrote
from agent.paths import Folders
from agent.recall import NullMemory
from agent.settings import Settings
from agent.values import Status
from backends.models.random_gguf import Shape, write_random
from backends.scripted import ScriptedEngine

ROOT = Path(__file__).parents[1]
TOKENS = 160


def integrity(path: Path) -> str:
    """SQLite's own verdict."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


def hosts_of(data: Path) -> list[psutil.Process]:
    """Engine hosts (also zombies) that belong to this data folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        try:
            if "backends.host.child" in (process.info["cmdline"] or []) and process.environ().get("FOVEA_DATA") == str(
                data
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


def kill_hosts(model: Path, home: Path, count: int, draw: random.Random) -> dict[str, Any]:
    """Kill the host ``count`` times, each after a random number of tokens of one reply."""
    settings = Settings().with_values(
        {
            "model": str(model),
            "sampling.max_tokens": TOKENS,
            "policy.mode": "manual",
            "engine.threads": 1,
        }
    )
    folders = Folders(home / "hosts", home / "config", home / "cache")
    lost = repeated = unsaid = unfinished = 0
    restart_s: list[float] = []
    with Fovea.open(settings, folders=folders, memory=NullMemory()) as fovea:
        session = fovea.session()
        first = list(session.send("Tell me something"))[-1].replies[0]
        for _ in range(count):
            seen: list[int] = []
            said: list[str] = []
            after = draw.randrange(1, 40)
            killed_at = 0.0
            for event in session.regenerate(first.id):
                if isinstance(event, Wrote):
                    seen.append(event.step.token)
                    if killed_at and said:  # what was in the pipe comes before the line about the restart
                        restart_s.append(time.monotonic() - killed_at)
                        killed_at = 0.0
                    if len(seen) == after:
                        os.kill(fovea.engine.pid, signal.SIGKILL)
                        killed_at = time.monotonic()
                elif isinstance(event, Said):
                    said.append(event.text)
            if not isinstance(event, Finished) or event.replies[0].status is not Status.DONE:
                unfinished += 1
                continue
            stored = [step.token for step in event.replies[0].steps]
            lost += len(stored) < len(seen)
            repeated += len(stored) > len(seen)
            unsaid += sum("restarted" in line for line in said) != 1 and len(seen) > after
    return {
        "kills": count,
        "replies_unfinished": unfinished,
        "replies_with_lost_tokens": lost,
        "replies_with_repeated_tokens": repeated,
        "not_said_in_one_line": unsaid,
        "restart_s_median": sorted(restart_s)[len(restart_s) // 2] if restart_s else None,
        "integrity": integrity(folders.conversations),
    }


def kill_programs(model: Path, home: Path, count: int, draw: random.Random) -> dict[str, Any]:
    """Kill ``fovea ask`` ``count`` times at a random moment, then look at what the next program finds."""
    data = home / "programs"
    env = {
        **os.environ,
        "FOVEA_DATA": str(data),
        "FOVEA_CONFIG": str(home / "config"),
        "FOVEA_CACHE": str(home / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    folders = Folders(data, home / "config", home / "cache")
    options = ["--model", str(model), "--max-tokens", str(TOKENS), "--policy", "manual", "--set", "engine.threads=1"]
    command = [sys.executable, "-m", "tui.main", "ask"]
    done = subprocess.run([*command, "--json", *options, "Acknowledged"], env=env, capture_output=True, check=True)
    acknowledged = json.loads(done.stdout)
    bad_files = lost = left_over = 0
    behind: list[int] = []
    for number in range(count):
        process = subprocess.Popen(
            [*command, "--session", acknowledged["session"], *options, f"Question {number}"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        seen = process.stdout.read(1)
        time.sleep(draw.uniform(0, 0.6))
        process.kill()
        seen += process.stdout.read()
        process.wait()
        process.stdout.close()
        deadline = time.monotonic() + 30
        while hosts_of(data) and time.monotonic() < deadline:
            time.sleep(0.05)
        left_over += bool(hosts_of(data))
        bad_files += integrity(folders.conversations) != "ok"
        settings = Settings().with_values({"policy.mode": "manual"})
        with Fovea.open(settings, folders=folders, engine=ScriptedEngine(), memory=NullMemory()) as fovea:
            path = fovea.session(acknowledged["session"]).path()
            asked = [node.text for node in path if node.role == "user"]
            lost += path[1].text != acknowledged["text"] or asked[-1] != f"Question {number}"
            if path[-1].role == "assistant":
                behind.append(max(0, len(seen.decode("utf-8", "replace")) - len(path[-1].text)))
            # The conversation goes on, from the partial reply where there is one.
            if path[-1].status is Status.OPEN:
                list(fovea.session(acknowledged["session"]).resume(path[-1].id))
    return {
        "kills": count,
        "acknowledged_messages_lost": lost,
        "files_damaged": bad_files,
        "processes_left_over": left_over,
        "characters_behind_the_screen_max": max(behind, default=0),
        "integrity": integrity(folders.conversations),
    }


def main() -> int:
    """Run both and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--programs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        model = write_random(home / "random.gguf", Shape(layers=6, context=4096))
        result = {
            "hosts": kill_hosts(model, home, arguments.hosts, draw),
            "programs": kill_programs(model, home, arguments.programs, draw),
        }
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    hosts, programs = result["hosts"], result["programs"]
    good = (
        not any(hosts[k] for k in ("replies_unfinished", "replies_with_lost_tokens", "replies_with_repeated_tokens"))
        and not hosts["not_said_in_one_line"]
        and not any(programs[k] for k in ("acknowledged_messages_lost", "files_damaged", "processes_left_over"))
        and hosts["integrity"] == programs["integrity"] == "ok"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
