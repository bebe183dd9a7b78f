"""llama.cpp through the low-level API of llama-cpp-python: GGUF models on CPU, CUDA, Metal, Vulkan."""

from __future__ import annotations
