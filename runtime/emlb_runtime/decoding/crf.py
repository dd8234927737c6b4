"""Linear-chain CRF in numpy: batched Viterbi and exact span marginals.

Shapes: B sequences, T words, E labels. Equation (7) of Guo, Liu & Niu (2023): the score
of labels y is ``start[y_0] + Σ emissions[t, y_t] + Σ transitions[y_t-1, y_t] + end[y_n]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.schema.labels import LabelScheme, WordSpan

Floats = NDArray[np.floating]
FORBIDDEN = -1e4
"""The score of an illegal transition: exp of it is exactly 0 in single precision."""


@dataclass(frozen=True)
class Crf:
    """A CRF's scores, with the illegal ones already at ``FORBIDDEN``.

    Attributes:
        start: (E,) score of beginning with a label.
        end: (E,) score of ending with a label.
        transitions: (E, E) score of going from a label (row) to the next (column).
    """

    start: Floats
    end: Floats
    transitions: Floats

    @classmethod
    def constrained(
        cls, scheme: LabelScheme, start: Floats, end: Floats, transitions: Floats
    ) -> Crf:
        """Those scores with every transition that the scheme forbids switched off.

        Raises:
            ValueError: if the shapes are not those of the scheme.
        """
        n = scheme.n_labels
        if start.shape != (n,) or end.shape != (n,) or transitions.shape != (n, n):
            raise ValueError(f"CRF scores of {start.shape[0]} labels for a scheme of {n}")
        return cls(
            start=np.where(scheme.legal_start, start, FORBIDDEN).astype(np.float32),
            end=np.asarray(end, dtype=np.float32),
            transitions=np.where(scheme.legal, transitions, FORBIDDEN).astype(np.float32),
        )

    @cached_property
    def _transition_weights(self) -> Floats:
        return np.exp(self.transitions.astype(np.float64))

    def viterbi(self, emissions: Floats, lengths: Sequence[int]) -> list[NDArray[np.int64]]:
        """The best label sequence of each row.

        Args:
            emissions: (B, T, E); what lies past a row's length is ignored.
            lengths: (B,) words of each row, zero allowed.

        Returns:
            One array per row, as long as its length.
        """
        n_rows, n_steps, n_labels = emissions.shape
        ends = np.asarray(lengths, dtype=np.int64)
        if n_rows == 0 or n_steps == 0:
            return [np.zeros(0, dtype=np.int64) for _ in range(n_rows)]
        back = np.zeros((n_steps, n_rows, n_labels), dtype=np.int64)
        by_next = np.ascontiguousarray(self.transitions.T)  # (next, previous): max is contiguous
        score = self.start + emissions[:, 0]
        last = score.copy()
        for step in range(1, n_steps):
            paths = score[:, None, :] + by_next
            back[step] = paths.argmax(axis=2)
            score = np.take_along_axis(paths, back[step][:, :, None], axis=2)[:, :, 0]
            score += emissions[:, step]
            live = ends > step
            last[live] = score[live]
        label = (last + self.end).argmax(axis=1)
        paths_out = np.zeros((n_rows, n_steps), dtype=np.int64)
        rows = np.arange(n_rows)
        for step in range(n_steps - 1, -1, -1):
            paths_out[:, step] = label
            label = np.where(ends > step, back[step, rows, label], label)
        return [path[:length] for path, length in zip(paths_out, ends, strict=True)]

    def lattices(self, emissions: Floats, lengths: Sequence[int]) -> list[Lattice]:
        """The forward and backward scores of each row, for span marginals.

        Args:
            emissions: (B, T, E); what lies past a row's length is ignored.
            lengths: (B,) words of each row, at least 1.
        """
        scores = emissions.astype(np.float64)
        n_steps = scores.shape[1]
        ends = np.asarray(lengths, dtype=np.int64)
        forward, backward = np.empty_like(scores), np.empty_like(scores)
        weights = self._transition_weights
        with np.errstate(divide="ignore"):
            forward[:, 0] = self.start + scores[:, 0]
            for step in range(1, n_steps):
                forward[:, step] = _log_matmul(forward[:, step - 1], weights) + scores[:, step]
            backward[:, -1] = self.end
            for step in range(n_steps - 2, -1, -1):
                ahead = _log_matmul(backward[:, step + 1] + scores[:, step + 1], weights.T)
                backward[:, step] = np.where((ends == step + 1)[:, None], self.end, ahead)
        return [
            Lattice(self, scores[row, :end], forward[row, :end], backward[row, :end])
            for row, end in enumerate(ends)
        ]


def _log_matmul(scores: Floats, weights: Floats) -> Floats:
    """log(exp(scores) @ weights) without overflow; (B, E) and (E, E).

    Each row is multiplied alone: a product of all rows at once rounds a row differently
    beside other rows, and no note's scores may depend on the notes beside it.
    """
    top = scores.max(axis=1, keepdims=True)
    result: Floats = np.log((np.exp(scores - top)[:, None] @ weights)[:, 0]) + top
    return result


def _log_sum(scores: Floats) -> float:
    top = scores.max()
    return float(top + np.log(np.exp(scores - top).sum()))


@dataclass(frozen=True)
class Lattice:
    """Forward–backward scores of one sequence under one CRF (natural logarithms).

    Attributes:
        crf: the CRF.
        emissions: (T, E).
        forward: (T, E) score of all paths that reach a label, its emission included.
        backward: (T, E) score of all paths that leave a label, its emission excluded.
    """

    crf: Crf
    emissions: Floats
    forward: Floats
    backward: Floats

    @cached_property
    def log_partition(self) -> float:
        """The score of all paths together."""
        return _log_sum(self.forward[-1] + self.crf.end)

    def marginals(self) -> Floats:
        """(T, E) probability of each label at each word; rows sum to one."""
        return np.exp(self.forward + self.backward - self.log_partition)

    def likely_spans(self, least: float) -> list[tuple[WordSpan, float]]:
        """Every mention more probable than ``least``, with its probability.

        Those that the best path holds need not be among them, nor the others on it.

        Args:
            least: above 0; the higher, the fewer there are to look at.
        """
        begins = self.marginals()[:, 1::2]
        goes_on_first, goes_on = self._continuations()
        found = []
        for start, type in np.argwhere(begins > least).tolist():
            reached, onward = float(begins[start, type]), goes_on_first[start:, type]
            for end in range(start + 1, len(begins) + 1):
                here = reached * float(1.0 - onward[end - start - 1])
                if here > least:
                    found.append(((start, end, type), min(1.0, here)))
                reached -= here
                if reached <= least:
                    break
                onward = goes_on[start:, type]
        return found

    def _continuations(self) -> tuple[Floats, Floats]:
        """(T, N) how probably a mention of a type goes on after a word, if it begins or goes on
        in that word; N entity types.
        """
        inside = slice(2, None, 2)
        ahead = np.full((len(self.emissions), self.emissions.shape[1] // 2), -np.inf)
        ahead[:-1] = self.emissions[1:, inside] + self.backward[1:, inside]
        transitions = self.crf.transitions
        first = transitions[1::2, inside].diagonal() + ahead - self.backward[:, 1::2]
        later = transitions[inside, inside].diagonal() + ahead - self.backward[:, inside]
        return np.exp(np.minimum(first, 0.0)), np.exp(np.minimum(later, 0.0))
