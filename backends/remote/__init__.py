"""Remote tiers: any server that speaks the OpenAI protocol (vLLM, llama-server, Ollama, ``fovea serve``).

A remote tier writes whole replies; it has no cache to hand over and no logits for a gate. Nothing is sent anywhere
unless the person has configured the address, and never to another one: redirects are not followed.
"""

from __future__ import annotations
