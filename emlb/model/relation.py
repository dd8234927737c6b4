"""The relation head: bilinear attention of a pair of mentions over its window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gather import cover, gather_spans, pick, pick_sides

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

        key, value = self._remember(pieces)
        asked = self._ask(span, key) + self._inside(inside, attention_mask)
        cuts, bucket = find_cuts(pick(spans[..., :2], pairs))
        scores = self._of_pairs(asked, pairs) + self._beside(cuts, hidden)
        weights = scores.softmax(dim=-1)  # (B, 2, heads, P, T)

        sides = pick_sides(span, pairs, width=self.n_heads * self.head_width)
        # The weights of a pair add up to one: each of its answers has the values' bias once.
        apart = self.distance.weight + torch.cat([self.value.bias, self.value.bias])
        apart = nn.functional.embedding(bucket, apart)
        pair = self.pair_norm(sides + self._answer(weights, value) + apart)
        mixed = nn.functional.gelu(self.hidden(self.dropout(pair)))
        logits: Tensor = self.output(self.dropout(mixed))
        return logits, weights.flatten(1, 2)

    def _remember(self, pieces: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, 1, heads, T, H / heads), the latter without their bias.

        Both sides of a pair have the same.
        """
        both = nn.functional.linear(pieces, torch.cat([self.key.weight, self.value.weight]))
        both = both.reshape(*both.shape[:2], 2, self.n_heads, self.head_width)
        key, value = both.permute(0, 2, 3, 1, 4).chunk(2, dim=1)
        return key, value

    def _ask(self, span: Tensor, key: Tensor) -> Tensor:
        """(B, 2 sides, heads, 2S, T) what each mention asks of each piece, as head and as tail.

        A pair asks what its two mentions ask, added up, and there are fewer mentions than
        pairs.
        """
        none = torch.zeros_like(self.query_head.bias)
        query = nn.functional.linear(
            span,
            torch.cat([self.query_head.weight, self.query_tail.weight]),
            torch.cat([self.query_head.bias, none]),
        )
        query = query.reshape(*query.shape[:2], 2, 2, self.n_heads, self.head_width)
        query = query.permute(0, 3, 4, 2, 1, 5)  # (B, sides, heads, as head or tail, S, …)
        query = query.reshape(query.shape[0], 2, self.n_heads, -1, self.head_width)
        asked: Tensor = query @ key.transpose(-1, -2) * self.head_width**-0.5
        return asked

    def _inside(self, inside: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, 2, heads, 2S, T) the bias of each mention's own pieces, and of padding."""
        place = self.place.weight[:, :2].reshape(2, self.n_heads, 2, 1, 1)
        masked = (1.0 - attention_mask.to(inside.dtype)) * MASKED
        bias = place * inside[:, None, None, None] + masked[:, None, None, None, None]
        return bias.reshape(bias.shape[0], 2, self.n_heads, -1, bias.shape[5])

    def _of_pairs(self, asked: Tensor, pairs: Tensor) -> Tensor:
        """(B, 2, heads, P, T) what each pair asks, given (B, 2, heads, 2S, T)."""
        n_rows = asked.shape[3]
        first = torch.arange(asked.shape[0] * 2 * self.n_heads, device=pairs.device) * n_rows
        first = first.reshape(-1, 2, self.n_heads, 1)
        head, tail = pairs[:, None, None].unbind(dim=-1)
        rows = asked.flatten(0, -2)
        as_head = nn.functional.embedding(first + head, rows)
        return as_head + nn.functional.embedding(first + tail + n_rows // 2, rows)

    def _beside(self, cuts: Tensor, hidden: Tensor) -> Tensor:
        """(B, 2, heads, P, T) the bias of the pieces before, between and after two mentions.

        A piece after them has none, in exchange for the negative one of all others: only the
        differences between a pair's scores matter.
        """
        n_pieces = hidden.shape[1]
        left_of = torch.ones((n_pieces + 1, n_pieces), dtype=hidden.dtype, device=hidden.device)
        left = nn.functional.embedding(cuts, left_of.tril(-1))  # (B, 4, P, T)
        between, before, after = self.place.weight[:, 2:].unbind(dim=1)
        steps = torch.stack([before, -between, between, -after], dim=1)
        bias = steps @ left.flatten(2)
        return bias.reshape(bias.shape[0], 2, self.n_heads, -1, n_pieces)

    def _answer(self, weights: Tensor, value: Tensor) -> Tensor:
        """(B, P, 2H) what each side of each pair sees in the window, less the values' bias."""
        seen = (weights @ value).permute(0, 3, 1, 2, 4)
        return seen.reshape(*seen.shape[:2], 2 * self.n_heads * self.head_width)


def find_cuts(at: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pieces beside the mentions of pairs begin and end, and how far these are apart.

    Args:
        at: (B, P, 2, 2) start, and one past the last piece, of head and of tail.

    Returns:
        (B, 4, P) end of the pieces before both mentions, start and end of those between, start
        of those after. Between mentions that overlap there are none: start and end are equal.

        (B, P) row of the distance table: the bucket of the gap, those where the tail comes
        first behind the others.
    """
    head, tail = at.unbind(dim=2)
    low, high = torch.minimum(head, tail), torch.maximum(head, tail)
    high = torch.maximum(high, low[..., 1:2])
    gap = high[..., 0:1] - low[..., 1:2]
    bucket = (gap >= torch.tensor(DISTANCES, device=gap.device)).sum(dim=-1)
    tail_first = (tail[..., 0] < head[..., 0]).to(bucket.dtype)
    cuts = torch.cat([low, high], dim=-1).transpose(1, 2)
    return cuts, bucket + tail_first * (len(DISTANCES) + 1)
