"""The relation head: bilinear attention of a pair of mentions over its window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gather import cover, gather_spans, pick

DISTANCES = (1, 2, 4, 8, 16, 32, 64)
"""Lower bounds, in pieces, of the buckets of the gap between two mentions."""

MASKED = -1e4


class RelationHead(nn.Module):
    """Equation (8): Gather, bilinear attention, then W_R and b_R.

    *Gather*: a span is its first, last and mean piece, projected, plus its type's embedding.
    Every piece under a mention carries that type's embedding too, so that a pair sees which
    other mentions stand in its window.

    *Bilinear attention*: each side of a pair asks the window's pieces through a bilinear form
    ``(U s_head + V s_tail)ᵀ (K y_t)``, in several heads, with a learned bias for where a piece
    stands (inside head or tail, between, before, after). The two sides' answers, added to
    the two spans, give the 2H-wide pair vector of the paper.

    Multi-label: one logit per relation type.

    Args:
        width: D.
        n_types: entity types of the task.
        n_relations: R.
        relation_width: H.
        n_heads: attention heads; divides H.
        dropout: before the output layers.
    """

    def __init__(
        self,
        width: int,
        n_types: int,
        n_relations: int,
        *,
        relation_width: int,
        n_heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.head_width = relation_width // n_heads
        self.piece_type = nn.Embedding(n_types, width)
        self.piece_norm = nn.LayerNorm(width)
        self.span = nn.Linear(3 * width, relation_width)
        self.span_type = nn.Embedding(n_types, relation_width)
        self.query_head = nn.Linear(relation_width, 2 * relation_width)
        self.query_tail = nn.Linear(relation_width, 2 * relation_width, bias=False)
        self.key = nn.Linear(width, relation_width, bias=False)
        self.value = nn.Linear(width, relation_width)
        self.place = nn.Linear(5, 2 * n_heads, bias=False)
        self.distance = nn.Embedding(2 * (len(DISTANCES) + 1), 2 * relation_width)
        self.pair_norm = nn.LayerNorm(2 * relation_width)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(2 * relation_width, relation_width)
        self.output = nn.Linear(relation_width, n_relations)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor, spans: Tensor, pairs: Tensor
    ) -> Tensor:
        """Logits (B, P, R).

        Args:
            hidden: (B, T, D) of the encoder.
            attention_mask: (B, T), one for pieces and zero for padding.
            spans: (B, S, 3) first piece, one past the last, type index; rows of zeros pad.
            pairs: (B, P, 2) indices of head and tail among the window's spans.
        """
        return self.look(hidden, attention_mask, spans, pairs)[0]

    def look(
        self, hidden: Tensor, attention_mask: Tensor, spans: Tensor, pairs: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, P, R), and the attention (B, 2·heads, P, T) of each pair to the pieces.

        The head mention's side has the first half of the attention's second axis, the tail
        mention's the other. Arguments are those of ``forward``.
        """
        inside = cover(spans, hidden.shape[1], dtype=hidden.dtype)
        typed = self.piece_type(spans[..., 2])
        pieces = self.piece_norm(hidden + inside.transpose(1, 2) @ typed)
        span = self.span(gather_spans(pieces, spans, inside)) + self.span_type(spans[..., 2])

        head, tail = pairs[..., 0:1], pairs[..., 1:2]
        asked = pick(self.query_head(span), head) + pick(self.query_tail(span), tail)
        place = torch.arange(hidden.shape[1], device=hidden.device)
        bias, bucket = self._places(place, inside, spans, head, tail)
        bias = bias + (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * MASKED
        answer, weights = self._attend(asked, pieces, bias)  # (B, P, 2H)

        sides = torch.cat([pick(span, head), pick(span, tail)], dim=-1)
        pair = self.pair_norm(sides + answer + self.distance(bucket))
        mixed = nn.functional.gelu(self.hidden(self.dropout(pair)))
        logits: Tensor = self.output(self.dropout(mixed))
        return logits, weights

    def _places(
        self, place: Tensor, inside: Tensor, spans: Tensor, head: Tensor, tail: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Attention bias (B, 2·heads, P, T) and distance bucket (B, P) of each pair."""
        bounds = spans[..., :2]
        head_at, tail_at = pick(bounds, head), pick(bounds, tail)
        low, high = torch.minimum(head_at, tail_at), torch.maximum(head_at, tail_at)
        between_start, between_end = low[..., 1:2], high[..., 0:1]
        kinds = torch.stack(
            [
                pick(inside, head),
                pick(inside, tail),
                ((place >= between_start) & (place < between_end)).to(inside.dtype),
                (place < low[..., 0:1]).to(inside.dtype),
                (place >= high[..., 1:2]).to(inside.dtype),
            ],
            dim=-1,
        )
        gap = between_end - between_start
        bounds_of_buckets = torch.tensor(DISTANCES, device=gap.device)
        bucket = (gap >= bounds_of_buckets).sum(dim=-1)
        tail_first = (tail_at[..., 0] < head_at[..., 0]).to(bucket.dtype)
        bias = self.place(kinds).permute(0, 3, 1, 2)
        return bias, bucket + tail_first * (len(DISTANCES) + 1)

    def _attend(self, asked: Tensor, pieces: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """(B, P, 2H), what each side of each pair sees in the window, and how it weighs it."""
        batch, n_pairs, _ = asked.shape
        shape = (batch, pieces.shape[1], self.n_heads, self.head_width)
        key = self.key(pieces).reshape(shape).permute(0, 2, 3, 1).repeat(1, 2, 1, 1)
        value = self.value(pieces).reshape(shape).permute(0, 2, 1, 3).repeat(1, 2, 1, 1)
        query = asked.reshape(batch, n_pairs, 2 * self.n_heads, self.head_width)
        scores = query.permute(0, 2, 1, 3) @ key * self.head_width**-0.5 + bias
        weights = scores.softmax(dim=-1)  # (B, 2·heads, P, T)
        seen: Tensor = weights @ value  # (B, 2·heads, P, H / heads)
        width = 2 * self.n_heads * self.head_width
        return seen.permute(0, 2, 1, 3).reshape(batch, n_pairs, width), weights
