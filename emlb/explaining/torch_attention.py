"""The attention of a torch model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from emlb.model.model import EmlbModel
from emlb.model.relation import RelationHead
from emlb_runtime.backend import Floats, Ints

from .attention import EncoderLook, RelationLook


class TorchAttention:
    """Looks into an ``EmlbModel``; see ``Attention``.

    Args:
        model: in evaluation mode; it is not changed.
    """

    def __init__(self, model: EmlbModel) -> None:
        self._model = model
        self._encoder = _eager_twin(model)

    @property
    def no_relation(self) -> str:
        """See ``Attention``."""
        return "this model's relation head is the linear one, which has none"

    @property
    def no_encoder(self) -> str:
        """See ``Attention``."""
        return "this encoder has no attention of every piece to every piece"

    @torch.inference_mode()
    def relate(self, task: str, hidden: Floats, spans: Ints, pairs: Ints) -> RelationLook:
        """See ``Attention``."""
        inputs = (
            self._tensor(hidden)[None],
            torch.ones((1, len(hidden)), dtype=torch.long, device=self._model.device),
            self._tensor(spans)[None],
            self._tensor(pairs)[None],
        )
        head = self._model.head(task).relation
        if not isinstance(head, RelationHead):
            return RelationLook(head(*inputs)[0].float().cpu().numpy(), None)
        logits, weights = head.look(*inputs)
        return RelationLook(logits[0].float().cpu().numpy(), weights[0].float().cpu().numpy())

    @torch.inference_mode()
    def encode(self, input_ids: Ints) -> EncoderLook | None:
        """See ``Attention``."""
        ids = self._tensor(input_ids)[None]
        encoded = self._encoder(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_attentions=True
        )
        layers = getattr(encoded, "attentions", None)
        if not layers or layers[-1] is None:
            return None
        weights = layers[-1].float().mean(dim=1)[0].cpu().numpy()
        if weights.shape != (len(input_ids), len(input_ids)):  # windowed or pooled attention
            return None
        return EncoderLook(encoded.last_hidden_state[0].float().cpu().numpy(), weights)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._model.device)


def _eager_twin(model: EmlbModel) -> Any:
    """The encoder, on the same weights, with attention that is computed step by step.

    The fused kernels that the model runs on never hold the weights.
    """
    twin = AutoModel.from_config(model.config.encoder_config, attn_implementation="eager")
    if getattr(twin, "pooler", None) is not None:
        twin.pooler = None
    twin.load_state_dict(model.encoder.state_dict(), assign=True)
    return twin.eval()
