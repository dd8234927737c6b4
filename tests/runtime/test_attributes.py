"""Attributes in the runtime: their description, the decision between values, and facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.attributes import (
    Attribute,
    are_facts,
    columns,
    decide,
    gather,
    probabilities,
    spread,
)
from emlb_runtime.schema.calibration import AttributeScaling, Calibration
from emlb_runtime.schema.task import Task
from tests.attributed import ASSERTION, ATTRIBUTES, EXPERIENCER

TASK = Task("notes", ("Disorder", "Drug", "Test"), attributes=ATTRIBUTES)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "As sertion"}, "without white space"),
        ({"values": ("present", "a=b")}, "'a=b' is not a name"),
        ({"values": ("present",)}, "at least two values"),
        ({"values": ("present", "absent", "absent")}, "each once"),
        ({"default": "none"}, "'none' is not one of its values, present, absent"),
        ({"nonfactual": ("never",)}, "'never' is not one"),
    ],
)
def test_attributes_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(ASSERTION, **values)


def test_tasks_with_attributes_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="have one name"):
        replace(TASK, attributes=(ASSERTION, ASSERTION))
    with pytest.raises(ConfigError, match="have one name"):
        replace(TASK, attributes=(replace(ASSERTION, name="Drug"),))
    with pytest.raises(ConfigError, match="attribute Assertion is of Gene"):
        replace(TASK, attributes=(replace(ASSERTION, entity_types=("Gene",)),))
    scaling = AttributeScaling(1.0, {"present": 0.0})
    none = dict.fromkeys(TASK.entity_types, 0.0)
    with pytest.raises(ConfigError, match="calibration is of other attributes"):
        replace(TASK, calibration=Calibration(1.0, none, (0, 1, 0), {}, {"Assertion": scaling}))


def test_description_is_read_back() -> None:
    scaling = AttributeScaling(0.5, {"present": -0.25, "absent": 0.5, "possible": 0.0}, 0.35)
    none = dict.fromkeys(TASK.entity_types, 0.0)
    calibration = Calibration(1.0, none, (0.0, 1.0, 0.0), {}, {"Assertion": scaling})
    task = replace(TASK, calibration=calibration, thresholds={}, reach={})
    assert Task.from_json(task.to_json()) == task
    bare = replace(TASK, attributes=())
    assert "attributes" not in bare.to_json()
    broken = task.to_json()
    broken["attributes"][0]["values"] = "present"
    with pytest.raises(ConfigError, match="a list of names is malformed"):
        Task.from_json(broken)
    broken = task.to_json()
    del broken["attributes"][0]["default"]
    with pytest.raises(ConfigError, match="missing or unknown members"):
        Task.from_json(broken)


@pytest.mark.parametrize("member", ["name", "values", "default", "entity_types", "nonfactual"])
def test_a_description_has_all_members_and_no_others(member: str) -> None:
    described = ASSERTION.to_json()
    assert Attribute.from_json(described) == ASSERTION
    value = described.pop(member)
    for broken in (described, described | {member.upper(): value}):
        with pytest.raises(ConfigError, match="missing or unknown members"):
            Attribute.from_json(broken)


@pytest.mark.parametrize("slope", [0.0, -1.0, float("nan"), 1e9])
def test_scaling_that_cannot_be(slope: float) -> None:
    with pytest.raises(ConfigError, match="an attribute's slope"):
        AttributeScaling(slope, {})
    with pytest.raises(ConfigError, match="an attribute's threshold"):
        AttributeScaling(1.0, {}, 0.0)


def test_the_most_probable_value_is_stated_if_it_is_not_the_default() -> None:
    logits = np.log(
        [[0.2, 0.7, 0.1, 0.9, 0.1], [0.5, 0.3, 0.2, 0.2, 0.8], [0.1, 0.8, 0.1, 0.1, 0.9]]
    )
    said = decide(ATTRIBUTES, ["Disorder", "Disorder", "Drug"], logits)
    assert [item.values for item in said] == [
        {"Assertion": "absent"},
        {"Experiencer": "other"},
        {"Assertion": "absent"},  # a drug has no experiencer here
    ]
    assert said[0].scores == pytest.approx({"Assertion": 0.7})
    (none,) = decide(ATTRIBUTES, ["Test"], logits[:1])
    assert none.values == {} and none.scores == {}
    assert decide(ATTRIBUTES, [], logits[:0]) == []


def test_scaling_moves_the_decision() -> None:
    logits = np.log([[0.55, 0.35, 0.10, 0.9, 0.1]])
    scaling = {
        "Assertion": AttributeScaling(0.5, {"present": -1.0, "absent": 0.5, "possible": 0.0})
    }
    weights = np.exp(0.5 * np.log([0.55, 0.35, 0.10]) + [-1.0, 0.5, 0.0])
    found = probabilities(ATTRIBUTES, logits, scaling)[0]
    assert found[:3] == pytest.approx(weights / weights.sum())
    assert found[3:] == pytest.approx([0.9, 0.1])
    (said,) = decide(ATTRIBUTES, ["Disorder"], logits, scaling)
    assert said.values == {"Assertion": "absent"}
    strict = {"Assertion": replace(scaling["Assertion"], threshold=0.7)}
    assert decide(ATTRIBUTES, ["Disorder"], logits, strict)[0].values == {}
    loose = {"Assertion": AttributeScaling(1.0, dict.fromkeys(ASSERTION.values, 0.0), 0.3)}
    (unsure,) = decide(ATTRIBUTES, ["Disorder"], logits, loose)
    assert unsure.values == {"Assertion": "absent"}  # less likely than the default
    assert unsure.scores == pytest.approx({"Assertion": 0.35})
    # Log-probabilities are as good as the logits that they came from.
    (other,) = decide(ATTRIBUTES, ["Disorder"], logits + 3.0, scaling)
    assert other.scores == pytest.approx(said.scores)


def test_large_scores_overflow_nothing() -> None:
    found = probabilities(ATTRIBUTES, np.array([[1e4, -1e4, 0.0, -3e4, -3e4]]))
    assert found.tolist() == [[1.0, 0.0, 0.0, 0.5, 0.5]]


def test_spread_and_back() -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(4, 5))
    types = ["Disorder", "Drug", "Test", "Disorder"]
    shown = spread(ATTRIBUTES, types, logits)
    assert set(shown[1].scores) == {"Assertion=present", "Assertion=absent", "Assertion=possible"}
    assert shown[2].scores == {}
    back = gather(ATTRIBUTES, [item.scores for item in shown])
    for attribute in ATTRIBUTES:
        own = columns(ATTRIBUTES)[attribute.name]
        expected = probabilities(ATTRIBUTES, logits)[:, own]
        rows = [row for row, type in enumerate(types) if attribute.applies_to(type)]
        np.testing.assert_allclose(np.exp(back[rows][:, own]), expected[rows], rtol=1e-9)


def test_facts() -> None:
    absent, other = {"Assertion": "absent"}, {"Experiencer": "other"}
    assert are_facts(ATTRIBUTES, {}, {}) is True
    assert are_facts(ATTRIBUTES, absent, {}) is False
    assert are_facts(ATTRIBUTES, {}, other) is False
    assert are_facts(ATTRIBUTES, {"Assertion": "possible"}, {}) is True
    assert are_facts((replace(ASSERTION, nonfactual=()),), absent) is None
    assert are_facts(()) is None
    # A default may be no fact either.
    odd = Attribute("Status", ("planned", "done"), "planned", nonfactual=("planned",))
    assert are_facts((odd,), {}) is False and are_facts((odd,), {"Status": "done"}) is True
    assert EXPERIENCER.marked == ("other",)
