"""The order in which windows are seen: a fixed list, so that a run can go on anywhere in it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from emlb_runtime.text.tokens import Ints

from .masking import Draw

_GROUP = 50
"""Batches that are sorted by length together, so that little is padded."""


class Schedule(Sampler[Draw]):
    """Epoch after epoch of the training windows, up to a number of draws.

    Every epoch has an order of its own, in which windows of like length share a batch. Where
    an epoch ends within a batch, the next one fills it.

    Args:
        windows: indices of the windows to train on.
        lengths: (W,) pieces of every window of the corpus.
        batch_size: windows per batch.
        total: draws.
        seed: of the order.
    """

    def __init__(
        self, windows: Ints, lengths: Ints, *, batch_size: int, total: int, seed: int
    ) -> None:
        self._windows = windows
        self._lengths = lengths[windows]
        self._batch_size = batch_size
        self._total = total
        self._seed = seed

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Draw]:
        given, epoch = 0, 0
        while given < self._total:
            epoch += 1
            order = self._order(epoch, fill=-given % self._batch_size)
            for window in self._windows[order[: self._total - given]].tolist():
                yield Draw(epoch, window)
            given += len(order)

    def _order(self, epoch: int, *, fill: int) -> Ints:
        """A permutation; its first ``fill`` end a batch that was begun before."""
        rng = np.random.default_rng([self._seed, epoch])
        shuffled = rng.permutation(len(self._windows))
        ordered, rest = [shuffled[:fill]], shuffled[fill:]
        size = self._batch_size * _GROUP
        for start in range(0, len(rest), size):
            group = rest[start : start + size]
            group = group[np.argsort(-self._lengths[group], kind="stable")]
            whole = len(group) // self._batch_size
            batches = group[: whole * self._batch_size].reshape(whole, self._batch_size)
            ordered += [batches[rng.permutation(whole)].reshape(-1), group[batches.size :]]
        return np.concatenate(ordered)
