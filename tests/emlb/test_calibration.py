"""Whether scores are probabilities."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb.evaluation.calibration.measure import (
    Measured,
    calibrate,
    measure_calibration,
    render,
    to_json,
)
from emlb.evaluation.evaluate import evaluate
from emlb.evaluation.protocol_scores import Judging
from emlb.evaluation.scoring.scores import score
from emlb_runtime.errors import ConfigError
from emlb_runtime.formats import document_to_json
from emlb_runtime.records import Document
from tests.tiny import tiny_notes

from .perturb import perturb

NOTES = tiny_notes()

PREDICTIONS = st.lists(st.tuples(st.integers(0, 20).map(lambda n: n / 20), st.booleans()))


def spoil(seed: int) -> list[Document]:
    generator = random.Random(seed)
    return [perturb(document, generator) for document in NOTES]


def test_by_hand() -> None:
    found = calibrate([0.92, 0.98, 0.96, 0.94, 0.35, 0.31], [1, 1, 1, 0, 1, 0])
    low, high = found.equal_width
    assert (low.low, low.high, low.count) == (0.3, 0.4, 2)
    assert (low.score, low.right) == pytest.approx((0.33, 0.5))
    assert (high.low, high.high, high.count) == (0.9, 1.0, 4)
    assert (high.score, high.right) == pytest.approx((0.95, 0.75))
    assert (low.gap, high.gap) == pytest.approx((-0.17, 0.2))
    assert found.error == pytest.approx((2 * 0.17 + 4 * 0.2) / 6)
    assert found.count == 6
    assert found.right == pytest.approx(4 / 6)
    # Six predictions in ten bins: each is alone.
    assert [bin.count for bin in found.equal_mass] == [1] * 6
    gaps = [0.08, 0.02, 0.04, 0.94, 0.65, 0.31]
    assert found.equal_mass_error == pytest.approx(sum(gaps) / 6)


def test_edges_belong_to_the_bin_below() -> None:
    found = calibrate([0.0, 0.1, 0.3, 0.7, 1.0], [0] * 5)
    assert [(bin.low, bin.high) for bin in found.equal_width] == [
        *((0.0, 0.1), (0.2, 0.3), (0.6, 0.7), (0.9, 1.0))
    ]
    assert found.equal_width[0].count == 2


def test_probabilities_are_calibrated() -> None:
    generator = np.random.default_rng(5)
    scores = generator.random(50_000)
    found = calibrate(scores, generator.random(50_000) < scores)
    assert found.error < 0.01
    assert found.equal_mass_error < 0.01
    assert {bin.count for bin in found.equal_mass} == {5000}


@given(st.integers(1, 60), st.integers(0, 60))
def test_constant_overconfidence_is_the_gap(wrong: int, right: int) -> None:
    found = calibrate([0.9] * (wrong + right), [False] * wrong + [True] * right)
    gap = abs(0.9 - right / (wrong + right))
    assert found.error == pytest.approx(gap)
    assert found.equal_mass_error == pytest.approx(gap)
    assert len(found.equal_mass) == len(found.equal_width) == 1


@given(PREDICTIONS, st.randoms())
def test_no_order_matters(predictions: list[tuple[float, bool]], generator: random.Random) -> None:
    shuffled = generator.sample(predictions, len(predictions))

    def calibrated(found: list[tuple[float, bool]]) -> object:
        return calibrate([score for score, _ in found], [right for _, right in found])

    assert calibrated(predictions) == calibrated(shuffled)


@given(PREDICTIONS)
def test_bins_hold_every_prediction_once(predictions: list[tuple[float, bool]]) -> None:
    scores, right = [s for s, _ in predictions], [r for _, r in predictions]
    found = calibrate(scores, right)
    for bins in (found.equal_width, found.equal_mass):
        assert sum(bin.count for bin in bins) == len(predictions)
        assert len(bins) <= 10
        for bin in bins:
            assert bin.low - 1e-9 <= bin.score <= bin.high + 1e-9
    if predictions:
        overall = abs(found.score - found.right)
        assert found.score == pytest.approx(np.mean(scores))
        assert found.right == pytest.approx(np.mean(right))
        assert overall - 1e-9 <= found.error <= 1
        assert overall - 1e-9 <= found.equal_mass_error <= 1


@pytest.mark.parametrize(
    ("scores", "right", "why"),
    [
        ([0.5], [True, False], "shape"),
        ([1.5], [True], "from 0 to 1"),
        ([-0.1], [True], "from 0 to 1"),
        ([float("nan")], [True], "from 0 to 1"),
    ],
)
def test_bad_scores_are_refused(scores: list[float], right: list[bool], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        calibrate(scores, right)


@settings(max_examples=40)
@given(st.integers(0, 400))
def test_right_is_strict_precision(seed: int) -> None:
    predicted = spoil(seed)
    scores, measured = (
        score(NOTES, predicted),
        measure_calibration(Measured(NOTES, predicted, None)),
    )
    for section, agreement in (("entities", scores.entities), ("relations", scores.relations)):
        micro = agreement.strict.micro
        assert measured[section].count == micro.predicted
        assert measured[section].right == pytest.approx(micro.precision)


def test_rendering() -> None:
    measured = {"entities": calibrate([0.95, 0.85], [True, False]), "relations": calibrate([], [])}
    assert render(measured, title="ade") == (
        "ade\n"
        "\n"
        "entities: ECE 45.0 (45.0 in bins of equal mass); mean score 0.900, right 0.500\n"
        "  score    predicted  mean score  right     gap\n"
        "  0.8–0.9          1       0.850  0.000  +0.850\n"
        "  0.9–1.0          1       0.950  1.000  -0.050\n"
        "\n"
        "relations: none predicted"
    )
    value = json.loads(json.dumps(to_json(measured)))
    assert value["entities"]["ece"] == pytest.approx(0.45)
    assert [bin["count"] for bin in value["entities"]["bins"]] == [1, 1]
    assert value["relations"] == {
        "predicted": 0,
        "mean_score": 0.0,
        "right": 0.0,
        "ece": 0.0,
        "ece_equal_mass": 0.0,
        "bins": [],
        "bins_equal_mass": [],
    }


def test_predictions_without_scores_are_told() -> None:
    assert "(every score is 1)" in render(
        measure_calibration(Measured(NOTES, NOTES, None)), title="files without scores"
    )


def test_evaluate_shows_it(tiny_data: Path, tmp_path: Path) -> None:
    scored = [
        replace(
            document,
            entities=tuple(replace(entity, score=0.75) for entity in document.entities),
            relations=tuple(replace(relation, score=0.25) for relation in document.relations),
        )
        for document in NOTES
    ]
    path = tmp_path / "p.jsonl"
    lines = (json.dumps(document_to_json(document, with_text=True)) for document in scored)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    plain = evaluate(path, tiny_data)
    assert plain.calibrations == {} and plain.calibration_table() == ""
    report = evaluate(path, tiny_data, calibrated=True, json_path=tmp_path / "o.json")
    assert report.scores == plain.scores
    assert report.table().startswith(plain.table())
    assert "entities: ECE 25.0" in report.table()
    assert report.calibration_table() in report.table()
    assert "amoxicillin" not in report.table().lower()
    (corpus,) = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))["corpora"].values()
    assert corpus["calibration"]["entities"]["ece"] == pytest.approx(0.25)
    assert corpus["calibration"]["relations"]["ece"] == pytest.approx(0.75)


def test_a_protocol_has_no_calibration(tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match="without a protocol only"):
        evaluate(tiny_data, tiny_data, calibrated=True, judging=Judging("n2c2"))
