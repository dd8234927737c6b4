"""Algorithm 1's draw of batches: each from one dataset."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from torch.utils.data import Sampler

EXPONENTS = {"proportional": 1.0, "square_root": 0.5, "uniform": 0.0}
"""A dataset's share of the batches is its size to this power."""


class DatasetSampler(Sampler[int]):
    """Indices whose consecutive runs of ``batch_size`` come from one dataset each.

    An epoch has as many batches as all datasets fill; they are allotted by size to the power
    of ``EXPONENTS``, at least one each, and come in random order. Within its share a dataset
    is gone through in random order, again and again if the share is larger than it. Batches
    hold windows of like length.

    Args:
        datasets: for each example, a number that says which dataset it is of.
        lengths: for each example, its number of pieces.
        batch_size: examples per batch.
        sampling: one of ``EXPONENTS``.
        seed: with the epoch, decides the order.
    """

    def __init__(
        self,
        datasets: Sequence[int],
        lengths: Sequence[int],
        *,
        batch_size: int,
        sampling: str,
        seed: int,
    ) -> None:
        self._members: dict[int, list[int]] = {}
        for index, dataset in enumerate(datasets):
            self._members.setdefault(dataset, []).append(index)
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0
        self._batches = _allot(
            {dataset: len(members) for dataset, members in self._members.items()},
            total=-(-len(datasets) // batch_size),
            exponent=EXPONENTS[sampling],
        )

    def set_epoch(self, epoch: int) -> None:
        """Decide the order of that epoch; the ``Trainer`` calls it, on resuming too."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(self._batches.values()) * self._batch_size

    def __iter__(self) -> Iterator[int]:
        generator = random.Random(f"{self._seed} {self._epoch}")
        batches = [
            batch
            for dataset, count in self._batches.items()
            for batch in self._draw(self._members[dataset], count, generator)
        ]
        generator.shuffle(batches)
        for batch in batches:
            yield from batch

    def _draw(
        self, members: list[int], count: int, generator: random.Random
    ) -> Iterator[list[int]]:
        """``count`` full batches of one dataset's examples, of like length."""
        wanted = count * self._batch_size
        drawn: list[int] = []
        while len(drawn) < wanted:
            drawn += generator.sample(members, len(members))
        drawn = sorted(drawn[:wanted], key=lambda index: self._lengths[index])
        for first in range(0, wanted, self._batch_size):
            yield drawn[first : first + self._batch_size]


def _allot(sizes: dict[int, int], *, total: int, exponent: float) -> dict[int, int]:
    """How many of ``total`` batches each dataset gets, at least one; by largest remainder."""
    weights = {dataset: size**exponent for dataset, size in sizes.items()}
    whole = sum(weights.values())
    exact = {dataset: total * weight / whole for dataset, weight in weights.items()}
    counts = {dataset: max(1, int(share)) for dataset, share in exact.items()}
    by_remainder = sorted(exact, key=lambda dataset: counts[dataset] - exact[dataset])
    for dataset in by_remainder[: max(0, total - sum(counts.values()))]:
        counts[dataset] += 1
    return counts
