"""Measuring: how fast each tier is on this machine, and what each way of using the ladder costs and gains."""

from __future__ import annotations
