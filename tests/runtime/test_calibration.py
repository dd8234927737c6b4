"""From the network's probabilities to scores."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.decoding.note_decoder import Candidates, Mention, choose, score_pairs
from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.calibration import FLOOR, NEAREST, Calibration, log_odds, sigmoid
from emlb_runtime.schema.task import Task

CALIBRATION = Calibration(
    entity_slope=0.5,
    entity_offsets={"A": -0.3, "B": 0.2},
    triple_slopes=(0.2, 0.6, 0.1),
    triple_offsets={"R": -2.0, "S": 0.5},
)
TASK = Task(
    "t",
    ("A", "B"),
    ("R", "S"),
    (("R", "A", "B"), ("S", "A", "B")),
    calibration=CALIBRATION,
)
PROBABILITIES = st.floats(0, 1)
INSIDE = st.floats(2 * NEAREST, 1 - 2 * NEAREST)


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_entities_by_hand() -> None:
    assert CALIBRATION.entity_score("A", 0.9) == pytest.approx(logistic(0.5 * math.log(9) - 0.3))
    assert CALIBRATION.entity_score("B", 0.5) == pytest.approx(logistic(0.2))


def test_triples_by_hand() -> None:
    scores = CALIBRATION.triple_scores(
        ("R", "S"), [0.9, 0.5], np.array([[0.8, 0.2], [0.5, 0.5]]), [0.75, 0.5]
    )
    mentions = 0.2 * math.log(9) + 0.1 * math.log(3)
    np.testing.assert_allclose(
        scores,
        [
            [
                logistic(mentions + 0.6 * math.log(4) - 2),
                logistic(mentions - 0.6 * math.log(4) + 0.5),
            ],
            [logistic(-2.0), logistic(0.5)],
        ],
    )


@given(PROBABILITIES, PROBABILITIES, PROBABILITIES, PROBABILITIES)
def test_surer_is_never_scored_lower(low: float, high: float, other: float, third: float) -> None:
    low, high = sorted((low, high))
    assert CALIBRATION.entity_score("A", low) <= CALIBRATION.entity_score("A", high)
    for place in range(3):
        values = [[other, third, other], [other, third, other]]
        values[0][place], values[1][place] = low, high
        (below,), (above,) = (
            CALIBRATION.triple_scores(("R",), [h], np.array([[r]]), [t])[0] for h, r, t in values
        )
        assert 0 <= below <= above < 1


def test_no_mentions_are_sure_enough_for_a_relation_below_the_floor() -> None:
    relations = np.array([[FLOOR], [np.nextafter(FLOOR, 0)]])
    above, below = CALIBRATION.triple_scores(("S",), [1.0, 1.0], relations, [1.0, 1.0])[:, 0]
    assert (above > 0.3, below) == (True, 0.0)


@given(INSIDE, st.sampled_from("AB"))
def test_the_probability_behind_a_score(probability: float, type: str) -> None:
    score = CALIBRATION.entity_score(type, probability)
    assert CALIBRATION.entity_probability(type, score) == pytest.approx(probability, rel=1e-9)


def test_the_probability_behind_a_score_that_rounds_to_one() -> None:
    steep = replace(CALIBRATION, entity_slope=20.0)
    assert steep.entity_score("A", 1.0) == 1.0
    assert steep.entity_probability("A", 1.0) == 1.0


@given(PROBABILITIES)
def test_log_odds_are_finite_and_inverted(probability: float) -> None:
    back = float(sigmoid(log_odds(probability)))
    assert back == pytest.approx(min(max(probability, NEAREST), 1 - NEAREST))


def test_json() -> None:
    assert Calibration.from_json(json.loads(json.dumps(CALIBRATION.to_json()))) == CALIBRATION
    again = Task.from_json(json.loads(json.dumps(TASK.to_json())))
    assert again == replace(TASK, thresholds={}, reach={})


def test_a_task_without_one_takes_probabilities_as_they_are() -> None:
    bare = replace(TASK, calibration=None)
    assert Task.from_json(bare.to_json()).calibration is None
    old = {key: value for key, value in bare.to_json().items() if key != "calibration"}
    assert Task.from_json(old).calibration is None


@pytest.mark.parametrize(
    "values",
    [
        {"entity_slope": -0.1},
        {"entity_slope": 0.0},
        {"entity_slope": math.nan},
        {"triple_slopes": (0.1, -0.1, 0.1)},
        {"triple_slopes": (0.1, 0.1)},
        {"triple_offsets": {"R": math.inf}},
        {"entity_offsets": {"A": 1e9}},
    ],
)
def test_impossible_parameters(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        replace(CALIBRATION, **values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"entities": {}, "triples": {}},
        {"entities": {"slope": "x", "offsets": {}}, "triples": {"slopes": [1, 1, 1]}},
        {
            "entities": {"slope": 1, "offsets": []},
            "triples": {"slopes": [1, 1, 1], "offsets": {}},
        },
    ],
)
def test_malformed_json(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="calibration"):
        Calibration.from_json(values)


def test_a_task_with_a_malformed_one() -> None:
    with pytest.raises(ConfigError, match="calibration"):
        Task.from_json(TASK.to_json() | {"calibration": 7})


def test_of_other_types() -> None:
    with pytest.raises(ConfigError, match="of other types"):
        replace(TASK, entity_types=("A", "B", "C"))
    with pytest.raises(ConfigError, match="of other types"):
        replace(TASK, relation_types=("R", "S", "T"))


def test_an_unsure_mention_costs_its_triple() -> None:
    sure, unsure, tail = Mention(0, 1, 0, 0.99), Mention(2, 3, 0, 0.3), Mention(4, 5, 1, 0.99)
    candidates = Candidates([sure, unsure, tail], np.array([[0, 2], [1, 2]]))
    logits = np.full((2, 2), 3.0)
    task = replace(TASK, thresholds={"R": 0.0, "S": 0.0})
    scores = {(pair, relation): score for pair, relation, score in choose(task, candidates, logits)}
    assert scores[0, 0] > scores[1, 0]
    types, certainty = np.array([[0, 1]]), np.array([[0.3, 0.99]])
    assert scores[1, 0] == score_pairs(task, types, certainty, logits[:1])[0, 0]
    # The threshold is one of scores, not of the network's probabilities.
    middle = (scores[0, 0] + scores[1, 0]) / 2
    between = replace(task, thresholds={"R": middle, "S": 1.0})
    assert [(pair, relation) for pair, relation, _ in choose(between, candidates, logits)] == [
        (0, 0)
    ]
