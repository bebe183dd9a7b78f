"""``fovea serve``: the ladder behind the OpenAI protocol, so that any client gets adaptive precision."""

from __future__ import annotations
