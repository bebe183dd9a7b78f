"""How a conversation looks to the pocket model. One place, because training and use must agree to the byte.

The agent mirrors these strings when it packs a prompt; a change here means training again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

END_OF_TEXT = "<|endoftext|>"
IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END)

SYSTEM_PROMPT = "You are fovea, a small helpful assistant."
NOTES_HEADER = "Notes:"
PASSAGES_HEADER = "Passages:"
QUESTION_PREFIX = "Question: "
REFUSAL = "The passages do not contain the answer."
REFUSAL_RU = "В отрывках нет ответа."

# ChatML as Jinja, for tokenizer_config.json and the GGUF metadata. Whitespace control keeps it equal to `render`.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of an example and how much its tokens count in the loss (0..1)."""

    role: str
    text: str
    weight: float = 0.0


def system_prompt(base: str = SYSTEM_PROMPT, notes: Sequence[str] = ()) -> str:
    """The system message: the role, then what is remembered, one line a note."""
    return "\n".join([base, NOTES_HEADER, *(f"- {note}" for note in notes)]) if notes else base


def grounded_question(question: str, passages: Sequence[tuple[str, str]]) -> str:
    """The user message of a question with recalled passages.

    Args:
        question: what was asked.
        passages: (title, text) in the order of their citation numbers, from 1.
    """
    lines = [f"[{number}] ({title}) {text}" for number, (title, text) in enumerate(passages, start=1)]
    return "\n".join([PASSAGES_HEADER, *lines, "", QUESTION_PREFIX + question])


def render(messages: Sequence[Message], *, generation_prompt: bool = False) -> str:
    """The conversation as ChatML text."""
    text = "".join(f"{IM_START}{message.role}\n{message.text}{IM_END}\n" for message in messages)
    return text + f"{IM_START}assistant\n" if generation_prompt else text
