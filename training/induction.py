"""Start with the circuit that copies, instead of waiting for it.

Answering from a passage needs "induction": find where what was just read stood before, and say what followed it
there. Transformers learn it late and suddenly (Olsson et al. 2022), after more text than a laptop can train on in an
hour; but its parts are known (Elhage et al. 2021): a head that writes into each place what stood one place before, and
a head in a later layer that looks for the present token among those and copies what it finds. Both fit into the weights
a model starts from, as structure close to the identity does elsewhere (mimetic initialization, Trockman & Kolter 2023).
Training goes on from there and may change everything.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from training.model import Pocket

EMBEDDING = 0.05  # spread of the embeddings
CONSTANT = 4.0  # the constant first coordinate, in spreads: what heads that only look at positions read
NEXT_TO = 8  # rotary frequencies, from the highest, that point one place back
POINTING = 5.5  # length of query and key at each of them
MATCHING = 2.0  # scale of query and key of the heads that compare tokens
SLOWEST_TURN = 0.02  # radians a place: only rotary frequencies below it compare tokens over some distance
WRITE_PREVIOUS = 0.07
WRITE_FOUND = 0.3


def plant(model: Pocket, seed: int) -> None:
    """Write the circuit into the first two layers, half of the heads of each; everything else stays as it is drawn.

    Args:
        model: at least two layers, freshly drawn.
        seed: of the random directions.
    """
    shape, width = model.shape, model.shape.head_width
    if shape.layers < 2 or shape.heads != shape.kv_heads:
        raise ValueError("an induction circuit needs two layers and as many key as query heads")
    generator = torch.Generator().manual_seed(seed)
    half = width // 2
    turns = shape.rope_theta ** (-torch.arange(half) / half)
    slow = torch.nonzero(turns < SLOWEST_TURN).squeeze(1)
    compared = torch.cat((slow, slow + half))  # both halves of a rotary pair
    first, second = model.model.layers[0].self_attn, model.model.layers[1].self_attn
    planted = shape.heads // 2
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding.normal_(std=EMBEDDING, generator=generator)
        embedding[:, 0] = CONSTANT * EMBEDDING
        read = directions(planted * width, shape.hidden, generator)
        written = directions(planted * width, shape.hidden, generator)
        copied = directions(planted * width, shape.hidden, generator)
        for head in range(planted):
            rows = slice(head * width, (head + 1) * width)
            point_back(first.q_proj.weight[rows], first.k_proj.weight[rows], turns)
            first.v_proj.weight[rows] = read[rows]
            first.o_proj.weight[:, rows] = WRITE_PREVIOUS * written[rows].T
            for projection, source in ((second.q_proj, read), (second.k_proj, written)):
                projection.weight[rows] = 0.0
                projection.weight[rows][compared] = MATCHING * source[rows][compared]
            second.v_proj.weight[rows] = copied[rows]
            second.o_proj.weight[:, rows] = WRITE_FOUND * copied[rows].T


def directions(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Orthonormal rows (count, width) that do not touch the constant coordinate."""
    square = torch.randn(width - 1, width - 1, generator=generator)
    rows = torch.zeros(count, width)
    rows[:, 1:] = torch.linalg.qr(square)[0][:count]
    return rows


def point_back(query: Tensor, key: Tensor, turns: Tensor) -> None:
    """Make a head look one place back whatever stands there: its key is its query, turned by one place.

    Args:
        query: (head width, hidden) rows of the query projection, overwritten.
        key: the same of the key projection.
        turns: radians a place of each rotary pair (half-split layout).
    """
    query.zero_()
    key.zero_()
    reach = POINTING / CONSTANT
    for pair, turn in enumerate(turns[:NEXT_TO].tolist()):
        query[pair, 0] = reach
        key[pair, 0] = reach * math.cos(turn)
        key[pair + len(turns), 0] = reach * math.sin(turn)
