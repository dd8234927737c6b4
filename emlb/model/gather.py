"""Gather: the vectors of spans and pairs from the pieces of a window."""

from __future__ import annotations

import torch
from torch import Tensor


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
    width = pieces.shape[-1]
    start, end = spans[..., 0:1], spans[..., 1:2]
    mean = inside @ pieces / inside.sum(dim=-1, keepdim=True).clamp(min=1.0)
    first = pieces.gather(1, start.expand(-1, -1, width))
    last = pieces.gather(1, (end - 1).clamp(min=0).expand(-1, -1, width))
    return torch.cat([first, last, mean], dim=-1)


def pick(values: Tensor, index: Tensor) -> Tensor:
    """(B, P, X) rows of (B, S, X) at (B, P, 1)."""
    return values.gather(1, index.expand(-1, -1, values.shape[-1]))
