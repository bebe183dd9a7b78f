"""Why a server did not answer, in words a person can act on; never the request, never the key."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from backends.remote.chunks import clean, error_text
from backends.remote.options import RemoteOptions

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


@dataclass(frozen=True, slots=True)
class Refused:
    """The server answered with an error status, or not at all."""

    text: str
    again: bool
    wait_s: float = 0.0
    about_options: bool = False
    """It may be about the optional fields (log-probabilities, filters, usage): worth trying without them."""


def refusal(error: Exception, options: RemoteOptions) -> Refused:
    """What an exception of the client means, in words."""
    import openai

    if isinstance(error, openai.APITimeoutError) and "Connect" not in type(error.__cause__).__name__:
        return Refused(f"nothing came for {options.silence_s:g} s", again=False)
    if isinstance(error, openai.APIConnectionError):
        return Refused(f"cannot be reached ({_root(error)})", again=True)
    if isinstance(error, openai.APIStatusError):
        return _status(error, options)
    name = type(error).__name__
    if "Timeout" in name:
        return Refused(f"nothing came for {options.silence_s:g} s", again=False)
    if name in {"RemoteProtocolError", "ReadError", "IncompleteRead"}:
        return Refused("it closed the connection in the middle of the reply", again=True)
    return Refused(f"it answers in a way that cannot be read ({name})", again=False)


def _status(error: Any, options: RemoteOptions) -> Refused:
    """What an HTTP error status means."""
    code = int(error.status_code)
    if code in {401, 403}:
        return Refused(f"it refuses the key ({code}); set {options.key_env} or put it into the keyring", again=False)
    if 300 <= code < 400:
        return Refused("it points to another address, which is not followed; correct the url", again=False)
    if code == 404:
        return Refused(f"it knows no model {options.model!r}, or the url lacks /v1 (404)", again=False)
    wait = 0.0
    with suppress(ValueError, TypeError):
        wait = max(0.0, float(error.response.headers.get("retry-after", "0")))
    text = f"it answers {code}: {error_text(error.body)}"
    return Refused(text, again=code in RETRIED, wait_s=wait, about_options=code in {400, 422})


def _root(error: BaseException) -> str:
    """The innermost cause, as one short line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return clean(str(error), 100) or type(error).__name__
