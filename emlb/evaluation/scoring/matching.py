"""One-to-one matching of gold and predicted items that have the same types.

An item is one mention (an entity) or two (a relation's head and tail), each given by
its fragments. Items are held in counters, so results cannot depend on their order, and
a duplicate needs a second partner to count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator

from emlb_runtime.records import Fragment

Spans = tuple[Fragment, ...]
"""The fragments of one mention, in text order."""

Item = tuple[Spans, ...]
"""The mentions that have to match together."""


def match_strict(gold: Counter[Item], predicted: Counter[Item]) -> int:
    """Number of pairs whose fragments are all the same."""
    return (gold & predicted).total()


def match_lenient(gold: Counter[Item], predicted: Counter[Item]) -> int:
    """Number of pairs in which every mention shares a code point with its partner.

    As in the lenient setting of n2c2 2018, any overlap is a match; unlike there, an item
    has one partner at most, and the pairing does not depend on the order of the files:

    1. items with the same fragments are paired;
    2. of the rest, the pair that shares the most code points is taken, and so on until
       nothing overlaps. Ties go to the pair of fewer code points in all, then to the
       one whose gold item, then predicted item, comes first in the text.

    The first step makes the result at least that of `match_strict`. The second is
    greedy: a chain of overlaps can hold a larger matching than it finds.
    """
    same = gold & predicted
    gold_left, predicted_left = gold - same, predicted - same
    total = same.total()
    for gold_item, predicted_item in _ranked(gold_left, predicted_left):
        count = min(gold_left[gold_item], predicted_left[predicted_item])
        gold_left[gold_item] -= count
        predicted_left[predicted_item] -= count
        total += count
    return total


def _ranked(gold: Counter[Item], predicted: Counter[Item]) -> list[tuple[Item, Item]]:
    """The overlapping pairs, in the order in which they are to be taken."""
    ranked = [
        (-shared, _size(first) + _size(second), first, second)
        for first, second in _neighbours(gold, predicted)
        if (shared := _overlap(first, second))
    ]
    return [(first, second) for _, _, first, second in sorted(ranked)]


def _neighbours(gold: Counter[Item], predicted: Counter[Item]) -> Iterator[tuple[Item, Item]]:
    """Pairs whose first mentions can overlap: comparing all would be quadratic."""
    ordered = sorted(gold)
    starts = [_hull(item[0])[0] for item in ordered]
    longest = max((end - start for start, end in (_hull(item[0]) for item in ordered)), default=0)
    for item in predicted:
        start, end = _hull(item[0])
        for index in range(bisect_right(starts, start - longest), bisect_left(starts, end)):
            yield ordered[index], item


def _overlap(first: Item, second: Item) -> int:
    """Code points shared by all mentions together; 0 if one of them shares none."""
    shared = [_shared(one, other) for one, other in zip(first, second, strict=True)]
    return sum(shared) if all(shared) else 0


def _shared(first: Spans, second: Spans) -> int:
    return sum(
        max(0, min(end, other_end) - max(start, other_start))
        for start, end in first
        for other_start, other_end in second
    )


def _size(item: Item) -> int:
    return sum(end - start for spans in item for start, end in spans)


def _hull(spans: Spans) -> Fragment:
    return spans[0][0], max(end for _, end in spans)
