"""The relation head's linear variant (10): gathered span vectors and one matrix."""

from __future__ import annotations

from torch import Tensor, nn

from .gather import cover, gather_spans, pick_sides


class LinearRelationHead(nn.Module):
    """Equation (10) in place of the bilinear attention of (8).

    The vectors of the two spans, side by side, go through one matrix: no attention, no
    view of the other mentions or of the distance. The paper follows it with a softmax; a
    pair may have several relations here, so each has its own logistic, as in
    ``RelationHead``.

    Args:
        width: D.
        n_types: entity types of the task.
        n_relations: R.
        relation_width: H.
        dropout: before the output layer.
    """

    def __init__(
        self, width: int, n_types: int, n_relations: int, *, relation_width: int, dropout: float
    ) -> None:
        super().__init__()
        self.span = nn.Linear(3 * width, relation_width)
        self.span_type = nn.Embedding(n_types, relation_width)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * relation_width, n_relations)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor, spans: Tensor, pairs: Tensor
    ) -> Tensor:
        """Logits (B, P, R); see ``RelationHead.forward``, whose arguments these are."""
        # An input of the exported graph must be used; nothing is added.
        hidden = hidden * attention_mask[..., None].to(hidden.dtype)
        inside = cover(spans, hidden.shape[1], dtype=hidden.dtype)
        span = self.span(gather_spans(hidden, spans, inside)) + self.span_type(spans[..., 2])
        sides = pick_sides(span, pairs, width=self.span.out_features)
        logits: Tensor = self.output(self.dropout(sides))
        return logits
