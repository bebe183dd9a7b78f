"""The settings: one pydantic model for ``generation_config.yaml`` and for the flags of the command line.

The text below every field is its meaning, which help texts and ``docs/settings.md`` show (``agent.settings_doc``
reads it when it is wanted, not at every start). A dotted key (``sampling.temperature``) names a field everywhere: in
messages, in ``--set``, in ``fovea settings set``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from agent.values import Policy, Scope

DEFAULT_SYSTEM_PROMPT = "You are fovea, a small helpful assistant."
"""What the built-in model was trained with; other models take it as well as any."""


def share(text: str) -> float:
    """``20%``, ``20`` or ``0.2`` as a share of 1.

    Raises:
        ValueError: It is none of them, or a bare ``1``, which reads as one per cent beside a bare ``2``.
    """
    if text.strip() == "1":
        raise ValueError("`1` may mean 1% or 100%; write the one you mean")
    try:
        number = float(text.strip().removesuffix("%"))
    except ValueError as error:
        raise ValueError(f"`{text}` is not a share; write 20% or 0.2") from error
    return number / 100 if text.strip().endswith("%") else share_of(number)


def share_of(number: float) -> float:
    """``20`` or ``0.2`` as a share of 1: what is more than 1 is meant in percent."""
    return number / 100 if number > 1 else float(number)


class Section(BaseModel):
    """Base of all sections: unknown keys are errors, values are never guessed from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EngineSettings(Section):
    """How models are run on this machine."""

    ctx: Annotated[int, Field(ge=0, le=4_194_304)] = 0
    """Context in tokens. 0: as long as the model was trained for, at most 4096."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 512
    """Tokens read in one batch of a prefill."""
    n_parallel: Annotated[int, Field(ge=1, le=16)] = 4
    """Continuations that can be written at once."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """Threads of an engine. 0: chosen by measurement."""
    n_gpu_layers: Annotated[int, Field(ge=-1)] = 0
    """Layers kept on the GPU; -1 means all of them. Needs a llama.cpp built for it."""
    tensor_split: tuple[Annotated[float, Field(ge=0)], ...] = ()
    """How the layers are divided between several GPUs, for example [0.6, 0.4]."""


class SamplingSettings(Section):
    """How the next token is drawn."""

    temperature: Annotated[float, Field(ge=0, le=10)] = 0.3
    """0 always takes the likeliest token; higher is more varied."""
    top_k: Annotated[int, Field(ge=0)] = 40
    """Only the k likeliest tokens. 0: off."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Only the likeliest tokens that together have this probability. 1: off."""
    min_p: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Only tokens at least this likely compared with the likeliest. 0: off."""
    repetition_penalty: Annotated[float, Field(gt=0, le=10)] = 1.1
    """Above 1, recent tokens become less likely. 1: off."""
    repetition_window: Annotated[int, Field(ge=0)] = 64
    """How many recent tokens the penalty looks at. 0: none."""
    seed: Annotated[int, Field(ge=-1, le=2**32 - 1)] = -1
    """Same seed, same text. -1: a new seed for every reply."""
    max_tokens: Annotated[int, Field(ge=1)] = 512
    """Longest reply in tokens."""


class PolicySettings(Section):
    """Who decides a closer look, and how much of it there may be."""

    mode: Policy = Policy.ASK
    """auto: fovea looks closer by itself; ask: it proposes; manual: only when told to; off: never."""
    scope: Scope = Scope.TURN
    """What a closer look covers: turn (the whole reply) or span (the doubtful part)."""
    budget: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the tokens that may be spent at the high tier (0.2 is about one token in five)."""
    controller: bool = True
    """Keep the real spending near the budget by moving the threshold slowly."""
    faithful: bool = False
    """In auto: write exactly the high tier's own text (speculative decoding) instead of using the gate."""
    calibration: str = ""
    """File of a density model made by `fovea calibrate`; empty means the default rule."""

    @field_validator("budget", mode="before")
    @classmethod
    def _percent(cls, value: object) -> object:
        """``20%`` and ``20`` as well; a number 1 (of a file) is the whole it has always been."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return share_of(value)
        return share(value) if isinstance(value, str) else value

    @field_validator("mode", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        """YAML reads a bare ``off`` as false."""
        return Policy.OFF if value is False else value


class MemorySettings(Section):
    """What is recalled and added to the prompt."""

    recall: bool = True
    """Look up notes and the knowledge base for every message."""
    conversations: bool = True
    """Recall past conversations too. Off: the memory forgets what it holds of them; the conversations stay."""
    passages: Annotated[int, Field(ge=0, le=50)] = 4
    """Most passages added to one message."""
    budget_tokens: Annotated[int, Field(ge=0)] = 600
    """Most tokens of recalled passages in the prompt."""
    notes_tokens: Annotated[int, Field(ge=0)] = 300
    """Most tokens of standing notes in the prompt."""
    deadline_s: Annotated[float, Field(gt=0, le=60)] = 1.5
    """Seconds after which the reply starts without passages that are not found yet."""
    embedding_model: str = "all-MiniLM-L6-v2"
    """Finds passages by meaning: this name, a folder, a name in the Hugging Face cache, or `none` for words only."""
    vector_index: str = "auto"
    """`auto`, `exact`, `chroma`, or the address of a Chroma server (http://host:port)."""


class FolderSettings(Section):
    """Where things are kept. The variables FOVEA_DATA and FOVEA_CACHE win over these."""

    data: Path | None = None
    """Conversations, notes, knowledge base and log. Empty: the platform's own place."""
    cache: Path | None = None
    """Tiers made on this machine and other things that can be made again. Empty: the platform's own place."""


class ScreenSettings(Section):
    """How the chat looks."""

    theme: str = "fovea-dark"
    """Name of the colour theme."""
    tour: bool = True
    """Offer the one-minute tour (switched off once it was seen or skipped)."""
    keys: dict[str, str] = {}
    """Own key bindings: id of the action to key, for example {look-closer: ctrl+l}."""


class TierSettings(Section):
    """A tier that needs more said than its file."""

    path: str = ""
    """A GGUF file, or a folder of safetensors."""
    url: str = ""
    """A server that speaks the OpenAI protocol, such as http://localhost:8000/v1; nothing is sent anywhere else."""
    model: str = ""
    """The model's name on that server."""
    options: dict[str, str] = {}
    """More for the engine, for example {quant: nf4, device: cuda} or {key_env: MY_KEY, silence_s: 60}."""

    @field_validator("options", mode="before")
    @classmethod
    def _numbers_are_words(cls, value: object) -> object:
        """YAML reads ``silence_s: 60`` as a number."""
        if not isinstance(value, dict):
            return value
        return {key: str(item) if type(item) in (int, float) else item for key, item in value.items()}


class Settings(Section):
    """Everything that can be set."""

    model: str = "pocket"
    """`pocket` (built in), a name of `fovea models list`, a 16-bit GGUF file, or a folder of safetensors."""
    tiers: dict[str, str | TierSettings] = {}
    """Tiers that are not found or made by themselves, for example {4-bit: a.gguf, 16-bit: b.gguf}. A tier may be a
    mapping with path, or with url and model for a server; servers are added to the model's own tiers."""
    tier: str = ""
    """The tier that speaks. Empty: the lowest one that is not slower than a higher one."""
    high: str = ""
    """The tier a closer look uses. Empty: the gate and its proposals use the highest that is no server,
    Ctrl+R the next higher one."""
    system_prompt: str = DEFAULT_SYSTEM_PROMPT
    """The first message of every conversation."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much is written to the log."""
    engine: EngineSettings = EngineSettings()
    sampling: SamplingSettings = SamplingSettings()
    policy: PolicySettings = PolicySettings()
    memory: MemorySettings = MemorySettings()
    folders: FolderSettings = FolderSettings()
    screen: ScreenSettings = ScreenSettings()

    def with_values(self, changes: dict[str, Any]) -> Settings:
        """A copy with dotted keys replaced, validated like a file.

        Raises:
            SettingsError: A key is unknown or a value has the wrong type.
        """
        from agent.settings_file import validated, with_dotted

        return validated(with_dotted(self.model_dump(mode="json"), changes))
