from __future__ import annotations

import pytest

from agent.app import Fovea
from agent.settings import Settings
from backends.scripted import Script, ScriptedEngine, Word
from backends.types import SIXTEEN, Failed
from tui import registry
from tui.plain import LineMode
from tui.plain_commands import ACTIONS, ALIASES, ARGUMENTS


@pytest.fixture
def talk(home):
    """Talk in line mode: the lines typed, the scripts of the engine; returns what was shown."""
    opened = []

    def call(*lines, scripts=(), interactive=True, mode="manual"):
        waiting = list(lines)

        def read(prompt):
            if not waiting:
                raise EOFError
            return waiting.pop(0)

        shown: list[str] = []
        settings = Settings().with_values({"policy.mode": mode})
        fovea = Fovea.open(settings, engine=ScriptedEngine(scripts))
        opened.append(fovea)
        call.mode = LineMode(fovea, fovea.session(), read=read, write=shown.append, interactive=interactive)
        call.code = call.mode.run()
        fovea.close()
        return "".join(shown)

    return call


def test_a_slip_is_no_fault_of_the_engine(talk):
    out = talk("Hello", "/pick 99", "/several 999", "/nonsense", "/rename", scripts=("Hi.",), interactive=False)
    assert out.count("! ") == 4 and talk.code == 0
    talk("Hello", "/pick 99", scripts=(Script("a b", fail_after=1),), interactive=False)
    assert talk.code == 3, "a slip does not hide what became of the message"
    talk("word " * 5000, interactive=False)
    assert talk.code == 4


@pytest.mark.parametrize(
    "slip",
    [
        "/several ²",
        "/pick ²",
        "/code ²",
        "/theme nosuch",
        f"/export {'x' * 300}",
        "/export ~no-such-person/x",
        "/import ~no-such-person/x",
    ],
)
def test_a_slip_never_ends_the_conversation(talk, slip):
    code = "```\na\n```\n```\nb\n```"
    out = talk("Hello", slip, "Still there?", scripts=(code, Script("Yes.", continuations=["Yes."] * 2), "Yes."))
    assert "Yes." in out.split("/pick" if "several" in slip else "```")[-1]
    assert talk.mode.fovea.settings.screen.theme != "nosuch"


@pytest.mark.parametrize("left", [EOFError, KeyboardInterrupt])
def test_a_note_that_is_not_answered_is_not_written(talk, monkeypatch, left):
    read = iter(["/note I like tea", left(), "Hello"])

    def answer(self, prompt):
        line = next(read, EOFError())
        if isinstance(line, BaseException):
            raise line
        return line

    monkeypatch.setattr(LineMode, "read", property(lambda self: lambda prompt: answer(self, prompt), lambda *_: None))
    out = talk(scripts=("Hi.",))
    assert "[not written]" in out and "Hi." in out


def test_a_conversation(talk):
    out = talk("Do penguins fly?", "/closer", "/quit", scripts=("No.", "They swim."))
    assert "No.\n[pocket · 4-bit" in out and "They swim.\n[pocket · 8-bit" in out
    assert talk.code == 0


def test_every_command_runs_without_a_conversation(talk):
    out = talk(*(f"/{command.name}" for command in registry.COMMANDS if command.name != "quit"), "Hello")
    assert "You said: Hello" in out


def test_every_command_runs_within_a_conversation(talk):
    commands = [
        f"/{command.name}" for command in registry.COMMANDS if command.name not in ("quit", "delete", "new", "archive")
    ]
    out = talk("One", "Two", "Three", *commands, "Hello")
    assert "You said: Hello" in out


def test_the_table_matches_the_registry():
    keys = {command.key for command in registry.COMMANDS}
    assert set(ACTIONS) == keys and set(ALIASES.values()) <= keys and set(ARGUMENTS) <= keys
    assert not set(ALIASES) & {command.name for command in registry.COMMANDS}


def test_several_versions_and_a_pick(talk):
    script = Script("One.", continuations=["Two.", "Three."])
    out = talk("Q", "/several 3", "/pick 2", "/export", scripts=("Zero.", script))
    assert "--- 2 (4-bit) ---\nTwo." in out and "[picked 2: 4-bit]" in out
    assert "Two." in out.rsplit("## fovea", 1)[1]
    assert "There are 0 versions" in talk("Q", "/pick 1")


def test_blind_comparison_hides_the_tiers_until_the_pick(talk, monkeypatch):
    monkeypatch.setattr("random.sample", lambda found, count: list(found))
    out = talk("Q", "/blind", "/compare 4-bit 16-bit", "/pick 2", scripts=("x", "low", "high"))
    assert "--- 1 ---\nlow" in out and "--- 2 ---\nhigh" in out and out.index("16-bit") > out.index("[picked")


