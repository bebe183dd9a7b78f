"""The endpoints, as a Starlette application."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from backends.errors import BackendError, ContextFull
from backends.types import Done, Failed, Message, Request, Step
from tui.serve.guard import Guard
from tui.serve.openapi import description
from tui.serve.replies import Reply, error_object
from tui.serve.schema import Body, ChatBody, CompletionBody, EmbeddingBody, Writing, ignored
from tui.serve.service import Service, UnknownModel
from tui.serve.stream import EventStream, while_connected
from tui.serve.worker import Busy, Job, Worker

MAX_BODY = 8_000_000
"""Bytes of a request body."""
Embed = Callable[[Sequence[str]], "np.typing.NDArray[np.float32]"]
B = TypeVar("B", bound=Body)


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", **details: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_object(message, kind, details.get("param"), details.get("code"))


def make_app(service: Service, *, token: str = "", embed: Embed | None = None, longest_queue: int = 64) -> Starlette:
    """The application.

    Args:
        service: the ladder.
        token: see ``tui.serve.guard``.
        embed: texts to vectors, for /v1/embeddings; without it that answers 501.
        longest_queue: requests that may wait for their turn.
    """
    endpoints = _Endpoints(service, Worker(service.engine, service.metrics, longest_queue), embed)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(endpoints.worker.close)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", endpoints.guarded(endpoints.chat), methods=["POST"]),
            Route("/v1/completions", endpoints.guarded(endpoints.completion), methods=["POST"]),
            Route("/v1/embeddings", endpoints.guarded(endpoints.embeddings), methods=["POST"]),
            Route("/v1/models", endpoints.guarded(endpoints.models)),
            Route("/v1/models/{name:path}", endpoints.guarded(endpoints.model)),
            Route("/health", endpoints.health),
            Route("/metrics", endpoints.metrics),
            Route("/openapi.json", endpoints.openapi),
        ],
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={HTTPException: _http_error, Exception: _fault},
        lifespan=lifespan,
    )


class _Endpoints:
    """One method per path."""

    def __init__(self, service: Service, worker: Worker, embed: Embed | None) -> None:
        self.service = service
        self.worker = worker
        self._embed = embed

    def guarded(
        self, endpoint: Callable[[HttpRequest], Awaitable[Response]]
    ) -> Callable[[HttpRequest], Awaitable[Response]]:
        """An endpoint whose refusals become answers, counted."""

        async def answer(request: HttpRequest) -> Response:
            try:
                response = await endpoint(request)
            except Refusal as refusal:
                response = JSONResponse(refusal.body, refusal.status)
                if refusal.status == 503:
                    response.headers["retry-after"] = "2"
            except ClientDisconnect:
                self.service.metrics.add("fovea_disconnects_total")
                response = Response(status_code=499)
            # What a client makes up must not become a counter of its own.
            path = "/v1/models/*" if "name" in request.path_params else request.scope["path"]
            self.service.metrics.add("fovea_requests_total", path=path, status=str(response.status_code))
            return response

        return answer

    # Writing ------------------------------------------------------------------------------------------------------

    async def chat(self, request: HttpRequest) -> Response:
        """POST /v1/chat/completions."""
        body, given = await _read(request, ChatBody)
        roles = {"developer": "system"}
        messages = [Message(roles.get(m.role, m.role), m.text) for m in body.messages]
        reply = self._reply(body, given, chat=True)
        reply.logprobs = body.top_logprobs if body.logprobs else None
        return await self._write(request, body, messages, reply)

    async def completion(self, request: HttpRequest) -> Response:
        """POST /v1/completions."""
        body, given = await _read(request, CompletionBody)
        return await self._write(request, body, [Message("user", body.text)], self._reply(body, given, chat=False))

    def _reply(self, body: Writing, given: dict[str, Any], *, chat: bool) -> Reply:
        name = body.model or self.service.model
        return Reply(name, chat, ignored(type(body), given), provenance=body.fovea.provenance, stops=body.stops)

    async def _write(self, http: HttpRequest, body: Writing, messages: list[Message], reply: Reply) -> Response:
        try:
            tier = self.service.resolve(body)
        except UnknownModel as error:
            raise Refusal(404, str(error), param="model", code="model_not_found") from error
        if body.n > self.service.most:
            raise Refusal(
                400, f"At most {self.service.most} choices at once (engine.n_parallel), not {body.n}", param="n"
            )

        def prepare() -> Request:
            reply.planned = self.service.plan(body, messages, tier)
            return reply.planned.request

        try:
            job = self.worker.submit(prepare)
        except Busy as error:
            raise Refusal(503, "Too many requests are waiting; try again in a moment", "overloaded_error") from error
        if body.stream:
            return EventStream(self._stream(job, body, reply))
        work = asyncio.create_task(self._collect(job, reply))
        if not await while_connected(http, work):
            raise ClientDisconnect
        return JSONResponse(work.result())

    async def _collect(self, job: Job, reply: Reply) -> dict[str, Any]:
        """The whole answer. Cancelling this cancels the job."""
        try:
            async for event in job.listen():
                if isinstance(event, Failed):
                    raise _failure(event)
                if isinstance(event, Done):
                    self.service.count(event, reply.steps)
                    return reply.whole(event)
                reply.take(event)
        except (BackendError, ValueError) as error:
            raise _failure(error) from error
        except asyncio.CancelledError:
            self.worker.cancel(job)
            raise
        raise Refusal(500, "The engine ended without a result", "server_error")

    async def _stream(self, job: Job, body: Writing, reply: Reply) -> AsyncIterator[dict[str, Any]]:
        """The chunks of a streamed answer; an error becomes the last one."""

        def worth_telling(step: Step) -> bool:
            return bool(step.text) or reply.logprobs is not None or reply.provenance

        finished = False
        try:
            for seq in range(body.n):
                yield reply.first(seq)
            async for event in job.listen():
                if isinstance(event, Failed):
                    finished = True
                    yield _failure(event).body
                elif isinstance(event, Done):
                    finished = True
                    self.service.count(event, reply.steps)
                    for step in filter(worth_telling, reply.rest()):
                        yield reply.piece(step)
                    for seq in range(body.n):
                        yield reply.last(seq, event)
                    if body.with_usage:
                        yield reply.usage_chunk(event)
                else:
                    for step in filter(worth_telling, reply.take(event)):
                        yield reply.piece(step)
        except (BackendError, ValueError) as error:
            finished = True
            yield _failure(error).body
        finally:
            if not finished:
                self.worker.cancel(job)
                self.service.metrics.add("fovea_disconnects_total")

    # The rest -----------------------------------------------------------------------------------------------------

    async def embeddings(self, request: HttpRequest) -> Response:
        """POST /v1/embeddings."""
        body, _ = await _read(request, EmbeddingBody)
        if self._embed is None:
            raise Refusal(501, "Embeddings need fovea with its `rag` extra", "not_supported")
        try:
            vectors = await run_in_threadpool(self._embed, body.texts)
        except Exception as error:  # the library raises many kinds; none of them may end the server
            raise Refusal(503, f"The embedding model cannot be used: {_line(error)}", "server_error") from error
        words = sum(len(text.split()) for text in body.texts)
        data = [
            {"object": "embedding", "index": i, "embedding": _vector(row, body.encoding_format)}
            for i, row in enumerate(vectors)
        ]
        usage = {"prompt_tokens": words, "total_tokens": words}
        return JSONResponse({"object": "list", "data": data, "model": body.model, "usage": usage})

    async def models(self, request: HttpRequest) -> Response:
        """GET /v1/models."""
        return JSONResponse({"object": "list", "data": [_model(name) for name in self.service.models()]})

    async def model(self, request: HttpRequest) -> Response:
        """GET /v1/models/NAME."""
        name = request.path_params["name"]
        if name not in self.service.models():
            raise Refusal(404, f"There is no model `{name}`", param="model", code="model_not_found")
        return JSONResponse(_model(name))

    async def health(self, request: HttpRequest) -> Response:
        """GET /health."""
        return JSONResponse({"status": "ok", "model": self.service.model, "tiers": self.service.ladder.loaded()})

    async def metrics(self, request: HttpRequest) -> Response:
        """GET /metrics."""
        return PlainTextResponse(self.service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def openapi(self, request: HttpRequest) -> Response:
        """GET /openapi.json."""
        return JSONResponse(description())


async def _read(request: HttpRequest, kind: type[B]) -> tuple[B, dict[str, Any]]:
    """The body as a value, and as it was sent. Raises Refusal."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, "Send the body as application/json")
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > MAX_BODY:
            raise Refusal(413, f"The body is larger than {MAX_BODY // 1_000_000} MB")
    try:
        given = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"The body is not JSON: {_line(error)}") from error
    if not isinstance(given, dict):
        raise Refusal(400, "The body is not a JSON object")
    try:
        return kind.model_validate(given), given
    except ValidationError as error:
        message, param = _first_problem(error)
        raise Refusal(400, message, param=param) from error


