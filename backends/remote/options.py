"""Where a remote tier is, how long to wait for it, and where its key comes from."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from backends.errors import RemoteError
from backends.types import TierSpec

KEYRING_SERVICE = "fovea"
KEY_VARIABLE = "FOVEA_REMOTE_KEY"
"""Environment variable looked at when a tier names none of its own."""

CONNECT_S, SILENCE_S, BACKOFF_S = 5.0, 120.0, 0.5
TRIES, LOGPROBS = 3, 5


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """One remote tier."""

    tier: str
    url: str
    """Base address, such as ``http://localhost:8000/v1``."""
    model: str
    key_env: str = KEY_VARIABLE
    """Name of the environment variable that holds the key; the system keyring is asked where it is not set."""
    connect_s: float = CONNECT_S
    silence_s: float = SILENCE_S
    """Longest wait for the next piece of a reply (the first one includes reading the prompt)."""
    tries: int = TRIES
    backoff_s: float = BACKOFF_S
    """Wait before the second try; doubled for each further one."""
    logprobs: int = LOGPROBS
    """Top log-probabilities to ask for; 0 for none."""

    @property
    def host(self) -> str:
        """Host and port, for messages; never anything secret."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def encrypted_or_local(self) -> bool:
        """Whether the way to the server cannot be read by others."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" or is_loopback(parts.hostname or "")

    @classmethod
    def of(cls, tier: TierSpec) -> RemoteOptions:
        """From a tier's settings.

        Raises:
            RemoteError: the address or a number is not usable.
        """
        given = tier.options
        url = given.get("url", "").rstrip("/")
        _check_url(tier.name, url)
        return cls(
            tier=tier.name,
            url=url,
            model=given.get("model", ""),
            key_env=given.get("key_env", KEY_VARIABLE),
            connect_s=_number(tier, "connect_s", CONNECT_S),
            silence_s=_number(tier, "silence_s", SILENCE_S),
            tries=max(1, int(_number(tier, "tries", TRIES))),
            backoff_s=_number(tier, "backoff_s", BACKOFF_S),
            logprobs=min(20, int(_number(tier, "logprobs", LOGPROBS))),
        )

    def key(self) -> str:
        """The key from the environment or the keyring; empty when there is none. Not kept anywhere."""
        found = os.environ.get(self.key_env, "")
        if found:
            return found
        try:
            import keyring
        except ImportError:
            return ""
        with suppress(Exception):  # a locked or missing keyring means no key; the server will say what it wants
            return keyring.get_password(KEYRING_SERVICE, self.host) or ""
        return ""


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_url(tier: str, url: str) -> None:
    """Raises RemoteError for an address that cannot be meant, without repeating a password in it."""
    try:
        parts = urlsplit(url)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_fits = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_fits:
        raise RemoteError(f"The {tier} tier has no usable url; it looks like http://localhost:8000/v1.")
    if parts.username is not None or parts.password is not None:
        raise RemoteError(
            f"The url of the {tier} tier holds a user name or password. Take it out and put the key into the "
            f"environment variable {KEY_VARIABLE}."
        )


def _number(tier: TierSpec, name: str, usual: float) -> float:
    """A number among a tier's options. Raises RemoteError."""
    given = tier.options.get(name)
    if given is None:
        return usual
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise RemoteError(f"{name}: {given[:40]!r} of the {tier.name} tier is not a number from 0 to 1000000.")
    return value
