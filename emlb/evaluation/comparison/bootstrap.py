"""Confidence intervals by resampling documents.

Documents are drawn with replacement, as many as there are, and the measures taken again
from the sum of their tallies; the interval holds the middle of what comes out
(percentile bootstrap, Efron 1979). Two systems are compared on the same draws (paired
bootstrap, Koehn 2004), so that documents that are hard for both do not hide a
difference. Sampling is seeded: the same documents give the same interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emlb.evaluation.protocols.base import Key, Row, Tally

Measure = tuple[Key, str]
"""A row and one of its values."""


class Rows(Protocol):
    """What makes measures of summed tallies, as every scoring protocol does."""

    def rows(self, total: Tally) -> list[Row]:
        """The measures; keys that no document has are absent from the total."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a measure lies in most of the samples.

    Attributes:
        low: its lower end.
        high: its upper end.
    """

    low: float
    high: float


def intervals(
    protocol: Rows,
    tallies: Sequence[Tally],
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 13,
) -> dict[Measure, Interval]:
    """The interval of every measure of a protocol.

    Args:
        protocol: its rules.
        tallies: one per document.
        samples: how often to draw.
        level: share of the samples that the interval holds.
        seed: of the draws.
    """
    weights = _draws(len(tallies), samples, seed)
    drawn = [_values(protocol.rows(total)) for total in _Summed(tallies).totals(weights)]
    return _percentiles(drawn, level)


def differences(
    protocol: Rows,
    tallies: Sequence[Tally],
    others: Sequence[Tally],
    *,
    samples: int = 1000,
    level: float = 0.95,
    seed: int = 13,
) -> dict[Measure, Interval]:
    """The interval of how much higher every measure is for the others.

    Args:
        protocol: its rules.
        tallies: one per document, of the system that is compared with.
        others: those of the other system, for the same documents in the same order.
        samples: how often to draw.
        level: share of the samples that the interval holds.
        seed: of the draws.

    Raises:
        ValueError: if the two are not of as many documents.
    """
    if len(tallies) != len(others):
        raise ValueError(f"{len(tallies)} and {len(others)} documents cannot be compared in pairs")
    weights = _draws(len(tallies), samples, seed)
    drawn = []
    pairs = zip(_Summed(tallies).totals(weights), _Summed(others).totals(weights), strict=True)
    for total, other in pairs:
        before, after = _values(protocol.rows(total)), _values(protocol.rows(other))
        drawn.append(
            {m: after.get(m, 0.0) - before.get(m, 0.0) for m in before.keys() | after.keys()}
        )
    return _percentiles(drawn, level)


class _Summed:
    """Tallies as a matrix, so that the sums of all samples are one product."""

    def __init__(self, tallies: Sequence[Tally]) -> None:
        sizes: dict[Key, int] = {}
        for tally in tallies:
            for key, values in tally.items():
                sizes.setdefault(key, len(values))
        self._slices: dict[Key, slice] = {}
        width = 0
        for key, size in sizes.items():
            self._slices[key] = slice(width, width + size)
            width += size
        self._values = np.zeros((len(tallies), width))
        self._present = np.zeros((len(tallies), len(sizes)))
        numbers = {key: number for number, key in enumerate(sizes)}
        for row, tally in enumerate(tallies):
            for key, values in tally.items():
                self._values[row, self._slices[key]] = values
                self._present[row, numbers[key]] = 1.0

    def totals(self, weights: NDArray[np.float64]) -> Iterator[Tally]:
        """The tally of each sample; keys that none of its documents has are absent."""
        sums, present = weights @ self._values, weights @ self._present
        for row, there in zip(sums, present, strict=True):
            yield {
                key: tuple(row[part].tolist())
                for (key, part), count in zip(self._slices.items(), there, strict=True)
                if count
            }


def _draws(n_documents: int, samples: int, seed: int) -> NDArray[np.float64]:
    """(samples, documents) how often each document is drawn."""
    generator = np.random.default_rng(seed)
    shares = np.full(n_documents, 1.0 / n_documents)
    return generator.multinomial(n_documents, shares, size=samples).astype(np.float64)


def _values(rows: Sequence[Row]) -> dict[Measure, float]:
    return {(row.key, name): value for row in rows for name, value in row.values.items()}


def _percentiles(drawn: Sequence[Mapping[Measure, float]], level: float) -> dict[Measure, Interval]:
    """The middle of each measure; a sample without its row does not count."""
    found: dict[Measure, list[float]] = {}
    for values in drawn:
        for measure, value in values.items():
            found.setdefault(measure, []).append(value)
    outside = 100 * (1 - level) / 2
    return {
        measure: Interval(*np.percentile(values, [outside, 100 - outside]).tolist())
        for measure, values in found.items()
    }
