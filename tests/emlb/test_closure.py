"""Temporal closure: by hand, against anaforatools, and at speed."""

from __future__ import annotations

from itertools import pairwise, product
from random import Random
from time import process_time

import pytest
from anafora.evaluate import TemporalClosureScores
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb.evaluation.protocols.closure import (
    MEANINGS,
    Interval,
    Timeline,
    TimeLink,
    count_closed,
    distinct,
)

A, B, C, D, E = (((place, place + 5),) for place in range(0, 50, 10))
GAPPED = ((60, 62), (64, 66))

intervals = st.sampled_from([A, B, C, D, E, GAPPED])
types = st.sampled_from(sorted(MEANINGS))
links = st.tuples(intervals, intervals, types)
link_lists = st.lists(links, max_size=9)
any_links = st.lists(
    st.tuples(intervals, intervals, types | st.sampled_from(["NOTED-ON", "", "CONTAINS-SUBEVENT"])),
    max_size=9,
)


def theirs(link: TimeLink) -> tuple[tuple[Interval, Interval], str, tuple[str, str]]:
    """A link as anaforatools holds it."""
    source, target, type = link
    return (source, target), "TLINK", ("Type", type)


def their_counts(reference: list[TimeLink], predicted: list[TimeLink]) -> tuple[int, int, int, int]:
    scores = TemporalClosureScores()
    scores.add({theirs(link) for link in reference}, {theirs(link) for link in predicted})
    return scores.reference, scores.predicted, scores.precision_correct, scores.recall_correct


def test_containment_is_transitive() -> None:
    timeline = Timeline([(A, B, "CONTAINS"), (B, C, "CONTAINS")])
    assert timeline.implies((A, C, "CONTAINS"))
    assert timeline.implies((C, A, "IS_INCLUDED"))
    assert timeline.implies((A, C, "OVERLAP"))
    assert not timeline.implies((C, A, "CONTAINS"))
    assert not timeline.implies((A, D, "CONTAINS"))
    assert not timeline.implies((A, C, "BEFORE"))


def test_what_is_contained_keeps_the_order_of_its_container() -> None:
    timeline = Timeline([(A, B, "BEFORE"), (B, C, "CONTAINS"), (C, D, "IDENTITY")])
    assert timeline.implies((A, D, "BEFORE"))
    assert timeline.implies((D, A, "AFTER"))
    assert timeline.implies((B, D, "INCLUDES"))


def test_a_type_without_meaning_is_never_implied() -> None:
    assert not Timeline([(A, B, "BEFORE")]).implies((A, B, "NOTED-ON"))
    with pytest.raises(KeyError):
        Timeline([(A, B, "NOTED-ON")])


def test_counts_by_hand() -> None:
    chain: list[TimeLink] = [(A, B, "CONTAINS"), (B, C, "CONTAINS")]
    assert count_closed(chain, [(A, C, "CONTAINS")]) == (2, 1, 1, 0)
    assert count_closed([(A, C, "CONTAINS")], chain) == (1, 2, 0, 1)
    assert count_closed(chain, [*chain, (A, C, "CONTAINS")]) == (2, 3, 3, 2)
    assert count_closed(chain, []) == (2, 0, 0, 0)
    assert count_closed([], []) == (0, 0, 0, 0)


def test_links_that_say_the_same_count_once() -> None:
    same: list[TimeLink] = [(A, B, "CONTAINS"), (A, B, "INCLUDES"), (B, A, "IS_INCLUDED")]
    assert distinct(same) == [(A, B, "CONTAINS")]
    assert distinct([*same, (A, B, "NOTED-ON")]) == distinct(reversed(same))
    assert count_closed(same, [(B, A, "IS_INCLUDED")]) == (1, 1, 1, 1)


@settings(max_examples=250, deadline=None)
@given(link_lists)
def test_all_that_follows_is_what_anaforatools_derives(given_links: list[TimeLink]) -> None:
    derived = TemporalClosureScores()._closure({theirs(link) for link in given_links})
    timeline = Timeline(given_links)
    places = [A, B, C, D, E, GAPPED]
    implied = {theirs(link) for link in product(places, places, MEANINGS) if timeline.implies(link)}
    assert implied == derived


@settings(max_examples=250, deadline=None)
@given(any_links, any_links)
def test_counts_are_those_of_anaforatools(
    reference: list[TimeLink], predicted: list[TimeLink]
) -> None:
    assert count_closed(reference, predicted) == their_counts(reference, predicted)


@settings(max_examples=120, deadline=None)
@given(link_lists, link_lists, st.randoms(use_true_random=False))
def test_which_of_the_same_links_is_kept_changes_no_count(
    reference: list[TimeLink], predicted: list[TimeLink], random: Random
) -> None:
    # anaforatools keeps the first in hash order: here it gets other orders.
    scores = TemporalClosureScores()
    kept = []
    for side in (reference, predicted):
        shuffled = list(dict.fromkeys(map(theirs, side)))
        random.shuffle(shuffled)
        kept.append(scores._remove_duplicate_relations(shuffled))
    first, second = kept
    expected = (
        len(first),
        len(second),
        len(scores._closure(first) & second),
        len(first & scores._closure(second)),
    )
    assert count_closed(reference, predicted) == expected


@given(link_lists, link_lists)
def test_order_and_repetition_do_not_matter(one: list[TimeLink], other: list[TimeLink]) -> None:
    assert count_closed(one, other) == count_closed([*one[::-1], *one], other[::-1])


def test_five_hundred_links_take_no_time() -> None:
    random = Random(5)
    places = [((place, place + 3),) for place in range(0, 2505, 5)]
    chain: list[TimeLink] = [(one, other, "CONTAINS") for one, other in pairwise(places)]
    scattered: list[TimeLink] = [
        (random.choice(places), random.choice(places), random.choice(sorted(MEANINGS)))
        for _ in range(500)
    ]
    begun = process_time()
    counts = count_closed(chain, chain[::-1])
    mixed = count_closed(scattered, scattered[:250])
    assert process_time() - begun < 1.0
    assert counts == (500, 500, 500, 500)
    assert mixed[2] == mixed[1]
    assert Timeline(chain).implies((places[0], places[-1], "CONTAINS"))
