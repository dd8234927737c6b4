from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from emlb.evaluation.scoring.matching import Item, Spans, match_lenient, match_strict


def mentions(*spans: tuple[int, int]) -> Counter[Item]:
    """Contiguous mentions, one per item."""
    return Counter([((span,),) for span in spans])


@st.composite
def fragmented(draw: st.DrawFn) -> Spans:
    cuts = draw(st.lists(st.integers(0, 15), min_size=2, max_size=6, unique=True))
    cuts = sorted(cuts[: len(cuts) // 2 * 2])
    return tuple(zip(cuts[::2], cuts[1::2], strict=True))


def items(size: int) -> st.SearchStrategy[Counter[Item]]:
    return st.lists(st.tuples(*[fragmented()] * size), max_size=6).map(lambda drawn: Counter(drawn))


def largest_matching(gold: list[Item], predicted: list[Item]) -> int:
    """The largest one-to-one matching by overlap, by trying all."""
    if not gold:
        return 0
    first, rest = gold[0], gold[1:]
    best = largest_matching(rest, predicted)
    for index, item in enumerate(predicted):
        if all(covered(one) & covered(other) for one, other in zip(first, item, strict=True)):
            left = predicted[:index] + predicted[index + 1 :]
            best = max(best, 1 + largest_matching(rest, left))
    return best


def covered(spans: Spans) -> set[int]:
    return {point for start, end in spans for point in range(start, end)}


def test_touching_mentions_do_not_match() -> None:
    assert match_lenient(mentions((0, 5)), mentions((5, 9))) == 0
    assert match_lenient(mentions((0, 5)), mentions((4, 9))) == 1


def test_a_mention_in_the_gap_of_another_does_not_match() -> None:
    gapped: Counter[Item] = Counter([(((0, 4), (10, 14)),)])
    assert match_lenient(gapped, mentions((4, 10))) == 0
    assert match_lenient(gapped, mentions((4, 11))) == 1
    assert match_strict(gapped, mentions((0, 14))) == 0
    assert match_strict(gapped, Counter([(((0, 4), (10, 14)),)])) == 1


def test_one_prediction_finds_one_mention() -> None:
    assert match_lenient(mentions((0, 4), (5, 9)), mentions((0, 9))) == 1
    assert match_lenient(mentions((0, 9)), mentions((0, 4), (5, 9))) == 1


def test_duplicates_want_a_partner_each() -> None:
    assert match_strict(mentions((0, 4), (0, 4)), mentions((0, 4))) == 1
    assert match_strict(mentions((0, 4), (0, 4)), mentions((0, 4), (0, 4), (0, 4))) == 2
    assert match_lenient(mentions((0, 4), (0, 4)), mentions((1, 4), (1, 4))) == 2


def test_the_same_fragments_are_paired_first() -> None:
    # Both predictions share three points with (0, 3); only the long one reaches (8, 10).
    assert match_lenient(mentions((0, 3), (8, 10)), mentions((0, 3), (0, 9))) == 2


def test_the_larger_overlap_is_taken_first() -> None:
    # (4, 9) shares three points with (6, 12) and two with (0, 6): the latter stays free.
    assert match_lenient(mentions((0, 6), (6, 12)), mentions((4, 9), (5, 6))) == 2


def test_greedy_may_miss_the_largest_matching() -> None:
    # (3, 8) and (2, 7) share most; what is left on each side does not overlap.
    gold, predicted = mentions((0, 3), (3, 8)), mentions((2, 7), (7, 12))
    assert match_lenient(gold, predicted) == 1
    assert largest_matching(list(gold), list(predicted)) == 2


def test_every_mention_of_an_item_has_to_overlap() -> None:
    gold: Counter[Item] = Counter([(((0, 5),), ((10, 15),))])
    assert match_lenient(gold, Counter([(((0, 5),), ((15, 19),))])) == 0
    assert match_lenient(gold, Counter([(((4, 8),), ((12, 19),))])) == 1


@given(st.sampled_from([1, 2]).flatmap(lambda size: st.tuples(items(size), items(size))))
def test_lenient_lies_between_strict_and_the_largest(
    pair: tuple[Counter[Item], Counter[Item]],
) -> None:
    gold, predicted = pair
    lenient = match_lenient(gold, predicted)
    largest = largest_matching(list(gold.elements()), list(predicted.elements()))
    assert match_strict(gold, predicted) <= lenient <= largest <= 2 * lenient
    assert match_lenient(gold, gold) == gold.total()
