"""The OpenAPI description of the server, from the same models that check requests."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from tui.serve.schema import ChatBody, CompletionBody, EmbeddingBody

JsonObject = dict[str, Any]
REF = "#/components/schemas/"

ERROR: JsonObject = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
USAGE: JsonObject = {
    "type": "object",
    "required": ["prompt_tokens", "total_tokens"],
    "properties": {
        name: {"type": "integer", "minimum": 0} for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    },
}
SERVER_SENT: JsonObject = {
    "type": "object",
    "description": "Chunks in the OpenAI protocol's form; the last data is [DONE].",
    "properties": {"data": {"type": "string"}},
}
USED: JsonObject = {
    "type": "object",
    "description": "What was used: tokens by tier, decoder, policy, budget, seconds, notices, ignored fields.",
    "required": ["decoder", "tiers", "high_tokens", "read_s", "write_s", "notices", "ignored"],
    "properties": {
        "decoder": {"type": "string", "enum": ["plain", "gated", "speculative"]},
        "tiers": {"type": "object", "additionalProperties": {"type": "integer"}},
        "high_tokens": {"type": "integer"},
        "read_s": {"type": "number"},
        "write_s": {"type": "number"},
        "notices": {"type": "array", "items": {"type": "string"}},
        "ignored": {"type": "array", "items": {"type": "string"}},
    },
}


def description() -> JsonObject:
    """The whole document."""
    schemas: JsonObject = {"Error": ERROR, "Usage": USAGE, "Used": USED}
    for model in (ChatBody, CompletionBody, EmbeddingBody):
        schemas |= _schemas(model)
    for name, content in (("ChatCompletion", "message"), ("Completion", "text")):
        schemas[name] = _completion(content)
    schemas["Model"] = _object(id="string", object="string", created="integer", owned_by="string")
    schemas["Models"] = _object(object="string") | {"required": ["object", "data"]}
    schemas["Models"]["properties"]["data"] = {"type": "array", "items": {"$ref": REF + "Model"}}
    schemas["Embeddings"] = _object(object="string", model="string") | {"required": ["object", "data", "usage"]}
    schemas["Embeddings"]["properties"] |= {"data": {"type": "array"}, "usage": {"$ref": REF + "Usage"}}
    schemas["Health"] = _object(status="string", model="string")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fovea",
            "version": "1",
            "description": "A ladder of one model at several precisions behind the OpenAI protocol.",
        },
        "paths": {
            "/v1/chat/completions": {"post": _writing("Write a reply to a conversation", "ChatBody", "ChatCompletion")},
            "/v1/completions": {"post": _writing("Write a reply to one message", "CompletionBody", "Completion")},
            "/v1/embeddings": {"post": _posting("Embed texts", "EmbeddingBody", "Embeddings", ("501", "503"))},
            "/v1/models": {"get": _getting("List the ladder and its tiers", "Models")},
            "/v1/models/{name}": {
                "get": _getting("Describe one of them", "Model", ("404",))
                | {"parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]}
            },
            "/health": {"get": _getting("Say whether the server lives", "Health")},
            "/metrics": {"get": {"summary": "Counters for Prometheus", "responses": {"200": _text("text/plain")}}},
        },
        "components": {"schemas": schemas, "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{}, {"token": []}],
    }


def _schemas(model: type[BaseModel]) -> JsonObject:
    """A model's schema and those it refers to."""
    schema = model.model_json_schema(ref_template=REF + "{model}")
    inner: JsonObject = schema.pop("$defs", {})
    return inner | {model.__name__: schema}


def _object(**properties: str) -> JsonObject:
    return {
        "type": "object",
        "required": list(properties),
        "properties": {name: {"type": kind} for name, kind in properties.items()},
    }


def _completion(content: str) -> JsonObject:
    choice = _object(index="integer", finish_reason="string")
    choice["required"].append(content)
    body = _object(id="string", object="string", created="integer", model="string")
    body["required"] += ["choices", "usage", "fovea"]
    body["properties"] |= {
        "choices": {"type": "array", "items": choice},
        "usage": {"$ref": REF + "Usage"},
        "fovea": {"$ref": REF + "Used"},
    }
    return body


def _json(name: str, text: str) -> JsonObject:
    return {"description": text, "content": {"application/json": {"schema": {"$ref": REF + name}}}}


def _text(kind: str) -> JsonObject:
    return {"description": "Text", "content": {kind: {"schema": {"type": "string"}}}}


def _errors(*codes: str) -> JsonObject:
    return {code: _json("Error", "Refused or failed") for code in ("401", "403", *codes)}


def _posting(summary: str, body: str, answer: str, codes: tuple[str, ...]) -> JsonObject:
    content = {"application/json": {"schema": {"$ref": REF + body}}}
    answers = {"200": _json(answer, "Done")} | _errors("400", "413", "415", *codes)
    return {"summary": summary, "requestBody": {"required": True, "content": content}, "responses": answers}


def _writing(summary: str, body: str, answer: str) -> JsonObject:
    operation = _posting(summary, body, answer, ("404", "500", "503"))
    operation["responses"]["200"]["content"]["text/event-stream"] = {"schema": SERVER_SENT}
    return operation


def _getting(summary: str, answer: str, codes: tuple[str, ...] = ()) -> JsonObject:
    return {"summary": summary, "responses": {"200": _json(answer, "Found")} | _errors(*codes)}
