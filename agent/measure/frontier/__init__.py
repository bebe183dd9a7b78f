"""The frontier: what each way of using the tiers costs, and how near it comes to the 16-bit model."""

from __future__ import annotations
