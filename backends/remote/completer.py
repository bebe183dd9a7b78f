"""The Completer: a remote tier that writes whole replies, with the same events as a local engine.

Steps of a remote reply have token -1 (the server's ids mean nothing here): their text may be shown and stored, but they
cannot be handed to a local model. Where the server gives no log-probabilities, a step is one piece of text, written as
certain (p 1, entropy 0, density 0), and a Notice says so.
"""

from __future__ import annotations

import codecs
import queue
import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import exp
from time import monotonic
from typing import Any

from backends.errors import RemoteError
from backends.remote.chunks import Chunk, Token, clean, error_text, parse_event
from backends.remote.options import RemoteOptions
from backends.remote.sse import EventReader
from backends.types import Alternative, Decoder, Done, Event, Failed, Notice, Prefill, Request, Step, Timing, Usage

UNKNOWN = -1
"""Token id of remote steps."""
CERTAIN = 10.0
"""Margin of a step without log-probabilities, nats: the cap the signals use for "no doubt"."""
LONGEST_WAIT_S = 30.0
"""A server's Retry-After is obeyed up to this."""
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
REASONS = {"length": "length"}
POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class _Refused:
    """The server answered with an error status, or not at all."""

    text: str
    again: bool
    wait_s: float = 0.0
    about_options: bool = False
    """It may be about the optional fields (log-probabilities, filters, usage): worth trying without them."""


class Completer:
    """One remote tier.

    Args:
        options: where it is.
        client: an ``openai.OpenAI``; made from ``options`` when left out.
    """

    def __init__(self, options: RemoteOptions, client: Any = None) -> None:
        self.options = options
        self._client = client
        self._cancelled = threading.Event()
        self._extras = True
        """Whether the server took the optional fields."""

    def run(self, request: Request) -> Iterator[Event]:
        """Write; the last event is ``Done`` or ``Failed``. Closing the iterator early cancels the request."""
        self._cancelled.clear()
        if request.prefix:
            yield Failed("RemoteError", f"{self._name}: cannot go on from the tokens of another engine.")
            return
        if not self.options.encrypted_or_local and self.options.key():
            yield Notice(f"{self._name}: the way there is not encrypted; others may read the text and the key.")
        start = monotonic()
        for attempt in range(1, self.options.tries + 1):
            refused = yield from self._attempt(request, start)
            if refused is None:
                return
            if refused.about_options and self._extras:
                self._extras = False
                refused = yield from self._attempt(request, start)
                if refused is None:
                    return
            if not refused.again or attempt == self.options.tries:
                yield Failed("RemoteError", f"{self._name}: {refused.text}.")
                return
            yield Notice(f"{self._name}: {refused.text}; trying again ({attempt + 1} of {self.options.tries}).")
            wait = max(refused.wait_s, self.options.backoff_s * 2 ** (attempt - 1))
            if self._cancelled.wait(min(wait, LONGEST_WAIT_S)):
                yield _done(_Reply(), request, start)
                return

    def models(self) -> list[str]:
        """Names of the models the server offers.

        Raises:
            RemoteError: it did not answer, or with nonsense.
        """
        try:
            listed = list(self._open_client().models.list())
        except Exception as error:  # the client lets many kinds through: its own, the transport's, the parser's
            raise RemoteError(f"{self._name}: {_refusal(error, self.options).text}.") from error
        names = [getattr(model, "id", None) for model in listed]
        return [clean(name, 200) for name in names if isinstance(name, str)]

    def cancel(self) -> None:
        """Stop the running request. Thread-safe."""
        self._cancelled.set()

    def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # Inside -------------------------------------------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"The {self.options.tier} tier at {self.options.host}"

    def _open_client(self) -> Any:
        if self._client is None:
            from openai import DefaultHttpxClient, OpenAI, Timeout

            # Redirects would carry the conversation to an address nobody configured.
            timeout = Timeout(self.options.silence_s, connect=self.options.connect_s)
            self._client = OpenAI(
                api_key=self.options.key() or "none",
                base_url=self.options.url,
                timeout=timeout,
                max_retries=0,
                http_client=DefaultHttpxClient(follow_redirects=False, timeout=timeout),
            )
            # The client fills these from OPENAI_ORG_ID and OPENAI_PROJECT_ID; they are no business of another server.
            self._client.organization = self._client.project = None
        return self._client

    def _attempt(self, request: Request, start: float) -> Generator[Event, None, _Refused | None]:
        """One try. Its value is why it failed, or None when everything was said."""
        stream = _Stream(self._open_client(), self._body(request), self.options)
        reply = _Reply()
        try:
            while True:
                if self._cancelled.is_set():
                    yield _done(reply, request, start)
                    return None
                item = stream.next(POLL_S)
                if item is _NOTHING:
                    continue
                if isinstance(item, _Refused):
                    if not reply.begun:
                        return item
                    yield Failed("RemoteError", f"{self._name}: {item.text}.")
                    return None
                if item is None:
                    break
                yield from reply.add(item, self.options.tier)
            problem = reply.problem()
            if problem and not reply.begun:
                return _Refused(problem, again=False)
            yield Failed("RemoteError", f"{self._name}: {problem}.") if problem else _done(reply, request, start)
            return None
        finally:
            stream.close()

    def _body(self, request: Request) -> dict[str, Any]:
        """The request in OpenAI's words, and in those of other servers where they have not been refused.

        All filters are said even where they are off: servers have defaults of their own (llama-cpp-python's penalises
        repetition, vLLM takes what the model's folder says), and the text would not be this request's.
        """
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.options.model,
            "messages": [{"role": m.role, "content": m.content} for m in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "stream": True,
        }
        if request.n > 1:
            body["n"] = request.n
        if request.stop:
            body["stop"] = list(request.stop)
        if self._extras:
            body["extra_body"] = {
                "top_k": sampling.top_k,
                "min_p": sampling.min_p,
                # vLLM and llama-server name it differently and ignore the other's name.
                "repetition_penalty": sampling.repetition_penalty,
                "repeat_penalty": sampling.repetition_penalty,
            }
            body["stream_options"] = {"include_usage": True}
            if self.options.logprobs:
                body |= {"logprobs": True, "top_logprobs": self.options.logprobs}
        return body


