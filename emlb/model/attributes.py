"""The attribute head: what the window says of each mention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gather import cover, gather_spans
from .relation import MASKED

REACHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Lower bounds, in pieces, of the buckets of the distance from a mention to a piece."""


class AttributeHead(nn.Module):
    """Scores of every attribute's values for each mention of a window.

    A mention is gathered as in ``RelationHead``: its first, last and mean piece, and its type's
    embedding; every piece under a mention carries that type's embedding, so that the members of a
    list see one another. The mention then attends over the window, in several heads, with a
    learned bias for how far a piece stands before or after it: a cue such as "denies" mostly
    stands near, a heading many pieces ahead. The mention and its answer together are scored.

    Args:
        width: D.
        n_types: entity types of the task.
        n_values: V, the values of all its attributes.
        attribute_width: A, width of the head.
        n_heads: attention heads; divides A.
        dropout: before the output layers.
    """

    def __init__(
        self,
        width: int,
        n_types: int,
        n_values: int,
        *,
        attribute_width: int,
        n_heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.head_width = attribute_width // n_heads
        self.piece_type = nn.Embedding(n_types, width)
        self.piece_norm = nn.LayerNorm(width)
        self.span = nn.Linear(3 * width, attribute_width)
        self.span_type = nn.Embedding(n_types, attribute_width)
        self.query = nn.Linear(attribute_width, attribute_width)
        self.key = nn.Linear(width, attribute_width, bias=False)
        self.value = nn.Linear(width, attribute_width)
        self.reach = nn.Embedding(2 * len(REACHES) + 1, n_heads)
        self.norm = nn.LayerNorm(2 * attribute_width)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(2 * attribute_width, attribute_width)
        self.output = nn.Linear(attribute_width, n_values)
        self.look_near()

    def look_near(self) -> None:
        """Begin with attention that falls off with distance, in each head at its own rate.

        What tells an attribute mostly stands near. Linear biases as in Press et al. 2022 (ALiBi),
        here over buckets that grow with distance; begun at random, the heads need far longer to
        find the cues.
        """
        steps = torch.arange(1.0, len(REACHES) + 1)
        rates = 0.5 * 0.7 ** torch.arange(self.n_heads)
        falling = -rates * torch.cat([torch.zeros(1), steps, steps])[:, None]
        self.reach.weight.data.copy_(falling)

    def forward(self, hidden: Tensor, attention_mask: Tensor, spans: Tensor) -> Tensor:
        """Scores (B, S, V), before the softmax over each attribute's values.

        Args:
            hidden: (B, T, D) of the encoder.
            attention_mask: (B, T), one for pieces and zero for padding.
            spans: (B, S, 3) first piece, one past the last, type index; rows of zeros pad.
        """
        inside = cover(spans, hidden.shape[1], dtype=hidden.dtype)
        typed = self.piece_type(spans[..., 2])
        pieces = self.piece_norm(hidden + inside.transpose(1, 2) @ typed)
        span = self.span(gather_spans(pieces, spans, inside)) + self.span_type(spans[..., 2])

        query, key, value = (
            self._split(values)
            for values in (self.query(span), self.key(pieces), self.value(pieces))
        )
        scores = query @ key.transpose(-1, -2) * self.head_width**-0.5  # (B, heads, S, T)
        # By offset, of which there are few: an exported graph then holds them ready.
        bias = self.reach(find_buckets(spans.device))
        offsets = find_offsets(spans, hidden.shape[1]) + REACHES[-1]
        scores = scores + nn.functional.embedding(offsets, bias).permute(0, 3, 1, 2)
        scores = scores + (1.0 - attention_mask.to(hidden.dtype))[:, None, None] * MASKED
        seen = (scores.softmax(dim=-1) @ value).transpose(1, 2)
        seen = seen.reshape(seen.shape[0], seen.shape[1], self.n_heads * self.head_width)

        both = self.norm(torch.cat([span, seen], dim=-1))
        mixed = nn.functional.gelu(self.hidden(self.dropout(both)))
        values: Tensor = self.output(self.dropout(mixed))
        return values

    def _split(self, values: Tensor) -> Tensor:
        """(B, heads, N, A / heads) of (B, N, A)."""
        split = values.reshape(values.shape[0], values.shape[1], self.n_heads, self.head_width)
        return split.transpose(1, 2)


def find_offsets(spans: Tensor, n_pieces: int) -> Tensor:
    """How far each piece stands before (negative) or after each mention; zero inside it.

    Args:
        spans: (B, S, 3) first piece, one past the last, type index.
        n_pieces: T.

    Returns:
        (B, S, T), no farther than the last of ``REACHES``.
    """
    place = torch.arange(n_pieces, device=spans.device)
    before = (spans[..., 0:1] - place).clamp(0, REACHES[-1])
    after = (place - spans[..., 1:2] + 1).clamp(0, REACHES[-1])
    return after - before


def find_buckets(device: torch.device | None = None) -> Tensor:
    """The bucket of every offset from ``-REACHES[-1]`` to ``REACHES[-1]``.

    Zero inside the mention, then the buckets before it, the nearest first, then those after it.
    """
    offset = torch.arange(-REACHES[-1], REACHES[-1] + 1, device=device)
    bounds = torch.tensor(REACHES, device=device)
    bucket = (offset.abs()[:, None] >= bounds).sum(dim=-1)
    return bucket + (offset > 0).to(bucket.dtype) * len(REACHES)
