"""Gather: the vectors of spans and pairs from the pieces of a window."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def cover(spans: Tensor, n_pieces: int, *, dtype: torch.dtype) -> Tensor:
    """(B, S, T) one where a piece lies in a span.

    Args:
        spans: (B, S, 3) first piece, one past the last, type index.
        n_pieces: T.
        dtype: of the result.
    """
    place = torch.arange(n_pieces, device=spans.device)
    return ((place >= spans[..., 0:1]) & (place < spans[..., 1:2])).to(dtype)


def gather_spans(pieces: Tensor, spans: Tensor, inside: Tensor) -> Tensor:
    """(B, S, 3D) the first, last and mean piece of each span.

    Args:
        pieces: (B, T, D).
        spans: (B, S, 3).
        inside: what ``cover`` gave.
    """
    mean = inside @ pieces / inside.sum(dim=-1, keepdim=True).clamp(min=1.0)
    first, last = pick(pieces, spans[..., 0]), pick(pieces, (spans[..., 1] - 1).clamp(min=0))
    return torch.cat([first, last, mean], dim=-1)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """(B, …, X) rows of (B, S, X) at (B, …)."""
    # All windows are one table: the exported graph then copies whole rows, where ``gather``
    # has it look up number by number.
    first = torch.arange(values.shape[0], device=index.device) * values.shape[1]
    first = first.reshape(-1, *[1] * (index.dim() - 1))
    return nn.functional.embedding(index + first, values.flatten(0, -2))


def pick_sides(values: Tensor, pairs: Tensor, *, width: int) -> Tensor:
    """(B, P, 2X) the rows of each pair's head and tail, side by side.

    Args:
        values: (B, S, X).
        pairs: (B, P, 2).
        width: X, for the exported graph, which cannot work it out where there are no pairs.
    """
    sides = pick(values, pairs)
    return sides.reshape(sides.shape[0], sides.shape[1], 2 * width)
