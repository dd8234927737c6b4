"""Whether scores are probabilities: how often predictions of a score are strictly right.

A model is calibrated if of its predictions scored 0.8, eight in ten are right. Predictions
are put into bins by score, and the *expected calibration error* is the mean over the
predictions of the gap between their bin's mean score and its share of right ones (Guo et
al. 2017, On Calibration of Modern Neural Networks). They look at the top class of every
input; here an item counts if it was predicted, so that nothing is said of what the model
left out or a threshold held back.

A relation is right end to end: its type, direction and both mentions strictly. An attribute's score
is how likely its value is right given that the mention is: so only those of mentions that are
strictly right count, and of these the values that differ from the default.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emlb.evaluation.scoring.attributes import Marked, mention_key
from emlb.evaluation.scoring.match_keys import SECTIONS, scored_items
from emlb.evaluation.scoring.text_table import align
from emlb_runtime.records import Document

N_BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of similar score.

    Attributes:
        low: scores are above it; those of 0.0 are in the lowest bin.
        high: they are at most this.
        count: predictions.
        score: their mean score.
        right: the share that is right.
    """

    low: float
    high: float
    count: int
    score: float
    right: float

    @property
    def gap(self) -> float:
        """How far the mean score exceeds the share: positive is overconfident."""
        return self.score - self.right


@dataclass(frozen=True)
class Calibration:
    """How the scores of one kind of item relate to their being right.

    Attributes:
        equal_width: bins of the same width from 0 to 1, without those that are empty.
        equal_mass: bins of about the same count; equal scores are never parted, so there
            may be fewer.
    """

    equal_width: tuple[Bin, ...]
    equal_mass: tuple[Bin, ...]

    @property
    def count(self) -> int:
        """Predictions."""
        return sum(bin.count for bin in self.equal_width)

    @property
    def score(self) -> float:
        """Mean score; 0.0 without predictions."""
        return sum(bin.count * bin.score for bin in self.equal_width) / (self.count or 1)

    @property
    def right(self) -> float:
        """Share that is right, which is precision; 0.0 without predictions."""
        return sum(bin.count * bin.right for bin in self.equal_width) / (self.count or 1)

    @property
    def error(self) -> float:
        """Expected calibration error over bins of equal width."""
        return _expected_error(self.equal_width)

    @property
    def equal_mass_error(self) -> float:
        """Expected calibration error over bins of equal mass."""
        return _expected_error(self.equal_mass)


