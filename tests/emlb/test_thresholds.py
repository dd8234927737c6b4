from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb.evaluation import best_thresholds
from emlb.evaluation.calibration.thresholds import Evidence, balanced_thresholds

Candidate = tuple[str, float, bool]

# Few distinct values, so that equal scores are common; any float besides.
SCORES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)
CANDIDATES = st.lists(st.tuples(st.sampled_from("AB"), SCORES, st.booleans()), max_size=12)
UNREACHED = st.fixed_dictionaries({"A": st.integers(0, 3), "B": st.integers(0, 3)})


def f1(candidates: Sequence[Candidate], threshold: float, gold: int) -> float:
    chosen = [right for _, value, right in candidates if value >= threshold]
    return 2 * sum(chosen) / (len(chosen) + gold) if chosen or gold else 0.0


def gold_counts(candidates: Sequence[Candidate], unreached: Mapping[str, int]) -> dict[str, int]:
    found = Counter(type for type, _, right in candidates if right)
    return {type: found[type] + count for type, count in unreached.items()}


def test_the_best_cut_lies_halfway() -> None:
    # Cut after each: 2/4, 4/5, 4/6, 6/7, 6/8 with three gold relations.
    candidates = [
        ("A", 0.9, True),
        ("A", 0.8, True),
        ("A", 0.7, False),
        ("A", 0.4, True),
        ("A", 0.2, False),
    ]
    assert best_thresholds(candidates, {"A": 3}, minimum=1) == {"A": pytest.approx(0.3)}
    # With three more that nothing reaches: 2/7, 4/8, 4/9, 6/10, 6/11.
    assert best_thresholds(candidates, {"A": 6}, minimum=1) == {"A": pytest.approx(0.3)}


def test_gold_out_of_reach_moves_the_cut() -> None:
    candidates = [("A", 0.9, True), ("A", 0.7, False), ("A", 0.6, False), ("A", 0.5, True)]
    # Two gold: 2/3 against 4/6, equal, so the higher; ten gold: 2/11 against 4/14.
    assert best_thresholds(candidates, {"A": 2}, minimum=1) == {"A": pytest.approx(0.8)}
    assert best_thresholds(candidates, {"A": 10}, minimum=1) == {"A": pytest.approx(0.25)}


def test_equal_scores_are_not_parted() -> None:
    candidates = [("A", 0.6, True), ("A", 0.6, False), ("A", 0.6, False), ("A", 0.2, True)]
    # The only cuts are 2/5 and 4/6.
    assert best_thresholds(candidates, {"A": 2}, minimum=1) == {"A": pytest.approx(0.1)}


def test_small_types_take_the_pooled_threshold() -> None:
    candidates = [("A", 0.8, True)] * 20 + [("A", 0.6, False)] * 20 + [("B", 0.1, True)]
    thresholds = best_thresholds(candidates, {"B": 19, "A": 20, "C": 0})
    assert thresholds == {name: pytest.approx(0.7) for name in "ABC"}
    assert list(thresholds) == ["A", "B", "C"]
    own = best_thresholds(candidates, {"A": 20, "B": 20})
    assert own == {"A": pytest.approx(0.7), "B": pytest.approx(0.05)}


def test_a_type_without_a_right_candidate_takes_the_pooled_threshold() -> None:
    candidates = [("A", 0.8, True), ("A", 0.6, False), ("B", 0.9, False)]
    thresholds = best_thresholds(candidates, {"A": 30, "B": 30})
    assert thresholds["B"] == best_thresholds(candidates, {"A": 30, "B": 30}, minimum=99)["B"]


def test_nothing_to_learn_from() -> None:
    assert best_thresholds([], {}) == {}
    assert best_thresholds([], {"A": 50}) == {"A": 0.5}
    assert best_thresholds([("B", 0.9, False)], {"A": 0}) == {"A": 0.5, "B": 0.5}


def test_neighbouring_floats_are_parted() -> None:
    low, high = 0.1, 0.10000000000000002
    candidates = [("A", high, True), ("A", low, False)]
    assert best_thresholds(candidates, {"A": 1}, minimum=1) == {"A": high}


@pytest.mark.parametrize("value", [float("nan"), 1.5, -0.1])
def test_scores_are_probabilities(value: float) -> None:
    with pytest.raises(ValueError, match="1 scores are not numbers from 0 to 1; pass prob"):
        best_thresholds([("A", value, False)], {})


def test_more_right_candidates_than_gold() -> None:
    with pytest.raises(ValueError, match="A: 2 right candidates but 1 gold relations; count"):
        best_thresholds([("A", 0.5, True)] * 2, {"A": 1})


@given(CANDIDATES, UNREACHED)
def test_no_threshold_is_better(candidates: list[Candidate], unreached: dict[str, int]) -> None:
    gold = gold_counts(candidates, unreached)
    thresholds = best_thresholds(candidates, gold, minimum=0)
    pooled = best_thresholds(candidates, gold, minimum=1000)["A"]
    groups = {type: [c for c in candidates if c[0] == type] for type in gold}
    for chosen, threshold, total in [
        *((groups[type], thresholds[type], gold[type]) for type in gold),
        (candidates, pooled, sum(gold.values())),
    ]:
        tried = [f1(chosen, value, total) for _, value, _ in chosen]
        assert f1(chosen, threshold, total) == max(tried, default=0.0)


@given(CANDIDATES, UNREACHED, st.randoms(use_true_random=False))
def test_order_does_not_matter(
    candidates: list[Candidate], unreached: dict[str, int], random: Random
) -> None:
    gold = gold_counts(candidates, unreached)
    shuffled = list(candidates)
    random.shuffle(shuffled)
    before = best_thresholds(candidates, gold, minimum=2)
    assert best_thresholds(shuffled, gold, minimum=2) == before


LARGE = Evidence([("A", 0.9, True)] * 100 + [("A", 0.4, False)] * 40, {"A": 100})
HARD = Evidence([("A", 0.4, True)] * 10 + [("A", 0.3, False)] * 30, {"A": 30})


def test_corpora_count_the_same_whatever_their_size() -> None:
    pooled = best_thresholds([*LARGE.scores, *HARD.scores], {"A": 130})
    assert pooled == {"A": pytest.approx(0.65)}  # 200/230 against 220/280
    for corpora in ([LARGE, HARD], [HARD, LARGE]):  # (1 + 0)/2 against (200/240 + 20/40)/2
        assert balanced_thresholds(corpora) == {"A": pytest.approx(0.35)}


def test_a_small_corpus_is_joined_to_the_next_larger() -> None:
    small = Evidence([("A", 0.4, False)] * 300, {"A": 1})
    joined = Evidence([*HARD.scores, *small.scores], {"A": 31})
    chosen = balanced_thresholds([LARGE, joined])
    assert chosen != balanced_thresholds([LARGE, HARD])
    assert balanced_thresholds([small, LARGE, HARD]) == chosen
    assert balanced_thresholds([LARGE, HARD, Evidence([], {})]) == {"A": pytest.approx(0.35)}
    tiny = Evidence([("A", 0.8, True), ("A", 0.2, False)], {"A": 19})
    assert balanced_thresholds([tiny]) == best_thresholds(tiny.scores, {"A": 19})
    assert balanced_thresholds([tiny, tiny]) == {"A": pytest.approx(0.5)}  # 38 are enough


def test_nothing_to_learn_from_in_any_corpus() -> None:
    assert balanced_thresholds([]) == {}
    assert balanced_thresholds([Evidence([], {}), Evidence([], {"A": 50})]) == {"A": 0.5}
