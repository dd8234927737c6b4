"""The entity head's CRF: pytorch-crf with the scheme's constraints and a partial lattice."""

from __future__ import annotations

import torch
from torch import Tensor
from torchcrf import CRF

from emlb_runtime.decoding.crf import FORBIDDEN, Crf
from emlb_runtime.schema.labels import LabelScheme


class LatticeCrf(CRF):  # type: ignore[misc]  # torchcrf has no types
    """Equation (7)'s linear-chain CRF, trained on what is known of the labels.

    Where every word's label is known the loss is pytorch-crf's negative log-likelihood.
    Where several labels are possible (a corpus that does not annotate a type says nothing
    about it), the numerator sums over every legal path through the possible labels
    (Tsuboi et al. 2008, "Training conditional random fields using incomplete annotations").

    Args:
        scheme: the BIO scheme; its illegal transitions have probability zero.
    """

    def __init__(self, scheme: LabelScheme) -> None:
        super().__init__(scheme.n_labels, batch_first=True)
        self.scheme = scheme

    def loss(self, emissions: Tensor, word_mask: Tensor, possible: Tensor) -> Tensor:
        """Negative log-probability of the possible label paths, per sequence.

        Args:
            emissions: (B, W, E) float32.
            word_mask: (B, W) boolean, true for words; each row begins with one.
            possible: (B, W, E) boolean labels that agree with the annotation; at least one
                legal path must run through them.

        Returns:
            (B,) non-negative.
        """
        known = emissions.masked_fill(~possible, FORBIDDEN)
        both = torch.cat([emissions, known])
        total, agreeing = self._log_partition(both, word_mask.repeat(2, 1)).chunk(2)
        return total - agreeing

    def log_marginals(
        self, emissions: Tensor, word_mask: Tensor, *, temperature: float = 1.0
    ) -> Tensor:
        """Log-probability of each label at each word, by the forward-backward algorithm.

        Args:
            emissions: (B, W, E) float32.
            word_mask: (B, W) boolean, true for words; each row begins with one.
            temperature: all scores of a path are divided by it.

        Returns:
            (B, W, E), differentiable; meaningless where there is no word.
        """
        start, transitions = self._constrained(emissions)
        start, end = start / temperature, self.end_transitions / temperature
        weights, scores = (transitions / temperature).exp(), emissions / temperature
        forward = [start + scores[:, 0]]
        for step in range(1, scores.shape[1]):
            longer = _log_product(forward[-1], weights) + scores[:, step]
            forward.append(torch.where(word_mask[:, step, None], longer, forward[-1]))
        backward = [end.expand_as(scores[:, 0])]
        for step in range(scores.shape[1] - 1, 0, -1):
            longer = _log_product(backward[-1] + scores[:, step], weights.T)
            backward.append(torch.where(word_mask[:, step, None], longer, backward[-1]))
        total = torch.logsumexp(forward[-1] + end, dim=1)
        return torch.stack(forward, 1) + torch.stack(backward[::-1], 1) - total[:, None, None]

    def _log_partition(self, emissions: Tensor, word_mask: Tensor) -> Tensor:
        """(B,) log of the summed weight of all legal paths."""
        start, transitions = self._constrained(emissions)
        weights = transitions.exp()
        score = start + emissions[:, 0]
        for step in range(1, emissions.shape[1]):
            longer = _log_product(score, weights) + emissions[:, step]
            score = torch.where(word_mask[:, step, None], longer, score)
        return torch.logsumexp(score + self.end_transitions, dim=1)

    def _constrained(self, like: Tensor) -> tuple[Tensor, Tensor]:
        legal_start = torch.from_numpy(self.scheme.legal_start).to(like.device)
        legal = torch.from_numpy(self.scheme.legal).to(like.device)
        return (
            self.start_transitions.masked_fill(~legal_start, FORBIDDEN),
            self.transitions.masked_fill(~legal, FORBIDDEN),
        )

    def deployed(self) -> Crf:
        """The same CRF as the runtime decodes with."""
        start, end, transitions = (
            values.detach().float().cpu().numpy()
            for values in (self.start_transitions, self.end_transitions, self.transitions)
        )
        return Crf.constrained(self.scheme, start, end, transitions)


def _log_product(scores: Tensor, weights: Tensor) -> Tensor:
    """log(exp(scores) @ weights) without overflow: (B, E) and (E, E) give (B, E)."""
    top = scores.detach().amax(dim=1, keepdim=True)
    reached = (scores - top).exp() @ weights
    # Labels that no path reaches: the floor keeps their gradient finite (zero).
    log = torch.where(reached > 0, reached.clamp_min(1e-38).log(), 2 * FORBIDDEN)
    return log + top
