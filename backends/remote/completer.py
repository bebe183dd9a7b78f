"""The Completer: a remote tier that writes whole replies, with the same events as a local engine."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from time import monotonic
from typing import Any

from backends.errors import RemoteError
from backends.remote.chunks import clean
from backends.remote.options import RemoteOptions
from backends.remote.refusal import Refused, refusal
from backends.remote.reply import Reply, done
from backends.remote.stream import NOTHING, POLL_S, Stream
from backends.types import Event, Failed, Notice, Request

LONGEST_WAIT_S = 30.0
"""A server's Retry-After is obeyed up to this."""


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
                yield done(Reply(), request, start)
                return

    def models(self) -> list[str]:
        """Names of the models the server offers.

        Raises:
            RemoteError: it did not answer, or with nonsense.
        """
        try:
            listed = list(self._open_client().models.list())
        except Exception as error:  # the client lets many kinds through: its own, the transport's, the parser's
            raise RemoteError(f"{self._name}: {refusal(error, self.options).text}.") from error
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

    def _attempt(self, request: Request, start: float) -> Generator[Event, None, Refused | None]:
        """One try. Its value is why it failed, or None when everything was said."""
        stream = Stream(self._open_client(), self._body(request), self.options)
        reply = Reply()
        try:
            while True:
                if self._cancelled.is_set():
                    yield done(reply, request, start)
                    return None
                item = stream.next(POLL_S)
                if item is NOTHING:
                    continue
                if isinstance(item, Refused):
                    if not reply.begun:
                        return item
                    yield Failed("RemoteError", f"{self._name}: {item.text}.")
                    return None
                if item is None:
                    break
                yield from reply.add(item, self.options.tier)
            problem = reply.problem()
            if problem and not reply.begun:
                return Refused(problem, again=False)
            yield Failed("RemoteError", f"{self._name}: {problem}.") if problem else done(reply, request, start)
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