def test_a_proposal_is_answered_or_stays_low(talk):
    doubtful = Script([Word("legs", density=0.9)])
    out = talk("Q", "look", scripts=(doubtful, "eggs"), mode="ask")
    assert "could look closer" in out and "eggs\n[pocket · 16-bit" in out
    out = talk("Q", "what?", "/log", scripts=(doubtful,), mode="ask")
    assert "refused: stayed at 4-bit" in out
    out = talk("Q", "refuse good enough", "/log", scripts=(doubtful,), mode="ask")
    assert "good enough" in out
    out = talk("Q", "look", scripts=(doubtful,), mode="ask", interactive=False)
    assert "unanswered" in out and "You said: look" in out


def test_messages_of_several_lines_and_with_a_slash(talk):
    out = talk('"""', "one", "two", '"""', "//etc is a folder")
    assert "You said: one\ntwo" in out and "You said: /etc is a folder" in out


def test_a_stopped_reply_is_finished(talk):
    script = Script("one two three", fail_after=2, failure=Failed("HostDied", "The engine died"))
    out = talk("Q", scripts=(script,))
    assert "one two\n! The engine died\n[stopped: what was written is kept; /continue finishes it]" in out


def test_problems_are_one_line_and_the_code_of_a_pipe(talk):
    script = Script("one", fail_after=0)
    talk("Q", scripts=(script,), interactive=False)
    assert talk.code == 3
    talk("Q", "R", scripts=(script, "fine"), interactive=False)
    assert talk.code == 0


def test_a_budget_is_a_share_or_percent_everywhere(talk):
    out = talk("/settings policy.budget 35%", "/settings policy.budget", "/settings policy.budget much", "/budget 150%")
    assert out.count("policy.budget                    0.35") == 2
    assert "! " in out and "write 20% or 0.2" in out and "between 0 and 1" in out
    assert talk.mode.fovea.settings.policy.budget == 0.35


def test_forks_density_and_budget(talk):
    script = Script([Word("two"), Word(" legs", density=0.9)], by_tier={SIXTEEN: "two eggs"})
    out = talk("Q", "/forks", "/why", "/budget 30%", "/policy off", "/tier 16-bit", "R", scripts=(script,))
    assert "“legs” 20%  16-bit: “eggs”" in out and "density 0.90" in out
    assert "the budget is 30%" in out and "policy off" in out and "[pocket · 16-bit" in out


def test_a_second_fovea_reads_and_says_so(talk, home):
    with Fovea.open(Settings(), engine=ScriptedEngine()) as first:
        list(first.session().send("Hello"))
        out = talk("/sessions", "Q")
    assert "Nothing can be saved: another fovea" in out and "Hello" in out and out.count("! Nothing can be saved") == 1


def test_foreign_text_is_harmless(talk):
    out = talk("Q\x1b[2J", "/tree", "/sessions", "/export", scripts=(Script([Word("a\x1b[31m"), Word("\u202eb")]),))
    assert "\x1b" not in out and "\u202e" not in out


def test_settings_are_shown_changed_and_in_force(talk):
    out = talk("/settings top_k", "/settings sampling.top_k 7", "/settings sampling.top_k many", "/settings nonsense")
    assert "sampling.top_k                   40" in out and "sampling.top_k                   7" in out
    assert "should be" in out and "There is no setting `nonsense`" in out
    assert talk.mode.fovea.settings.sampling.top_k == 7


def test_tiers_are_freed_and_loaded(talk):
    out = talk("/ladder free 16-bit", "/ladder load 16-bit", "/ladder free 32-bit", "/ladder free")
    assert "16-bit   not loaded: it is unloaded" in out and out.count("16-bit   1 MB") == 1
    assert "There is no tier `32-bit`" in out and "/ladder free TIER" in out


def test_code_blocks_are_listed_and_copied(talk, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    out = talk("Code", "/code", "/code 2", "/copy", scripts=("```\none\n```\n```\ntwo\n```",))
    assert "  1  one" in out and "  2  two" in out
    assert "\x1b]52;c;dHdv\x07" in out and "Copied 3 characters" in out


def test_files_are_quoted_and_nothing_is_written_over(talk, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boats.md").write_text("Boats float.", encoding="utf-8")
    out = talk("Read @boats.md", "/export boats.md", "/export json my talk.json")
    assert "boats.md is there already" in out and "written to my talk.json" in out
    assert "Boats float." in (tmp_path / "my talk.json").read_text(encoding="utf-8")


def test_blind_versions_stand_in_any_order(talk, monkeypatch):
    monkeypatch.setattr("random.sample", lambda found, count: list(reversed(found)))
    out = talk("Q", "/blind", "/compare 4-bit 16-bit", "/pick 1", scripts=("One.", "Low.", "High."))
    assert "--- 1 ---\nHigh." in out and "[picked 1: 16-bit]" in out
