"""The entity head's softmax: variant (9), each word labelled for itself."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from emlb_runtime.decoding.crf import FORBIDDEN, Crf
from emlb_runtime.schema.labels import LabelScheme


class WordSoftmax(nn.Module):
    """Equation (9) in place of the CRF of (7): no parameters, no transitions.

    Trained as a softmax over each word's labels; on a word whose label is not known, the
    probability of all possible ones. Deployed as a CRF without preferences, which keeps
    mentions whole: only illegal transitions are forbidden in decoding.

    Args:
        scheme: the BIO scheme.
    """

    def __init__(self, scheme: LabelScheme) -> None:
        super().__init__()
        self.scheme = scheme

    def loss(self, emissions: Tensor, word_mask: Tensor, possible: Tensor) -> Tensor:
        """Negative log-probability of the possible labels, summed over each sequence's words.

        Args:
            emissions: (B, W, E) float32.
            word_mask: (B, W) boolean, true for words.
            possible: (B, W, E) boolean labels that agree with the annotation.

        Returns:
            (B,) non-negative.
        """
        known = emissions.masked_fill(~possible, FORBIDDEN)
        losses = torch.logsumexp(emissions, dim=-1) - torch.logsumexp(known, dim=-1)
        return (losses * word_mask).sum(dim=1)

    def log_marginals(
        self, emissions: Tensor, word_mask: Tensor, *, temperature: float = 1.0
    ) -> Tensor:
        """Log-probability (B, W, E) of each label at each word; as the CRF's."""
        return torch.log_softmax(emissions / temperature, dim=-1)

    def deployed(self) -> Crf:
        """The same labeller as the runtime decodes with."""
        n_labels = self.scheme.n_labels
        none = np.zeros(n_labels, dtype=np.float32)
        return Crf.constrained(self.scheme, none, none, np.zeros((n_labels, n_labels), np.float32))
