"""Decoders: plain functions over Steppers, one idea a file. Engines step, decoders decide."""

from __future__ import annotations
