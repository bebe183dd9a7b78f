"""Text and tokens for the transformers engine, with the content of messages kept apart from control tokens.

A chat template is rendered as one string, and a "<|im_end|>" inside a message would then be tokenized as the real
thing. So texts of special tokens inside contents are replaced by placeholders before rendering; afterwards special
tokens are looked for only in what is left, and everything between two of them is tokenized as plain text with the
contents put back. Where no content holds such a text (nearly always) the rendered string is tokenized in one go.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

from backends.errors import BackendError
from backends.types import Message

END_TEXTS = frozenset(
    {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|end_of_text|>"}
    | {"<end_of_turn>", "<|end|>", "<|return|>", "</s>"}
)
"""Special tokens that end a reply in common chat formats, for checkpoints that forget to list them."""

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Used for checkpoints without a template, as the llama.cpp engine does."""

BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class Vocabulary:
    """A Hugging Face tokenizer behind the text part of a Stepper.

    Args:
        tokenizer: from ``AutoTokenizer``.
        n_vocab: rows of the model's output head; may exceed the tokenizer's own size.
        end_ids: tokens the checkpoint's generation settings list as ends.
    """

    def __init__(self, tokenizer: Any, n_vocab: int, end_ids: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._n_vocab = n_vocab
        added = tokenizer.added_tokens_decoder
        self._special = {token.content: index for index, token in added.items() if token.special}
        self._plain_added = {index: token.content.encode() for index, token in added.items() if not token.special}
        self._control = frozenset(self._special.values())
        self._ends = frozenset(end_ids) | {i for text, i in self._special.items() if text in END_TEXTS}
        if tokenizer.eos_token_id is not None:
            self._ends |= {tokenizer.eos_token_id}
        longest_first = sorted(self._special, key=len, reverse=True)
        self._special_re = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        self._byte_level = _is_byte_level(tokenizer)
        self._from_printable = {char: byte for byte, char in _printable_bytes().items()}

    @property
    def has_template(self) -> bool:
        """Whether the checkpoint brings a chat template."""
        return bool(self._tokenizer.chat_template)

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokens of a text, nothing added around it."""
        return list(self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=not special))

    def is_end(self, token: int) -> bool:
        """Whether the token ends a reply."""
        return token in self._ends

    def piece(self, token: int) -> bytes:
        """Bytes of one token; control tokens and ids past the tokenizer give none."""
        if token in self._control:
            return b""
        if token in self._plain_added:
            return bytes(self._plain_added[token])
        name = self._tokenizer.convert_ids_to_tokens(token) if 0 <= token < self._n_vocab else None
        if not isinstance(name, str):
            return b""
        if self._byte_level:
            return bytes(self._from_printable[c] for c in name if c in self._from_printable)
        byte = BYTE_TOKEN.fullmatch(name)
        return bytes([int(byte[1], 16)]) if byte else name.replace("\u2581", " ").encode()

    def chat_prompt(self, messages: Sequence[Message]) -> list[int]:
        """Tokens of a conversation, ready for the reply. Raises BackendError when the template refuses it."""
        hidden: dict[str, str | tuple[int, ...]] = {}
        nonce = secrets.token_hex(8)

        def hide(what: str | tuple[int, ...]) -> str:
            name = f"\ue000{nonce}.{len(hidden)}\ue001"
            hidden[name] = what
            return name

        chat = []
        for message in messages:
            content = message.content
            if message.tokens:
                content = hide(message.tokens)
            elif self._special_re:
                content = self._special_re.sub(lambda match: hide(match[0]), content)
            chat.append({"role": message.role, "content": content})
        rendered = self._render(chat)
        return self._assemble(rendered, hidden) if hidden else self.tokenize(rendered, special=True)

    def _render(self, chat: list[dict[str, str]]) -> str:
        """The conversation as one string, through the checkpoint's template or ChatML."""
        if not self.has_template:
            start = self._tokenizer.bos_token or ""
            return start + self._apply(chat, chat_template=CHATML)
        try:
            return self._apply(chat)
        except Exception as error:  # a template is foreign code in a sandbox: it may raise anything
            first, rest = chat[0], chat[1:]
            if first["role"] != "system" or not rest:
                raise BackendError(f"The model's chat template refused the conversation: {_line(error)}") from error
        # Some templates (Gemma, early Mistral) know no system role: put its text in front of the first message.
        merged = {"role": rest[0]["role"], "content": f"{first['content']}\n\n{rest[0]['content']}"}
        try:
            return self._apply([merged, *rest[1:]])
        except Exception as error:
            raise BackendError(f"The model's chat template refused the conversation: {_line(error)}") from error

    def _apply(self, chat: list[dict[str, str]], **options: str) -> str:
        """The template's rendering (transformers runs it in Jinja's sandbox)."""
        rendered = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **options)
        return str(rendered)

    def _assemble(self, rendered: str, hidden: dict[str, str | tuple[int, ...]]) -> list[int]:
        """Tokens of a rendered conversation in which some contents are hidden behind placeholders."""
        names = "|".join(map(re.escape, hidden))
        specials = self._special_re.pattern if self._special_re else "(?!)"
        ids: list[int] = []
        run = ""
        at = 0
        for match in re.finditer(f"(?P<hidden>{names})|(?P<special>{specials})", rendered):
            run += rendered[at : match.start()]
            at = match.end()
            what = hidden[match[0]] if match["hidden"] else (self._special[match[0]],)
            if isinstance(what, str):
                run += what
                continue
            ids += self._plain(run, first=not ids)
            ids += what
            run = ""
        return ids + self._plain(run + rendered[at:], first=not ids)

    def _plain(self, text: str, *, first: bool) -> list[int]:
        """Tokens of text in which nothing is special, ``first`` when it starts the conversation."""
        if first or self._byte_level or not text:
            return self.tokenize(text)
        # SentencePiece vocabularies put a space before the start of a text; inside a conversation there is none.
        # Encoded behind a line break and with that cut off again, it is not added (transformers does the same).
        newline = self.tokenize("\n")
        ids = self.tokenize("\n" + text)
        return ids[len(newline) :] if ids[: len(newline)] == newline else self.tokenize(text)


def _line(error: Exception) -> str:
    """An error's text as one short line."""
    return " ".join(str(error).split())[:200]


def _is_byte_level(tokenizer: Any) -> bool:
    """Whether token names spell bytes as printable characters (GPT-2, Llama 3, Qwen), not text (SentencePiece)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    return "ByteLevel" in str(decoder)


def _printable_bytes() -> dict[int, str]:
    """Byte -> printable character, the table byte-level BPE writes its vocabulary in (Radford et al. 2019)."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in keep}
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + len(table) - len(keep))
    return table
