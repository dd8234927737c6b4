"""Encoders whose attention weights can be read."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel

from emlb_runtime.errors import ConfigError

from .model import EmlbModel


def eager_twin(model: EmlbModel) -> Any:
    """A model's encoder on the same weights, with attention that is computed step by step.

    The fused kernels that the model runs on never hold the attention weights.
    """
    twin = AutoModel.from_config(model.config.encoder_config, attn_implementation="eager")
    if getattr(twin, "pooler", None) is not None:
        twin.pooler = None
    twin.load_state_dict(model.encoder.state_dict(), assign=True)
    return twin.train(model.training)


def open_attention(model: EmlbModel) -> None:
    """Make ``model(..., attention=True)`` possible, at the cost of slower, larger steps.

    The encoder is replaced by its eager twin; the weights and their names stay.

    Raises:
        ConfigError: if the encoder has no attention of every piece to every piece.
    """
    twin = eager_twin(model).eval()
    ids = torch.zeros((1, 4), dtype=torch.long, device=model.device)
    with torch.no_grad():
        encoded = twin(input_ids=ids, attention_mask=ids + 1, output_attentions=True)
    if last_attention(encoded, 4) is None:
        raise ConfigError(
            "training.attention_weight is set, but this encoder has no attention of every piece "
            "to every piece; set it to 0 or take another base"
        )
    model.encoder = twin.train(model.training)


def last_attention(encoded: Any, n_pieces: int) -> Tensor | None:
    """(B, heads, T, T) of an encoder's output; None if it has none, or windowed or pooled."""
    layers = getattr(encoded, "attentions", None)
    if not layers or layers[-1] is None:
        return None
    weights: Tensor = layers[-1]
    square = weights.ndim == 4 and weights.shape[-2:] == (n_pieces, n_pieces)
    return weights if square else None
