"""``fovea ask``: one question, the answer on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from tui.commands.common import InputError, opened, say, stoppable, with_settings
from tui.commands.piped import piped_text

if TYPE_CHECKING:
    from agent.app import Fovea
    from agent.events import TurnEvent
    from agent.session import Session
    from agent.settings import Settings
    from agent.values import Ask, Node, Passage

ENGINE_FAILED, STOPPED = 3, 130


@dataclass(slots=True)
class Outcome:
    """What a turn came to."""

    replies: tuple[Node, ...] = ()
    problem: str = ""
    asks: list[Ask] = field(default_factory=list)
    passages: tuple[Passage, ...] = ()
    """What the prompt quoted."""


@click.command("ask")
@click.argument("question", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option("--session", "session_id", default=None, help="Go on with this conversation (id, its start, or `last`).")
@click.option("--n", "-n", "count", type=click.IntRange(1, 16), default=1, help="Write several continuations.")
@click.option(
    "--look-closer",
    type=click.Choice(["turn", "span"]),
    default=None,
    help="Answer again with the next higher tier: the whole reply, or the part around its worst fork.",
)
@click.option("--no-save", is_flag=True, help="Do not store the conversation.")
@with_settings
def ask(
    question: tuple[str, ...],
    as_json: bool,
    session_id: str | None,
    count: int,
    look_closer: str | None,
    no_save: bool,
    settings: Settings,
) -> int:
    """Ask one QUESTION; the answer streams to standard output.

    Text that is piped in is added below the question, or is the question. Beside a question a pipe has 5 seconds to
    begin; a `-` after the question waits for it however long it takes.
    """
    text = _question(question)
    with opened(settings, unsaved=no_save) as fovea:
        if fovea.tree.busy and session_id is None:
            say(f"{fovea.why_read_only}; this conversation is not saved")
            fovea.close()
            with opened(settings, unsaved=True) as private:
                return _answer(private, None, text, count, look_closer, as_json)
        return _answer(fovea, session_id, text, count, look_closer, as_json)


def _question(words: tuple[str, ...]) -> str:
    wanted = words[-1:] == ("-",)
    given = " ".join(words[:-1] if wanted else words).strip()
    try:
        given.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError("The question is not UTF-8 text") from error
    piped = piped_text(addition=bool(given), wanted=wanted).strip()
    text = "\n\n".join(part for part in (given, piped) if part)
    if not text:
        raise InputError("There is no question; write it after `fovea ask`, or pipe it in")
    return text


def _answer(fovea: Fovea, session_id: str | None, text: str, count: int, look_closer: str | None, as_json: bool) -> int:
    from agent.errors import ReadOnlyError

    if fovea.read_only:
        raise ReadOnlyError(f"Nothing can be saved: {fovea.why_read_only}; --no-save asks without saving")
    session = fovea.session(session_id)
    live = not as_json and count == 1 and look_closer is None
    with stoppable(session) as stopped:
        outcome = _listen(session.send(text, n=count), live=live)
        if look_closer and outcome.replies and not outcome.problem and not stopped():
            live = not as_json and look_closer == "turn"
            outcome = _closer(session, outcome.replies[0], look_closer, live=live)
        if as_json:
            click.echo(json.dumps(_object(session, outcome.replies) | _sources(outcome.passages), ensure_ascii=True))
        elif not live:
            _show_all(outcome.replies)
        if not as_json:
            for passage in outcome.passages:
                say(f"[{passage.number}] {passage.source}  {passage.place}")
        if outcome.problem:
            say(outcome.problem)
            return ENGINE_FAILED
        if outcome.asks and not as_json and sys.stderr.isatty():
            proposal = outcome.asks[-1]
            say(f"{proposal.tier} could look closer: {proposal.why}. Add --look-closer {proposal.scope} to let it")
        return STOPPED if stopped() else 0


def _closer(session: Session, first: Node, scope: str, *, live: bool) -> Outcome:
    from agent.branches import span_around
    from agent.values import Scope

    if scope == "turn":
        return _listen(session.look_closer(first.id), live=live)
    forks = session.forks(first.id).forks()
    if not forks:
        say("There is no fork: the higher tier would have written the same")
        return Outcome((first,))
    start, end = span_around(first.steps, forks[0])
    # Not streamed: the reply begins with tokens that are kept.
    return _listen(session.look_closer(first.id, scope=Scope.SPAN, start=start, end=end), live=False)


def _listen(events: Iterable[TurnEvent], *, live: bool) -> Outcome:
    """Follow a turn; with ``live`` its text goes to standard output as it comes."""
    from agent.writing import listening

    outcome = Outcome()
    write = _writer() if live else None
    # Closed here and not when it is forgotten: a reader that goes away must not cost the partial reply.
    with listening(iter(events)) as told:
        _follow(told, outcome, write)
    return outcome


def _follow(events: Iterable[TurnEvent], outcome: Outcome, write: Callable[[str], None] | None) -> None:
    from agent.events import Asked, Finished, Said, Started, Stopped, Wrote

    for event in events:
        if isinstance(event, Wrote) and write:
            write(event.step.text)
        elif isinstance(event, Said):
            say(event.text)
        elif isinstance(event, Started):
            outcome.passages = tuple(passage for passage in event.passages if passage.enabled)
        elif isinstance(event, Asked):
            outcome.asks.append(event.ask)
        elif isinstance(event, Finished):
            outcome.replies = event.replies
        elif isinstance(event, Stopped):
            outcome.replies, outcome.problem = event.replies, event.problem
    if write:
        write("")
        click.echo()


def _writer() -> Callable[[str], None]:
    from tui.render.harmless import HarmlessStream

    stream = HarmlessStream()

    def write(text: str) -> None:
        shown = stream.feed(text) if text else stream.end()
        if shown:
            click.echo(shown, nl=False)
            sys.stdout.flush()

    return write


def _show_all(replies: tuple[Node, ...]) -> None:
    from tui.render.harmless import harmless

    for number, reply in enumerate(replies, start=1):
        if len(replies) > 1:
            click.echo(f"{'' if number == 1 else chr(10)}--- {number} ({reply.tier}) ---")
        click.echo(harmless(reply.text))


def _object(session: Session, replies: tuple[Node, ...]) -> dict[str, Any]:
    """The object of ``--json``; with several continuations it also holds ``continuations``."""
    first = replies[0] if replies else None
    usage = first.usage if first else None
    timing = first.timing if first else None
    result: dict[str, Any] = {
        "text": first.text if first else "",
        "tokens": _tokens(first),
        "usage": {
            "prompt_tokens": usage.prompt_tokens if usage else 0,
            "cached_tokens": usage.cached_tokens if usage else 0,
            "completion_tokens": usage.completion_tokens if usage else 0,
        },
        "timing": {
            "prefill_s": timing.prefill_s if timing else 0.0,
            "decode_s": timing.decode_s if timing else 0.0,
            "tok_s": timing.tok_s(usage.completion_tokens) if timing and usage else 0.0,
        },
        "session": session.id,
    }
    if len(replies) > 1:
        result["continuations"] = [{"text": r.text, "tier": r.tier, "tokens": _tokens(r)} for r in replies]
    return result


def _sources(passages: tuple[Passage, ...]) -> dict[str, Any]:
    """What the prompt quoted, where it stands, and why it was chosen; nothing where it quoted nothing."""
    if not passages:
        return {}
    return {
        "sources": [
            {
                "number": passage.number,
                "kind": passage.kind,
                "title": passage.source,
                "uri": passage.uri,
                "place": passage.place,
                "start": passage.start,
                "end": passage.end,
                "page": passage.page,
                "score": passage.score,
                "why": passage.why,
                "text": passage.text,
            }
            for passage in passages
        ]
    }


def _tokens(reply: Node | None) -> list[dict[str, Any]]:
    return [
        {"text": step.text, "tier": step.tier, "p": step.p, "entropy": step.entropy, "margin": step.margin}
        for step in (reply.steps if reply else ())
    ]