def _first_problem(error: ValidationError) -> tuple[str, str]:
    """The first thing wrong with a body: a sentence, and the field."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # Between the names of fields stand pydantic's names of the types it tried.
    named = [str(part) for part in first["loc"] if isinstance(part, int) or (part.isidentifier() and part != "str")]
    where = ".".join(named)[:200]
    # What our own checks say comes with pydantic's name for the kind of error.
    return f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"[:500], where


def _failure(cause: Failed | Exception) -> Refusal:
    """What an engine's failure means to a client."""
    kind = cause.kind if isinstance(cause, Failed) else type(cause).__name__
    text = cause.text if isinstance(cause, Failed) else str(cause)
    if kind == ContextFull.__name__:
        return Refusal(400, text, param="messages", code="context_length_exceeded")
    lost = kind in {"HostDied", "HostError", "LoadError", "RemoteError", "Cancelled"}
    return Refusal(503 if lost else 500, text or kind, "server_error")


async def _http_error(request: HttpRequest, error: Exception) -> Response:
    """No such path, or not this way."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    message = {404: "There is no such path", 405: "This path does not take this method"}.get(status, "No")
    return JSONResponse(error_object(message, "invalid_request_error"), status, dict(headers or {}))


async def _fault(request: HttpRequest, error: Exception) -> Response:
    """A fault of the server itself; the details go to its log, not to the client."""
    return JSONResponse(error_object("Something went wrong inside the server", "server_error"), 500)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "fovea"}


def _vector(row: Any, encoding: str) -> Any:
    values = np.asarray(row, dtype="<f4")
    return base64.b64encode(values.tobytes()).decode() if encoding == "base64" else [float(v) for v in values]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
