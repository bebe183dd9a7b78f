"""The transformers engine: folders of safetensors, on CPU or CUDA, at 16 bits, int8, nf4 or fp4.

``check`` looks at a folder without importing torch; ``load.open_stepper`` loads it. Importing this package is cheap.
"""

from __future__ import annotations
