"""The score above which a relation is worth reporting, chosen on development data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_UNINFORMED = 0.5
"""The threshold where no candidate is right, so that no threshold is better than another."""


class Evidence(NamedTuple):
    """What one corpus has to say of thresholds."""

    scores: Sequence[tuple[str, float, bool]]
    """Type, score (a probability) and whether gold has it, for each candidate."""
    gold: Mapping[str, int]
    """Gold relations per type, with those that no candidate reaches because a mention was not
    found."""


_Group = tuple[NDArray[np.float64], NDArray[np.bool_], int]
"""Scores of candidates, whether each is right, and the number of gold relations."""


def best_thresholds(
    scores: Sequence[tuple[str, float, bool]],
    gold: Mapping[str, int],
    *,
    minimum: int = 20,
) -> dict[str, float]:
    """``balanced_thresholds`` of one corpus."""
    return balanced_thresholds([Evidence(scores, gold)], minimum=minimum)


def balanced_thresholds(corpora: Sequence[Evidence], *, minimum: int = 20) -> dict[str, float]:
    """The threshold of each relation type that gives the highest F1, as a mean over corpora.

    Each corpus counts the same, so that a large one of easy texts does not decide for a small
    one of hard texts. One with fewer than `minimum` relations of the type is joined to the next
    larger one.

    A candidate counts as predicted if its score is at least the threshold. Each threshold
    lies halfway between the last score it lets in and the next below (0 if there is
    none), so that a small change of the scores, as by quantisation, changes little. Of
    equally good ones the highest is taken: fewer predictions for the same F1.

    Args:
        corpora: their candidates and gold relations.
        minimum: types with fewer gold relations in all corpora get the threshold that is
            best for all types together: too few to choose on. So do types without a right
            candidate.

    Returns:
        A threshold for each type of gold or scores; 0.5 if nothing can be learned.

    Raises:
        ValueError: if a score is not a number from 0 to 1, or a corpus has more right
            candidates of a type than gold relations.
    """
    groups: dict[str, list[_Group]] = {}
    for scores, gold in corpora:
        types = np.array([type for type, _, _ in scores], dtype=object)
        values = np.array([value for _, value, _ in scores], dtype=np.float64)
        right = np.array([flag for _, _, flag in scores], dtype=np.bool_)
        _check(types, values, right, gold)
        for type in {*gold, *types}:
            own = types == type
            groups.setdefault(type, []).append((values[own], right[own], gold.get(type, 0)))
    everything = [group for of_type in groups.values() for group in of_type]
    pooled = _best([_pool(everything)]) if everything else None
    default = _UNINFORMED if pooled is None else pooled
    thresholds = {}
    for type in sorted(groups):
        enough = sum(total for _, _, total in groups[type]) >= minimum
        best = _best(_join_small(groups[type], minimum)) if enough else None
        thresholds[type] = default if best is None else best
    return thresholds


def _pool(groups: Sequence[_Group]) -> _Group:
    values, right, totals = zip(*groups, strict=True)
    return np.concatenate(values), np.concatenate(right), sum(totals)


def _join_small(groups: Sequence[_Group], minimum: int) -> list[_Group]:
    """Groups of at least so many relations each, the smaller ones with the next larger."""
    joined: list[_Group] = []
    waiting: list[_Group] = []
    for group in sorted(groups, key=lambda group: group[2]):
        waiting.append(group)
        if sum(total for _, _, total in waiting) >= minimum:
            joined.append(_pool(waiting))
            waiting = []
    return joined


def _best(groups: Sequence[_Group]) -> float | None:
    """The threshold with the best mean F1 of these; None if no candidate is right."""
    if not any(right.any() for _, right, _ in groups):
        return None
    values = np.unique(np.concatenate([values for values, _, _ in groups]))[::-1]
    f1 = np.mean([_f1(group, values) for group in groups], axis=0)
    cut = int(np.argmax(f1))
    below = values[cut + 1] if cut + 1 < len(values) else 0.0
    threshold = float((values[cut] + below) / 2)
    # Between neighbouring floats the middle rounds to one of them, maybe the lower.
    return threshold if threshold > below else float(values[cut])


def _f1(group: _Group, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of a group's candidates at each of some thresholds."""
    values, right, total = group
    order = np.argsort(-values, kind="stable")
    n_let_in = np.searchsorted(-values[order], -thresholds, side="right")
    found = np.concatenate([[0], np.cumsum(right[order])])[n_let_in]
    return np.asarray(2 * found / np.maximum(n_let_in + total, 1), dtype=np.float64)


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
