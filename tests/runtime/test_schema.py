"""Tasks, the pairs they allow and the relations they report."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.task import SELECTIONS, Task, enumerate_pairs, select

CLINICAL = Task(
    name="clinical",
    entity_types=("Drug", "Dose", "Effect"),
    relation_types=("dose-of", "causes"),
    signatures=(("dose-of", "Dose", "Drug"), ("causes", "Drug", "Effect")),
    thresholds={"causes": 0.7},
)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    entity_types = tuple(f"E{index}" for index in range(draw(st.integers(1, 4))))
    relation_types = tuple(f"R{index}" for index in range(draw(st.integers(0, 3))))
    every = list(product(relation_types, entity_types, entity_types))
    types = st.sampled_from(relation_types or ("",))
    return Task(
        name=draw(st.text("abcXYZ019-_", min_size=1, max_size=64)),
        entity_types=entity_types,
        relation_types=relation_types,
        signatures=tuple(draw(st.lists(st.sampled_from(every), max_size=8))) if every else (),
        thresholds=draw(st.dictionaries(types, st.floats(0, 1))) if relation_types else None,
        reach=draw(st.dictionaries(types, st.integers(0, 20))) if relation_types else None,
        selection=draw(st.sampled_from(SELECTIONS)),
    )


def test_derived_values() -> None:
    assert CLINICAL.scheme.types == CLINICAL.entity_types
    assert CLINICAL.cutoffs.tolist() == [0.5, 0.7]
    assert CLINICAL.allowed.shape == (2, 3, 3)
    assert [tuple(index) for index in np.argwhere(CLINICAL.allowed).tolist()] == [
        (0, 1, 0),
        (1, 0, 2),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "task name '': use up to 64"),
        ({"name": "a/b"}, "task name 'a/b': use up to 64"),
        ({"name": "clinical\n"}, "use up to 64 letters"),
        ({"name": "x" * 65}, "use up to 64 letters"),
        ({"entity_types": ()}, "task clinical has no entity type"),
        ({"entity_types": ("Drug", "Dose", "Effect", "Drug")}, "an entity type is named twice"),
        ({"relation_types": ("causes", "dose-of", "causes")}, "relation type is named twice"),
        ({"signatures": (("treats", "Drug", "Effect"),)}, r"signature treats\(Drug, Effect\)"),
        ({"signatures": (("causes", "Pill", "Effect"),)}, r"causes\(Pill, Effect\) names an unkn"),
        ({"signatures": (("causes", "Drug", "Pill"),)}, r"causes\(Drug, Pill\) names an unknown"),
        ({"thresholds": {"treats": 0.5}}, "no such threshold as treats = 0.5"),
        ({"thresholds": {"causes": 1.01}}, "no such threshold as causes = 1.01"),
        ({"thresholds": {"causes": -0.1}}, "no such threshold as causes = -0.1"),
        ({"thresholds": {"causes": float("nan")}}, "no such threshold as causes = nan"),
        ({"reach": {"treats": 5}}, "no such reach as treats = 5"),
        ({"reach": {"causes": -1}}, "no such reach as causes = -1"),
        ({"selection": "best"}, r"selection is 'best', not one of \('threshold', 'greedy'\)"),
    ],
)
def test_bad_tasks(change: dict[str, Any], message: str) -> None:
    values = {
        "name": "clinical",
        "entity_types": CLINICAL.entity_types,
        "relation_types": CLINICAL.relation_types,
        **change,
    }
    with pytest.raises(ConfigError, match=message):
        Task(**values)


@given(tasks())
def test_json_round_trip(task: Task) -> None:
    values = json.loads(json.dumps(task.to_json()))
    again = Task.from_json(values)
    assert again.to_json() == task.to_json() == values
    np.testing.assert_array_equal(again.allowed, task.allowed)
    np.testing.assert_array_equal(again.cutoffs, task.cutoffs)
    np.testing.assert_array_equal(again.farthest, task.farthest)


def test_json_without_reach() -> None:
    """As bundles before format 3 have it: every pair is asked."""
    values = CLINICAL.to_json()
    del values["reach"]
    assert Task.from_json(values).farthest[1, 0] > 10**9


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (key, value)
        for key in CLINICAL.to_json()
        for value in (None, 7, "missing")
        if key != "calibration" and (key, value) != ("reach", "missing")
    ],
)
def test_malformed_json(key: str, value: object) -> None:
    values = CLINICAL.to_json()
    if value == "missing":
        del values[key]
    elif key in ("name", "selection"):
        values[key] = "not one of these"
    else:
        values[key] = value
    with pytest.raises(ConfigError, match="malformed|task name|selection"):
        Task.from_json(values)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("signatures", [["causes", "Drug"]]),
        ("signatures", ["causes"]),
        ("thresholds", {"causes": "high"}),
        ("thresholds", ["causes"]),
        ("reach", {"causes": "far"}),
        ("reach", ["causes"]),
    ],
)
def test_malformed_json_inside(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match="incomplete or malformed"):
        Task.from_json({**CLINICAL.to_json(), key: value})


@given(tasks(), st.data())
def test_pairs_against_brute_force(task: Task, data: st.DataObject) -> None:
    type = st.integers(0, len(task.entity_types) - 1)
    place = st.tuples(st.integers(0, 40), st.integers(1, 5), type)
    drawn = data.draw(st.lists(place, max_size=8))
    mentions = [(start, start + length, type) for start, length, type in drawn]

    def asked(i: int, j: int) -> bool:
        (start, end, head), (begin, stop, tail) = mentions[i], mentions[j]
        between = set(range(end, begin)) | set(range(stop, start))
        return i != j and any(
            (task.entity_types[head], task.entity_types[tail]) == (h, t)
            and len(between) <= (task.reach or {}).get(relation, 99)
            for relation, h, t in task.signatures
        )

    expected = [[i, j] for i, j in product(range(len(mentions)), repeat=2) if asked(i, j)]
    pairs = enumerate_pairs(task, mentions)
    assert pairs.shape == (len(expected), 2)
    assert pairs.dtype == np.int64
    assert pairs.tolist() == expected
    if mentions:
        assert enumerate_pairs(task, np.array(mentions, dtype=np.int64)).tolist() == expected


def test_pairs_by_hand() -> None:
    # Drug, Dose, Effect, Drug
    mentions = [(0, 2, 0), (2, 3, 1), (5, 6, 2), (9, 10, 0)]
    assert enumerate_pairs(CLINICAL, mentions).tolist() == [[0, 2], [1, 0], [1, 3], [3, 2]]
    near = replace(CLINICAL, reach={"dose-of": 0, "causes": 2})  # 0, 3, 6 and 3 words between
    assert enumerate_pairs(near, mentions).tolist() == [[1, 0]]
    near = replace(CLINICAL, reach={"causes": 3})
    assert enumerate_pairs(near, mentions).tolist() == [[0, 2], [1, 0], [1, 3], [3, 2]]


def test_a_pair_is_asked_for_the_farthest_of_its_relations() -> None:
    task = Task(
        "t",
        ("A",),
        ("near", "far"),
        (("near", "A", "A"), ("far", "A", "A")),
        reach={"near": 1, "far": 4},
    )
    assert task.farthest.tolist() == [[4]]
    assert enumerate_pairs(task, [(0, 1, 0), (5, 6, 0), (11, 12, 0)]).tolist() == [[0, 1], [1, 0]]


@given(tasks().filter(lambda task: task.relation_types), st.data())
@settings(deadline=None)
def test_selection_against_brute_force(task: Task, data: st.DataObject) -> None:
    n_relations = len(task.relation_types)
    row = st.lists(st.floats(0, 1), min_size=n_relations, max_size=n_relations)
    rows = data.draw(st.lists(row, max_size=5))
    cutoffs = task.cutoffs.tolist()
    expected = []
    for pair, scores in enumerate(rows):
        above = [r for r in range(n_relations) if scores[r] >= cutoffs[r] and scores[r] > 0.0]
        if task.selection == "greedy" and above:
            above = [max(above, key=lambda r: scores[r])]
        expected += [(pair, relation) for relation in above]
    probabilities = np.array(rows, dtype=np.float64).reshape(-1, n_relations)
    assert select(task, probabilities) == expected


@pytest.mark.parametrize(
    ("selection", "expected"),
    [("threshold", [(0, 0), (0, 1), (2, 1)]), ("greedy", [(0, 1), (2, 1)])],
)
def test_selection_by_hand(selection: str, expected: list[tuple[int, int]]) -> None:
    task = Task.from_json({**CLINICAL.to_json(), "selection": selection})
    probabilities = np.array([[0.6, 0.9], [0.49, 0.69], [0.2, 0.7], [0.0, 0.0]])
    assert select(task, probabilities) == expected


@pytest.mark.parametrize("selection", SELECTIONS)
def test_a_threshold_of_zero_reports_no_forbidden_relation(selection: str) -> None:
    task = Task("t", ("E",), ("R", "S"), thresholds={"R": 0.0, "S": 0.0}, selection=selection)
    assert select(task, np.array([[0.0, 0.0], [0.0, 0.1]])) == [(1, 1)]
