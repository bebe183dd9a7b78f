"""Density: how likely the high tier would choose another token, from signals the low tier gives for free.

``labels`` pairs written tokens with the high tier's reading, ``model`` fits the logistic model, ``select`` keeps only
signals that beat the margin, ``calibration`` is the file. The engine evaluates the model (``backends.gate``).
"""

from __future__ import annotations
