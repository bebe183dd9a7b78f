"""What clients may send: the fields of the OpenAI protocol that mean something here, and ``fovea``.

Fields that are not listed are ignored and named in the answer (``fovea.ignored``), so that a client never believes in
something that did not happen. Fields that would change what the answer is (tools, forced JSON) are refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.values import Policy

MAX_TEXT = 4_000_000
REFUSED = {
    "tools": "tools", "functions": "functions", "audio": "audio", "response_format": "forced formats",
    "logit_bias": "logit_bias", "suffix": "suffix", "echo": "echo", "prediction": "prediction",
}  # fmt: skip
"""Fields that are refused unless they are empty."""
HARMLESS: tuple[Any, ...] = ({}, [], None, False, {"type": "text"})
"""Values of refused fields that mean "nothing special"."""


# A text with a limit is checked for lone halves of surrogate pairs as well, which no tokenizer could take.
Text = Annotated[str, Field(max_length=MAX_TEXT)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="ignore", frozen=True, use_attribute_docstrings=True)


class FoveaOptions(Body):
    """How much precision this request may have. All fields are optional."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    tier: Annotated[str, Field(max_length=100)] | None = None
    """Write the whole reply at this tier, for example 16-bit."""
    policy: Policy | None = None
    """auto: look closer where meaning is dense; ask, manual, off: stay at the speaking tier."""
    budget: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the tokens that may be spent at the high tier."""
    faithful: bool | None = None
    """With policy auto: write exactly the high tier's own text."""
    provenance: bool = False
    """Add to every piece which tier wrote it, why, and how dense it was."""


class TextPart(Body):
    """A piece of a message."""

    type: Literal["text"]
    text: Text


class ChatMessage(Body):
    """One message."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=1000)]

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Body):
    """Options of a stream."""

    include_usage: bool = False


class Writing(Body):
    """What chat completions and completions have in common."""

    model: Annotated[str, Field(max_length=300)] = ""
    """Name from /v1/models. `NAME` decides per request by policy, `NAME:TIER` writes at that tier."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Field(ge=0, lt=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = None
    n: Annotated[int, Field(ge=1, le=16)] = 1
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    fovea: FoveaOptions = FoveaOptions()

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, given: Any) -> Any:
        for name, text in REFUSED.items() if isinstance(given, dict) else ():
            if name in given and given[name] not in HARMLESS:
                raise ValueError(f"{text} cannot be used here: this server writes text only")
        return given

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the reply."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the token counts."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatBody(Writing):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0


class CompletionBody(Writing):
    """POST /v1/completions. The prompt is sent as one user message: a ladder speaks through its chat template."""

    prompt: Text | Annotated[list[Text], Field(min_length=1, max_length=1)]

    @property
    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


class EmbeddingBody(Body):
    """POST /v1/embeddings: by the knowledge base's embedding model."""

    model: Annotated[str, Field(max_length=300)] = ""
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else list(self.input)


def ignored(body: type[Body], given: dict[str, Any]) -> list[str]:
    """Names of fields that were sent and mean nothing here."""
    harmless = {"user", "metadata", "store", "service_tier", *REFUSED}
    known = set(body.model_fields) | harmless
    unknown = (name for name, value in given.items() if name not in known and value not in (None, 0, 0.0))
    # JSON can spell halves of surrogate pairs, which an answer in UTF-8 cannot hold.
    return sorted(name[:100].encode("utf-8", "replace").decode() for name in unknown)[:20]
