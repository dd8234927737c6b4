"""The score above which a relation is worth reporting, chosen on development data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_UNINFORMED = 0.5
"""The threshold where no candidate is right, so that no threshold is better than another."""


def best_thresholds(
    scores: Sequence[tuple[str, float, bool]],
    gold: Mapping[str, int],
    *,
    minimum: int = 20,
) -> dict[str, float]:
    """The threshold of each relation type that gives the highest F1.

    A candidate counts as predicted if its score is at least the threshold. Each threshold
    lies halfway between the last score it lets in and the next below (0 if there is
    none), so that a small change of the scores, as by quantisation, changes little. Of
    equally good ones the highest is taken: fewer predictions for the same F1.

    Args:
        scores: type, score (a probability) and whether gold has it, for each candidate.
        gold: number of gold relations per type, with those that no candidate reaches
            because a mention was not found.
        minimum: types with fewer gold relations get the threshold that is best for all
            types together: too few to choose on. So do types without a right candidate.

    Returns:
        A threshold for each type of `gold` or `scores`; 0.5 if nothing can be learned.

    Raises:
        ValueError: if a score is not a number from 0 to 1, or a type has more right
            candidates than gold relations.
    """
    types = np.array([type for type, _, _ in scores], dtype=object)
    values = np.array([value for _, value, _ in scores], dtype=np.float64)
    right = np.array([flag for _, _, flag in scores], dtype=np.bool_)
    _check(types, values, right, gold)
    pooled = _best(values, right, sum(gold.values()))
    default = _UNINFORMED if pooled is None else pooled
    thresholds = {}
    for type in sorted({*gold, *types}):
        own = None
        if (total := gold.get(type, 0)) >= minimum:
            chosen = types == type
            own = _best(values[chosen], right[chosen], total)
        thresholds[type] = default if own is None else own
    return thresholds


def _best(values: NDArray[np.float64], right: NDArray[np.bool_], gold: int) -> float | None:
    """The best threshold for these candidates; None if none of them is right."""
    if not right.any():
        return None
    order = np.argsort(-values, kind="stable")
    values, found = values[order], np.cumsum(right[order])
    # A threshold cannot part equal scores: look only where the next score is lower.
    below = np.append(values[1:], 0.0)
    cuts = np.append(values[1:] < values[:-1], True)
    f1 = np.where(cuts, 2 * found / (np.arange(1, len(values) + 1) + gold), -1.0)
    cut = int(np.argmax(f1))
    threshold = float((values[cut] + below[cut]) / 2)
    # Between neighbouring floats the middle rounds to one of them, maybe the lower.
    return threshold if threshold > below[cut] else float(values[cut])


def _check(
    types: NDArray[np.object_],
    values: NDArray[np.float64],
    right: NDArray[np.bool_],
    gold: Mapping[str, int],
) -> None:
    if outside := int((~((values >= 0) & (values <= 1))).sum()):
        raise ValueError(f"{outside} scores are not numbers from 0 to 1; pass probabilities")
    for type in sorted(set(types)):
        if (found := int(right[types == type].sum())) > gold.get(type, 0):
            raise ValueError(
                f"{type}: {found} right candidates but {gold.get(type, 0)} gold relations; "
                "count every gold relation, and mark one candidate for each at most"
            )
