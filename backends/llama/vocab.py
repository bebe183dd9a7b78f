"""Text to tokens and back, and the model's own chat template."""

from __future__ import annotations

import ctypes
import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from backends.errors import BackendError, LoadError
from backends.llama.library import library
from backends.types import Message

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Used for models whose file has no chat template."""


class Vocab:
    """Tokenizer and chat template of one loaded model."""

    def __init__(self, model: Any) -> None:
        self._llama = library()
        self._vocab = self._llama.llama_model_get_vocab(model)
        if not self._vocab:
            raise LoadError("The model file has no vocabulary.")
        self.size: int = self._llama.llama_vocab_n_tokens(self._vocab)
        raw = self._llama.llama_model_chat_template(model, None)
        self.template = raw.decode("utf-8", "replace") if raw else ""
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def tokenize(self, text: str, *, special: bool = False, bos: bool = False) -> list[int]:
        """Tokens of ``text``; ``special`` reads control tokens written out in it, ``bos`` adds the model's start."""
        data = text.encode("utf-8", "surrogatepass") if text else b""
        room = len(data) + 8
        for _ in range(2):
            buffer = (ctypes.c_int32 * room)()
            count = self._llama.llama_tokenize(self._vocab, data, len(data), buffer, room, bos, special)
            if count >= 0:
                return list(buffer[:count])
            room = -count
        return []

    def piece(self, token: int) -> bytes:
        """Bytes of a token; empty for control tokens, and for numbers that are none of this vocabulary."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        if not 0 <= token < self.size:  # native code ends the process over them
            return b""
        room = 64
        buffer = ctypes.create_string_buffer(room)
        count = self._llama.llama_token_to_piece(self._vocab, token, buffer, room, 0, False)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = self._llama.llama_token_to_piece(self._vocab, token, buffer, -count, 0, False)
        piece = buffer.raw[: max(count, 0)]
        self._pieces[token] = piece
        return piece

    def is_end(self, token: int) -> bool:
        """Whether a token ends a reply."""
        known = self._ends.get(token)
        if known is None:
            known = self._ends[token] = bool(self._llama.llama_vocab_is_eog(self._vocab, token))
        return known

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of the conversation, ready for the assistant's reply.

        The whole rendering is tokenized at once (the same tokens llama.cpp's own programs get), except for messages
        that contain the text of a control token or carry their own tokens: those are rendered as marks and put back
        as tokens wherever the template printed them, so that a "<|im_end|>" in a document stays harmless text and a
        reply keeps the very tokens that are in the cache.

        Raises:
            LoadError: the template refuses these messages altogether.
            BackendError: the template does not print what the person wrote.
        """
        nonce = secrets.token_hex(8)  # plain letters: a template may escape or trim what it prints
        marks: dict[str, Message] = {}
        chat = []
        for message in messages:
            content = message.content
            if self._needs_care(message):
                content = f"{nonce}m{len(marks)}m"
                marks[content] = message
            chat.append({"role": message.role, "content": content})
        text = self._render(chat)
        if not marks:
            return self.tokenize(text, special=True, bos=True)
        parts = re.split(f"({nonce}m[0-9]+m)", text)  # text and marks in turn
        if any(m.role == "user" for mark, m in marks.items() if mark not in parts):
            raise BackendError(
                "The model's chat template leaves out a message that contains the text of a control token; "
                "write it without that text, or use another model."
            )
        tokens: list[int] = []
        for part in parts:
            if marked := marks.get(part):
                tokens += marked.tokens or self.tokenize(marked.content)
            else:
                tokens += self.tokenize(part, special=True, bos=not tokens)
        return tokens

    def _needs_care(self, message: Message) -> bool:
        if message.tokens:
            return True
        return self.tokenize(message.content) != self.tokenize(message.content, special=True)

    def _render(self, messages: list[dict[str, str]]) -> str:
        """The template's text; a system message goes into the first user message where the template refuses it.

        Raises:
            LoadError: the template refuses these messages altogether.
        """
        from jinja2 import TemplateError

        try:
            return self._fill(messages)
        except TemplateError as error:
            merged = _system_merged(messages)
            if merged == messages:
                raise LoadError(f"The model's chat template refuses this conversation: {error}.") from error
        try:
            return self._fill(merged)
        except TemplateError as error:
            raise LoadError(f"The model's chat template refuses this conversation: {error}.") from error

    def _fill(self, messages: list[dict[str, str]]) -> str:
        bos, eos = (self._text(getter(self._vocab)) for getter in self._edges)
        text: str = self._compiled.render(
            messages=messages,
            add_generation_prompt=True,
            bos_token="",  # added as a token, once
            eos_token=eos,
            tools=None,
            strftime_now=lambda form: datetime.now().strftime(form),
        )
        return text.removeprefix(bos) if bos else text

    @property
    def _edges(self) -> tuple[Any, Any]:
        return self._llama.llama_vocab_bos, self._llama.llama_vocab_eos

    def _text(self, token: int) -> str:
        raw = self._llama.llama_vocab_get_text(self._vocab, token) if token >= 0 else b""
        return raw.decode("utf-8", "replace") if raw else ""

    @cached_property
    def _compiled(self) -> Any:
        """The template, in Jinja's sandbox: it comes from a downloaded file."""
        from jinja2 import TemplateError
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

        def refuse(reason: str) -> str:
            raise TemplateError(reason)

        environment.globals["raise_exception"] = refuse
        try:
            return environment.from_string(self.template or CHATML)
        except TemplateError as error:
            raise LoadError(f"The model's chat template cannot be read ({error}).") from error


def _system_merged(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same conversation without a system role: its text stands at the beginning of the first user message."""
    if len(messages) < 2 or messages[0]["role"] != "system" or messages[1]["role"] != "user":
        return messages
    first = {"role": "user", "content": messages[0]["content"] + "\n\n" + messages[1]["content"]}
    return [first, *messages[2:]]