_NOTHING = object()


class _Stream:
    """A reply being received by a thread of its own, so that a server that hangs does not hang the reader."""

    def __init__(self, client: Any, body: dict[str, Any], options: RemoteOptions) -> None:
        self._queue: queue.Queue[Chunk | _Refused | None] = queue.Queue(maxsize=1024)
        self._closed = threading.Event()
        self._response: Any = None
        self._options = options
        self._thread = threading.Thread(target=self._receive, args=(client, body), daemon=True)
        self._thread.start()

    def next(self, seconds: float) -> Any:
        """The next chunk, a refusal, None at the end, or ``_NOTHING`` when nothing came within ``seconds``."""
        try:
            return self._queue.get(timeout=seconds)
        except queue.Empty:
            return _NOTHING

    def close(self) -> None:
        """Let go of the connection; a thread blocked in reading is woken by shutting its socket down."""
        self._closed.set()
        response = self._response
        if response is None or not self._thread.is_alive():
            return
        with suppress(Exception):  # how deep the socket lies depends on the client's version; a timeout ends it as well
            stream = response.http_response.extensions["network_stream"]
            stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def _receive(self, client: Any, body: dict[str, Any]) -> None:
        try:
            with client.chat.completions.with_streaming_response.create(**body) as response:
                self._response = response
                if 300 <= response.status_code < 400:
                    self._put(
                        _Refused("it points to another address, which is not followed; correct the url", again=False)
                    )
                    return
                self._read(response)
        except RemoteError as error:
            self._put(_Refused(str(error), again=False))
        except Exception as error:  # the client lets many kinds through: its own, the transport's, the parser's
            self._put(_refusal(error, self._options))

    def _read(self, response: Any) -> None:
        reader = EventReader()
        for piece in response.iter_bytes():
            for data in reader.feed(piece):
                if self._pass_on(data):
                    return
            if self._closed.is_set():
                return
        for data in reader.end():
            if self._pass_on(data):
                return
        self._put(None)

    def _pass_on(self, data: str) -> bool:
        """Queue what one event holds; True at the end of the stream."""
        if data.strip() == "[DONE]":
            self._put(None)
            return True
        for chunk in parse_event(data):
            self._put(chunk)
        return self._closed.is_set()

    def _put(self, item: Chunk | _Refused | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=POLL_S)
                return


