"""BERT encoders as few and cheap graph nodes as they can be; the same function of their input.

What `transformers` computes with its own modules, its graph does piece by piece. Here

* pieces are rows of one matrix, (T·B, D), but for attention, so that products need no shapes;
  in this order, whose heads ONNX Runtime transposes faster;
* the scale 1/√d of attention is in the queries' weights;
* keys have no bias: it adds the same to all scores of a query, which softmax does not see;
* values have none either: attention sums to one, so that it is a part of the output's bias;
* the one token type in use is in the positions' vectors.

The exported graph is still compared with the model (``emlb_export.verify``).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import BertModel

from emlb.model.model import EmlbModel


def is_plain_bert(encoder: nn.Module) -> bool:
    """Whether ``PlainBert`` computes what this encoder does."""
    if type(encoder) is not BertModel:
        return False
    config = encoder.config
    kind = getattr(config, "position_embedding_type", None) or "absolute"
    return kind == "absolute" and not config.is_decoder and not config.add_cross_attention


class PlainBert(nn.Module):
    """A model's BERT encoder and the emissions of all its tasks, for tracing.

    Args:
        model: in evaluation mode; ``is_plain_bert`` of its encoder.
    """

    def __init__(self, model: EmlbModel) -> None:
        super().__init__()
        encoder: Any = model.encoder  # transformers does not type its modules
        embeddings, config = encoder.embeddings, encoder.config
        self.words: nn.Embedding = embeddings.word_embeddings
        self.places = nn.Parameter(
            embeddings.position_embeddings.weight.detach()
            + embeddings.token_type_embeddings.weight.detach()[0]
        )
        self.norm: nn.LayerNorm = embeddings.LayerNorm
        self.layers = nn.ModuleList(
            _Layer(layer, config.num_attention_heads) for layer in encoder.encoder.layer
        )
        heads = [model.head(name).emission for name in model.heads]
        self.emissions = nn.ModuleList(_Affine(head) for head in heads)
        self.widths = [int(config.hidden_size), *(head.out_features for head in heads)]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Hidden states and emissions.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T).

        Returns:
            (B, T, D), and per task (B, T, E).
        """
        n_windows, n_pieces = input_ids.shape
        embedded = self.norm(self.words(input_ids) + self.places[:n_pieces])
        rows = embedded.transpose(0, 1).reshape(-1, self.widths[0])
        lowest = torch.finfo(torch.float32).min
        barred = ((1.0 - attention_mask.float()) * lowest)[:, None, None]
        for layer in self.layers:
            rows = layer(rows, barred, n_windows)
        outputs = [rows, *(head(rows) for head in self.emissions)]
        return tuple(
            each.view(n_pieces, n_windows, width).transpose(0, 1)
            for each, width in zip(outputs, self.widths, strict=True)
        )


class _Layer(nn.Module):
    """Attention and feed-forward network, each with its residual and norm."""

    def __init__(self, layer: Any, n_heads: int) -> None:
        super().__init__()
        attend, attended = layer.attention.self, layer.attention.output
        self.n_heads = n_heads
        self.width: int = attend.all_head_size
        self.query = _Affine(attend.query, scale=attend.attention_head_size**-0.5)
        self.key = nn.Parameter(attend.key.weight.detach().T.contiguous())
        self.value = nn.Parameter(attend.value.weight.detach().T.contiguous())
        self.mixed = _Affine(attended.dense, offset=attend.value.bias)
        self.mixed_norm: nn.LayerNorm = attended.LayerNorm
        self.widened = _Affine(layer.intermediate.dense)
        self.activate: nn.Module = layer.intermediate.intermediate_act_fn
        self.narrowed = _Affine(layer.output.dense)
        self.narrowed_norm: nn.LayerNorm = layer.output.LayerNorm

    def forward(self, rows: Tensor, barred: Tensor, n_windows: int) -> Tensor:
        """(T·B, D) to (T·B, D); ``barred`` is (B, 1, 1, T), 0 or very low."""
        query, key, value = (
            each.view(-1, n_windows, self.n_heads, self.width // self.n_heads).permute(1, 2, 0, 3)
            for each in (self.query(rows), rows @ self.key, rows @ self.value)
        )
        shares = torch.softmax(query @ key.transpose(-1, -2) + barred, dim=-1)
        seen = (shares @ value).permute(2, 0, 1, 3).reshape(-1, self.width)
        rows = self.mixed_norm(self.mixed(seen) + rows)
        result: Tensor = self.narrowed_norm(self.narrowed(self.activate(self.widened(rows))) + rows)
        return result


class _Affine(nn.Module):
    """A linear layer of rows, its weight the way round that products want it.

    Args:
        layer: whose weight and bias.
        scale: factor on both.
        offset: what is known to be added to the input, (width of the input,).
    """

    def __init__(
        self, layer: nn.Linear, *, scale: float = 1.0, offset: Tensor | None = None
    ) -> None:
        super().__init__()
        bias = layer.bias.detach()
        if offset is not None:
            bias = bias + layer.weight.detach() @ offset.detach()
        self.weight = nn.Parameter((layer.weight.detach() * scale).T.contiguous())
        self.bias = nn.Parameter(bias * scale)

    def forward(self, rows: Tensor) -> Tensor:
        """(R, width of the input) to (R, width of the output)."""
        return torch.addmm(self.bias, rows, self.weight)
