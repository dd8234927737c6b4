"""The total loss: its parts weighted as configured, or by weights that are learned."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emlb.training.config import TrainingConfig

from .joint import Losses


class LossBalance(nn.Module):
    """Algorithm 1's total: the sum of the parts of the loss, each times its weight.

    Fixed weights are those of the configuration. Learned weights follow Kendall, Gal &
    Cipolla (2018): each part that has a weight gets a log-variance s, and adds
    ``exp(-s) · weight · loss + s / 2``. All s begin at 0, which is the configuration's
    weights. A part that has nothing in a batch, such as relations in windows without pairs,
    adds nothing: its s learns only from what it sees.

    Args:
        config: the weights, and whether they are learned.

    Attributes:
        names: of the parts that have a weight.
    """

    log_variance: nn.Parameter | None

    def __init__(self, config: TrainingConfig) -> None:
        super().__init__()
        self._weights = config.weights
        self.names = [name for name, weight in self._weights.items() if weight]
        learned = config.loss_weights == "learned"
        self.log_variance = nn.Parameter(torch.zeros(len(self.names))) if learned else None

    def forward(self, losses: Losses) -> Tensor:
        """The total of a batch, a scalar."""
        # A part without weight may still tie parameters to the graph, at no loss.
        parts = {name: weight * getattr(losses, name) for name, weight in self._weights.items()}
        if self.log_variance is not None:
            for name, variance in zip(self.names, self.log_variance, strict=True):
                seen = (parts[name].detach() > 0).to(variance.dtype)
                parts[name] = torch.exp(-variance) * parts[name] + seen * variance / 2
        return torch.stack(list(parts.values())).sum()

    def weights(self) -> dict[str, float]:
        """The weight of each part that has one, as it is now."""
        weights = {name: self._weights[name] for name in self.names}
        if self.log_variance is None:
            return weights
        factors = torch.exp(-self.log_variance.detach()).tolist()
        return {name: weights[name] * factor for name, factor in zip(weights, factors, strict=True)}
