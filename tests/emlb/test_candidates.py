"""Candidate pairs: which exist, what they are labelled, and how much each counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, Supervision, make_examples
from emlb.training.loss.pair_labels import PairBatch, build_pairs
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task
from tests.tiny import parse_markup

MARKUP = (
    "[Drug:d1 aspirin] for [Disorder:e1 back pain] caused [Disorder:e2 a rash], not"
    " [Drug:d2 insulin] {Treats d1 e1} {ADE-Drug e2 d1}"
)
D1, E1, E2, D2 = range(4)
ADE, TREATS = range(2)


@pytest.fixture
def example(task: Task, pipeline: Pipeline) -> Example:
    return make(task, pipeline, MARKUP)


def make(task: Task, pipeline: Pipeline, markup: str, *, part: tuple[str, ...] = ()) -> Example:
    """The only window of a note; types named are annotated in part, others in full."""
    types = {*task.entity_types, *task.relation_types}
    coverage = Coverage(frozenset(types - set(part)), frozenset(part))
    (made,) = make_examples(
        [parse_markup(markup)], Supervision(task, coverage), pipeline, Counter()
    )
    return made


def build(
    examples: Sequence[Example],
    predicted: Sequence[Sequence[WordSpan]] | None = None,
    *,
    max_pairs: int = 256,
    chunk: int = 4,
) -> list[PairBatch]:
    rng = np.random.default_rng(3)
    return build_pairs(examples, predicted, max_pairs=max_pairs, rng=rng, chunk=chunk)


def by_pair(
    batch: PairBatch, row: int = 0
) -> dict[tuple[int, int], tuple[list[float], list[float]]]:
    """Labels and weights of each pair of a row that is not padding."""
    return {
        (int(head), int(tail)): (labels.tolist(), weights.round(3).tolist())
        for (head, tail), labels, weights in zip(
            batch.pairs[row], batch.labels[row], batch.weights[row], strict=True
        )
        if weights.any()
    }


def test_gold_pairs_of_allowed_types(example: Example) -> None:
    (batch,) = build([example])
    assert by_pair(batch) == {
        (D1, E1): ([0.0, 1.0], [0.0, 1.0]),
        (D1, E2): ([0.0, 0.0], [0.0, 1.0]),
        (E1, D1): ([0.0, 0.0], [1.0, 0.0]),
        (E2, D1): ([1.0, 0.0], [1.0, 0.0]),
        (D2, E1): ([0.0, 0.0], [0.0, 1.0]),
        (D2, E2): ([0.0, 0.0], [0.0, 1.0]),
        (E1, D2): ([0.0, 0.0], [1.0, 0.0]),
        (E2, D2): ([0.0, 0.0], [1.0, 0.0]),
    }
    assert batch.rows.tolist() == [0]


def test_spans_are_pieces_with_types(example: Example) -> None:
    (batch,) = build([example])
    pieces = example.word_pieces
    assert batch.spans[0].tolist() == [
        [pieces[0], pieces[1], 1],
        [pieces[2], pieces[4], 0],
        [pieces[5], pieces[7], 0],
        [pieces[9], pieces[10], 1],
    ]


def test_a_relation_annotated_in_part_has_light_negatives(task: Task, pipeline: Pipeline) -> None:
    (batch,) = build([make(task, pipeline, MARKUP, part=("Treats",))])
    pairs = by_pair(batch)
    assert pairs[D1, E1] == ([0.0, 1.0], [0.0, 1.0])
    assert pairs[D2, E1] == ([0.0, 0.0], [0.0, pytest.approx(0.2)])
    assert pairs[E1, D2] == ([0.0, 0.0], [1.0, 0.0])


def test_a_relation_not_annotated_carries_no_loss(task: Task, pipeline: Pipeline) -> None:
    supervision = Supervision(task, Coverage(frozenset({"Disorder", "Drug", "ADE-Drug"})))
    (made,) = make_examples([parse_markup(MARKUP)], supervision, pipeline, Counter())
    (batch,) = build([made])
    assert not batch.weights[..., TREATS].any()
    assert {pair for pair in by_pair(batch)} == {(E1, D1), (E1, D2), (E2, D1), (E2, D2)}


def test_wrong_predictions_are_unrelated(example: Example) -> None:
    wrong: WordSpan = (8, 9, 1)  # "not", taken for a drug
    (batch,) = build([example], [[wrong, example.mentions[D1]]])
    assert batch.spans.shape[1] == 5  # a predicted mention that is gold is not a second one
    pairs = by_pair(batch)
    assert pairs[4, E1] == ([0.0, 0.0], [0.0, 1.0])
    assert pairs[E2, 4] == ([0.0, 0.0], [1.0, 0.0])
    assert {pair for pair in pairs if 4 in pair} == {(4, E1), (4, E2), (E1, 4), (E2, 4)}


def test_predictions_near_gold_carry_no_loss(example: Example) -> None:
    near: WordSpan = (2, 3, 0)  # "back" of "back pain": right but for its end
    other_type: WordSpan = (3, 4, 1)  # "pain" as a drug: plainly wrong
    (batch,) = build([example], [[near, other_type]])
    pairs = by_pair(batch)
    assert not [pair for pair in pairs if 4 in pair]
    assert {pair for pair in pairs if 5 in pair} == {(5, E1), (5, E2), (E1, 5), (E2, 5)}


def test_predictions_on_uncertain_words_carry_no_loss(task: Task, pipeline: Pipeline) -> None:
    example = make(
        task, pipeline, "[Drug:d1 aspirin] gave [Disorder:e1 dry] or [Disorder:e1 itchy] skin"
    )
    assert build([example], [[(4, 5, 0)]]) == []  # gold, but labels cannot hold it
    (batch,) = build([example], [[(5, 6, 0)]])
    assert set(by_pair(batch)) == {(0, 1), (1, 0)}


def test_related_pairs_survive_the_limit(example: Example) -> None:
    for limit in (0, 1, 2):
        (batch,) = build([example], max_pairs=limit)
        assert set(by_pair(batch)) == {(D1, E1), (E2, D1)}
    (batch,) = build([example], max_pairs=5)
    assert len(by_pair(batch)) == 5 and {(D1, E1), (E2, D1)} < set(by_pair(batch))


def test_padding_weighs_nothing(task: Task, pipeline: Pipeline, example: Example) -> None:
    small = make(task, pipeline, "[Drug:d1 insulin] for [Disorder:e1 asthma] {Treats d1 e1}")
    none = make(task, pipeline, "no [Disorder:e1 rash]")
    (batch,) = build([example, none, small])
    assert batch.rows.tolist() == [2, 0]  # windows without a pair are left out
    assert batch.spans.shape == (2, 4, 3) and batch.pairs.shape == (2, 8, 2)
    assert by_pair(batch) == {(0, 1): ([0.0, 1.0], [0.0, 1.0]), (1, 0): ([0.0, 0.0], [1.0, 0.0])}
    assert not batch.weights[0, 2:].any() and not batch.spans[0, 2:].any()
    assert (batch.weights >= 0).all() and (batch.pairs < 4).all()


def test_windows_are_chunked_by_number_of_pairs(
    task: Task, pipeline: Pipeline, example: Example
) -> None:
    small = make(task, pipeline, "[Drug:d1 insulin] for [Disorder:e1 asthma]")
    batches = build([example, small, example, small, small], chunk=2)
    assert [batch.rows.tolist() for batch in batches] == [[1, 3], [4, 0], [2]]
    assert build([], chunk=2) == []


def test_a_task_without_relations_has_no_pairs(pipeline: Pipeline) -> None:
    bare = Task("notes", ("Disorder", "Drug"))
    supervision = Supervision(bare, Coverage.of(bare, (), ()))
    (made,) = make_examples(
        [parse_markup("[Drug:a aspirin] [Drug:b insulin]")], supervision, pipeline, Counter()
    )
    assert build([made], [[(0, 2, 0)]]) == []
