"""Losses on soft targets: the student's probabilities against its teachers'.

Knowledge distillation by Hinton et al. (2015), for sequence labels by the marginals of the CRF
(Wang et al. 2020, "Structure-level knowledge distillation for multilingual sequence labeling").
Both losses are divergences, zero where the student agrees, and are multiplied by the square of the
temperature, so that their gradients do not shrink with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from emlb.examples.examples import Example
from emlb.model.crf import LatticeCrf
from emlb.model.softmax import WordSoftmax

_LEAST = -30.0
"""Log-probability below which a label does not get more expensive: illegal ones have none."""


def soft_label_loss(
    crf: LatticeCrf | WordSoftmax,
    emissions: Tensor,
    word_mask: Tensor,
    examples: Sequence[Example],
    *,
    temperature: float,
) -> Tensor:
    """Divergence of the student's label marginals from the teachers', summed over words.

    Args:
        crf: the student's.
        emissions: (B, W, E) float32.
        word_mask: (B, W) boolean, true for words.
        examples: (B,) the windows; those without soft targets add nothing.
        temperature: of the teachers' marginals.
    """
    taught = [row for row, e in enumerate(examples) if e.soft is not None and e.soft.label_weight]
    if not taught:
        return emissions.new_zeros(())
    targets = np.zeros((len(taught), *emissions.shape[1:]), dtype=np.float32)
    weights = np.zeros((len(taught), 1), dtype=np.float32)
    for index, row in enumerate(taught):
        soft = examples[row].soft
        assert soft is not None
        targets[index, : len(soft.labels)] = soft.labels
        weights[index] = soft.label_weight
    rows = torch.tensor(taught, device=emissions.device)
    wanted = torch.from_numpy(targets).to(emissions.device)
    logs = crf.log_marginals(emissions[rows], word_mask[rows], temperature=temperature)
    cross = -(wanted * logs.clamp_min(_LEAST)).sum(dim=-1)
    divergence = (cross - torch.special.entr(wanted).sum(dim=-1)) * word_mask[rows]
    weighted: Tensor = divergence * torch.from_numpy(weights).to(emissions.device)
    return weighted.sum() * temperature**2


def soft_relation_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, *, temperature: float
) -> Tensor:
    """Divergence of the student's relation probabilities from the teachers', summed over pairs.

    Args:
        logits: (B, P, R) of the student.
        targets: (B, P, R) probabilities of the teachers at that temperature.
        weights: (B, P, R).
        temperature: see ``targets``.
    """
    cross = torch.nn.functional.binary_cross_entropy_with_logits(
        logits / temperature, targets, reduction="none"
    )
    entropy = torch.special.entr(targets) + torch.special.entr(1 - targets)
    loss: Tensor = ((cross - entropy) * weights).sum() * temperature**2
    return loss