@dataclass(slots=True)
class _Reply:
    """A reply as far as it has come."""

    begun: bool = False
    first: float = 0.0
    """When the first text came, monotonic seconds."""
    steps: int = 0
    usage: tuple[int, int, int] | None = None
    finishes: dict[int, str] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    decoders: dict[int, codecs.IncrementalDecoder] = field(default_factory=dict)

    def add(self, chunk: Chunk, tier: str) -> Iterator[Event]:
        """Take one chunk in; yields what it adds."""
        self.usage = chunk.usage or self.usage
        self.seen.add(chunk.index)
        if chunk.finish:
            self.finishes[chunk.index] = chunk.finish
        if not chunk.text and not chunk.tokens:
            return
        if not self.begun:
            self.begun, self.first = True, monotonic()
            yield Prefill(0, 0, 0)
            if not chunk.tokens:
                yield Notice(f"The {tier} tier gives no log-probabilities: density is not shown for its replies.")
        for step in self._steps(chunk, tier):
            self.steps += 1
            yield step

    def problem(self) -> str:
        """Why a stream that has ended is not a whole reply; empty when it is."""
        if self.finishes and self.seen <= set(self.finishes) | {0}:
            return ""
        return "it closed the connection in the middle of the reply" if self.begun else "it sent no reply"

    def _steps(self, chunk: Chunk, tier: str) -> Iterator[Step]:
        if not chunk.tokens:
            yield Step(UNKNOWN, chunk.text, tier, p=1.0, entropy=0.0, margin=CERTAIN, density=0.0, seq=chunk.index)
            return
        decoder = self.decoders.setdefault(chunk.index, codecs.getincrementaldecoder("utf-8")("replace"))
        for token in chunk.tokens:
            yield _step(token, decoder.decode(token.raw), tier, chunk.index)


def _step(token: Token, text: str, tier: str, seq: int) -> Step:
    """One step from a token with log-probabilities; density by the rule for uncalibrated models."""
    from backends.gate import DEFAULT_WEIGHTS

    known = len(token.top) > 1
    margin = token.margin if known else CERTAIN
    slope = -DEFAULT_WEIGHTS["margin"]
    return Step(
        UNKNOWN,
        text,
        tier,
        p=exp(token.logprob),
        entropy=token.entropy if known else 0.0,
        margin=margin,
        density=1.0 / (1.0 + exp(min(slope * margin, 50.0))),
        seq=seq,
        alternatives=tuple(Alternative(UNKNOWN, other, exp(logprob), tier) for other, logprob in token.top),
    )


def _done(reply: _Reply, request: Request, start: float) -> Done:
    """The closing event; a reply without finish reason was cancelled."""
    now = monotonic()
    first = reply.first or now
    prompt, cached, written = reply.usage or (0, 0, reply.steps)
    finish = reply.finishes.get(0, "")
    reason = REASONS.get(finish, "end") if finish else "cancelled"
    return Done(Usage(prompt, cached, written), Timing(first - start, now - first), reason, Decoder.PLAIN)


def _refusal(error: Exception, options: RemoteOptions) -> _Refused:
    """What an exception of the client means, in words; never the request, never the key."""
    import openai

    if isinstance(error, openai.APITimeoutError) and "Connect" not in type(error.__cause__).__name__:
        return _Refused(f"nothing came for {options.silence_s:g} s", again=False)
    if isinstance(error, openai.APIConnectionError):
        return _Refused(f"cannot be reached ({_root(error)})", again=True)
    if isinstance(error, openai.APIStatusError):
        return _status(error, options)
    name = type(error).__name__
    if "Timeout" in name:
        return _Refused(f"nothing came for {options.silence_s:g} s", again=False)
    if name in {"RemoteProtocolError", "ReadError", "IncompleteRead"}:
        return _Refused("it closed the connection in the middle of the reply", again=True)
    return _Refused(f"it answers in a way that cannot be read ({name})", again=False)


def _status(error: Any, options: RemoteOptions) -> _Refused:
    """What an HTTP error status means."""
    code = int(error.status_code)
    if code in {401, 403}:
        return _Refused(f"it refuses the key ({code}); set {options.key_env} or put it into the keyring", again=False)
    if 300 <= code < 400:
        return _Refused("it points to another address, which is not followed; correct the url", again=False)
    if code == 404:
        return _Refused(f"it knows no model {options.model!r}, or the url lacks /v1 (404)", again=False)
    wait = 0.0
    with suppress(ValueError, TypeError):
        wait = max(0.0, float(error.response.headers.get("retry-after", "0")))
    text = f"it answers {code}: {error_text(error.body)}"
    return _Refused(text, again=code in RETRIED, wait_s=wait, about_options=code in {400, 422})


def _root(error: BaseException) -> str:
    """The innermost cause, as one short line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return clean(str(error), 100) or type(error).__name__
