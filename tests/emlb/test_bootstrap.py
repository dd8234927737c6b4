"""Intervals by resampling documents."""

from __future__ import annotations

import random

import pytest

from emlb.evaluation.comparison.bootstrap import differences, intervals
from emlb.evaluation.protocols import add
from emlb.evaluation.protocols.base import Row, Tally, rates
from emlb.evaluation.protocols.standard import Standard
from emlb_runtime.records import Document, Entity, Note


class Share:
    """A protocol of one measure, the share of right items."""

    name = "share"
    title = "right items"

    def tally(self, gold: Document, predicted: Document) -> Tally:
        raise NotImplementedError

    def rows(self, total: Tally) -> list[Row]:
        return [
            Row("items", name, "strict", {"share": values[0] / values[1]})
            for (_, name, _), values in total.items()
        ]


KEY = ("items", "all", "strict")


def items(right: list[int], size: int = 10) -> list[Tally]:
    return [{KEY: (float(n), float(size))} for n in right]


def test_the_interval_of_a_share_is_that_of_its_standard_error() -> None:
    generator = random.Random(1)
    tallies = [{KEY: (float(generator.random() < 0.3), 1.0)} for _ in range(400)]
    found = intervals(Share(), tallies, samples=2000)[KEY, "share"]
    mean = add(tallies)[KEY][0] / 400
    error = (mean * (1 - mean) / 400) ** 0.5
    assert found.low == pytest.approx(mean - 1.96 * error, abs=0.006)
    assert found.high == pytest.approx(mean + 1.96 * error, abs=0.006)


def test_equal_documents_leave_no_doubt() -> None:
    found = intervals(Share(), items([7] * 5), samples=50)[KEY, "share"]
    assert found.low == found.high == pytest.approx(0.7)


def test_samples_are_seeded() -> None:
    tallies = items([1, 5, 9, 2, 8])
    assert intervals(Share(), tallies, samples=30) == intervals(Share(), tallies, samples=30)
    assert intervals(Share(), tallies, samples=30) != intervals(
        Share(), tallies, samples=30, seed=14
    )


def test_pairing_shows_a_small_difference_between_uneven_documents() -> None:
    before = items([0, 2, 4, 6, 8] * 10)
    after = items([1, 3, 5, 7, 9] * 10)
    found = differences(Share(), before, after, samples=200)[KEY, "share"]
    assert found.low == pytest.approx(0.1) and found.high == pytest.approx(0.1)
    apart = intervals(Share(), before, samples=200)[KEY, "share"]
    assert apart.high - apart.low > 0.1


def test_documents_pair() -> None:
    with pytest.raises(ValueError, match="2 and 1 documents"):
        differences(Share(), items([1, 2]), items([1]))


def test_a_type_counts_only_in_samples_that_have_it() -> None:
    rare = ("items", "rare", "strict")
    tallies: list[Tally] = [*items([5] * 20), {rare: (1.0, 1.0)}]
    found = intervals(Share(), tallies, samples=200)[rare, "share"]
    assert found.low == found.high == 1.0  # never 0 / 0


def test_rates_without_items() -> None:
    assert rates(correct=0, predicted=0, gold=0) == {"precision": 0, "recall": 0, "f1": 0}
    assert rates(correct=1, predicted=2, gold=4, correct_gold=2)["recall"] == 0.5


def test_standard_rows_are_those_of_the_pooled_documents() -> None:
    note = Note("n", "rash after amoxicillin")
    rash = Entity.annotate(note, "T1", "ADE", ((0, 4),))
    drug = Entity.annotate(note, "T2", "Drug", ((11, 22),))
    wide = Entity.annotate(note, "T2", "Drug", ((5, 22),))
    standard = Standard()
    tallies = [
        standard.tally(Document(note, (rash, drug)), Document(note, (rash, wide))),
        standard.tally(Document(note, (drug,)), Document(note)),
    ]
    rows = {row.key: row for row in standard.rows(add(tallies))}
    assert rows["entities", "micro", "strict"].values["f1"] == pytest.approx(2 / 5)
    assert rows["entities", "micro", "lenient"].values["f1"] == pytest.approx(4 / 5)
    assert rows["entities", "macro", "strict"].values["f1"] == pytest.approx(1 / 2)
    assert rows["entities", "Drug", "strict"].gold == 2
    assert not any(section == "relations" for section, _, _ in rows)
