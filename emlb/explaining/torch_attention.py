"""The attention of a torch model."""

from __future__ import annotations

import numpy as np
import torch

from emlb.model.attention import eager_twin, last_attention
from emlb.model.model import EmlbModel
from emlb.model.relation import RelationHead
from emlb_runtime.inference.backend import Floats, Ints

from .attention import EncoderLook, RelationLook


class TorchAttention:
    """Looks into an ``EmlbModel``; see ``Attention``.

    Args:
        model: in evaluation mode; it is not changed.
    """

    def __init__(self, model: EmlbModel) -> None:
        self._model = model
        self._encoder = eager_twin(model).eval()

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
        layer = last_attention(encoded, len(input_ids))
        if layer is None:
            return None
        weights = layer.float().mean(dim=1)[0].cpu().numpy()
        return EncoderLook(encoded.last_hidden_state[0].float().cpu().numpy(), weights)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._model.device)