def calibrate(scores: ArrayLike, right: ArrayLike, *, bins: int = N_BINS) -> Calibration:
    """Bin predictions by score.

    Args:
        scores: (N,) probabilities.
        right: (N,) whether each prediction is right.
        bins: how many.

    Raises:
        ValueError: if the two are not of one length, or a score is not from 0 to 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    hits = np.asarray(right, dtype=np.bool_)
    if values.ndim != 1 or values.shape != hits.shape:
        raise ValueError(f"scores of shape {values.shape} and rights of shape {hits.shape}")
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("a score is not a number from 0 to 1")
    edges = np.arange(bins + 1) / bins
    ordered = np.sort(values)
    lasts = np.arange(1, bins + 1) * len(ordered) // bins - 1
    # Cut at the values, not at the positions: no order of equal scores could be the right one.
    cuts = np.unique(ordered[lasts[lasts >= 0]])
    return Calibration(
        _binned(values, hits, edges), _binned(values, hits, np.concatenate(([0.0], cuts)))
    )


class Measured(NamedTuple):
    """What to look at."""

    gold: Sequence[Document]
    """Annotated documents."""
    predicted: Sequence[Document]
    """Those of the same notes in the same order."""
    types: Collection[str] | None
    """Entity and relation types; None for all."""
    marked: Collection[Marked] = frozenset()
    """Attribute values, by attribute and entity type."""


def measure_calibration(*groups: Measured) -> dict[str, Calibration]:
    """How far the scores of ``entities`` and of ``relations`` are probabilities.

    Those of ``attributes`` too, where any are to be looked at.

    Args:
        groups: documents to look at together, such as those of several corpora.
    """
    sections = (*SECTIONS, *(["attributes"] if any(group.marked for group in groups) else []))
    scores: dict[str, list[float]] = {section: [] for section in sections}
    right: dict[str, list[bool]] = {section: [] for section in sections}
    for group in groups:
        for annotated, found in zip(group.gold, group.predicted, strict=True):
            wanted, items = (scored_items(side, group.types) for side in (annotated, found))
            for section in SECTIONS:
                scores[section] += items[section].values()
                right[section] += [key in wanted[section] for key in items[section]]
            for score, is_right in _attributes(annotated, found, group.marked):
                scores["attributes"].append(score)
                right["attributes"].append(is_right)
    return {section: calibrate(scores[section], right[section]) for section in sections}


def _attributes(
    annotated: Document, found: Document, marked: Collection[Marked]
) -> Iterator[tuple[float, bool]]:
    """Of each value stated of a right mention, its score and whether gold has it."""
    gold = {mention_key(entity): entity for entity in annotated.entities}
    for entity in found.entities:
        other = gold.get(mention_key(entity))
        for name, value in entity.attributes.items():
            if other is not None and (name, entity.type, value) in marked:
                yield entity.attribute_scores.get(name, 1.0), other.attributes.get(name) == value


def render(measured: Mapping[str, Calibration], *, title: str) -> str:
    """Reliability tables as aligned plain text, a section per kind of item.

    Args:
        measured: by section.
        title: a first line.
    """
    lines = [title]
    for section, calibration in measured.items():
        if not calibration.count:
            lines += ["", f"{section}: none predicted"]
            continue
        lines += [
            "",
            f"{section}: ECE {100 * calibration.error:.1f} "
            f"({100 * calibration.equal_mass_error:.1f} in bins of equal mass); "
            f"mean score {calibration.score:.3f}, right {calibration.right:.3f}"
            # Files of other systems mostly come without scores, and the records default to 1.
            + (" (every score is 1)" if calibration.equal_mass[0].score == 1 else ""),
        ]
        cells = [["score", "predicted", "mean score", "right", "gap"]]
        for bin in calibration.equal_width:
            values = [f"{bin.score:.3f}", f"{bin.right:.3f}", f"{bin.gap:+.3f}"]
            cells.append([f"{bin.low:.1f}–{bin.high:.1f}", str(bin.count), *values])
        lines += align(cells)
    return "\n".join(lines)


def to_json(measured: Mapping[str, Calibration]) -> dict[str, Any]:
    """The errors and bins as JSON-ready values, fractions of one."""
    return {
        section: {
            "predicted": calibration.count,
            "mean_score": calibration.score,
            "right": calibration.right,
            "ece": calibration.error,
            "ece_equal_mass": calibration.equal_mass_error,
            "bins": [_bin_json(bin) for bin in calibration.equal_width],
            "bins_equal_mass": [_bin_json(bin) for bin in calibration.equal_mass],
        }
        for section, calibration in measured.items()
    }


def _bin_json(bin: Bin) -> dict[str, float]:
    return {
        "low": bin.low,
        "high": bin.high,
        "count": bin.count,
        "score": bin.score,
        "right": bin.right,
    }


def _binned(
    scores: NDArray[np.float64], right: NDArray[np.bool_], edges: NDArray[np.float64]
) -> tuple[Bin, ...]:
    """The bins between edges that hold anything; the lower edge belongs to the bin below."""
    numbers = np.maximum(np.searchsorted(edges, scores, side="left") - 1, 0)
    bins = []
    for number in np.unique(numbers):
        inside = numbers == number
        bins.append(
            Bin(
                float(edges[number]),
                float(edges[number + 1]),
                int(inside.sum()),
                float(np.sort(scores[inside]).mean()),  # a sum of floats depends on its order
                float(right[inside].mean()),
            )
        )
    return tuple(bins)


def _expected_error(bins: Sequence[Bin]) -> float:
    total = sum(bin.count for bin in bins)
    return sum(bin.count * abs(bin.gap) for bin in bins) / (total or 1)
