"""The torch model as a backend of the runtime's pipeline, so that training scores what deploys."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from emlb_runtime.inference.backend import Encoded, Floats, Ints

from .model import EmlbModel


class TorchBackend:
    """Runs an ``EmlbModel`` in evaluation mode.

    Args:
        model: the model, on whatever device it is.
        autocast: run the encoder in this type (for quick scores during training).
    """

    def __init__(self, model: EmlbModel, *, autocast: torch.dtype | None = None) -> None:
        self._model = model.eval()  # type: ignore[no-untyped-call]
        self._autocast = autocast

    @property
    def provider(self) -> str:
        """``torch`` and the device."""
        return f"torch:{self._model.device.type}"

    @property
    def precision(self) -> str:
        """``fp32``, or ``bf16`` or ``fp16`` under autocast."""
        if self._autocast is None:
            return "fp32"
        return "bf16" if self._autocast == torch.bfloat16 else "fp16"

    def _context(self) -> AbstractContextManager[Any]:
        if self._autocast is not None:
            return torch.autocast(self._model.device.type, dtype=self._autocast)
        return nullcontext()

    @torch.inference_mode()
    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        """See ``emlb_runtime.inference.backend.Backend``."""
        with self._context():
            output = self._model(self._tensor(input_ids), self._tensor(attention_mask))
        return Encoded(
            output.hidden.float().cpu().numpy(),
            {task: scores.float().cpu().numpy() for task, scores in output.emissions.items()},
        )

    @torch.inference_mode()
    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        """See ``emlb_runtime.inference.backend.Backend``."""
        logits = self._model.relate(
            task,
            self._tensor(hidden),
            self._tensor(attention_mask),
            self._tensor(spans),
            self._tensor(pairs),
        )
        result: Floats = logits.float().cpu().numpy()
        return result

    @torch.inference_mode()
    def describe(self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints) -> Floats:
        """See ``emlb_runtime.inference.backend.Backend``."""
        scores = self._model.describe(
            task, self._tensor(hidden), self._tensor(attention_mask), self._tensor(spans)
        )
        result: Floats = scores.float().cpu().numpy()
        return result

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.from_numpy(values).to(self._model.device)
