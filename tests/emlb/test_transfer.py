"""Labels are matched by name: what is known keeps its weights, what is new begins fresh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emlb.model import EmlbModel
from emlb.model.config import EmlbConfig
from emlb.model.pretrained import TrainedModel, make_pipeline
from emlb.training.warm_start.transfer import Match, extend_task, match_tasks, transfer
from emlb_runtime.errors import ConfigError
from emlb_runtime.records import Document, Entity, Relation
from emlb_runtime.schema.attributes import Attribute
from emlb_runtime.schema.task import Task
from tests.tiny import WINDOWS, TinyRun

FORM = Task(
    "mine",
    ("Drug", "Form", "Disorder"),
    ("Form-Drug", "Treats", "ADE-Drug"),
    (
        ("ADE-Drug", "Disorder", "Drug"),
        ("Form-Drug", "Form", "Drug"),
        ("Treats", "Drug", "Disorder"),
    ),
)
"""The two types of the eight notes in another order, with one between, and a new relation."""


@pytest.fixture
def fresh(tiny_encoder: Path) -> EmlbModel:
    """A model of ``FORM`` that has learned nothing."""
    torch.manual_seed(99)
    made = EmlbModel.from_base(
        tiny_encoder, [FORM], windows=WINDOWS, relation_width=32, relation_heads=2
    )
    made.train(False)
    return made


@pytest.fixture
def trained(tiny_run: TinyRun) -> TrainedModel:
    """A model that knows the eight notes."""
    return TrainedModel.load(tiny_run.model)


def begun(fresh: EmlbModel, trained: TrainedModel) -> EmlbModel:
    """``fresh`` with the trained model's weights."""
    matches = match_tasks(fresh.config.task_list, trained.model.config.task_list)
    fresh.load_state_dict(
        transfer(fresh.state_dict(), trained.model.state_dict(), matches, source="tiny")
    )
    return fresh


def test_rows_go_by_name(fresh: EmlbModel, trained: TrainedModel) -> None:
    before = {name: weight.clone() for name, weight in fresh.state_dict().items()}
    old = trained.model.state_dict()
    new = begun(fresh, trained).state_dict()
    for name, weight in new.items():
        if name.startswith("encoder."):
            torch.testing.assert_close(weight, old[name], rtol=0, atol=0)
    own, other = "heads.mine.", "heads.notes."
    # Labels: O, B-Drug, I-Drug, B-Form, I-Form, B-Disorder, I-Disorder; there Disorder is first.
    kept, places = [0, 1, 2, 5, 6], [0, 3, 4, 1, 2]
    for name in ("emission.weight", "emission.bias", "crf.start_transitions"):
        torch.testing.assert_close(new[own + name][kept], old[other + name][places])
        torch.testing.assert_close(new[own + name][[3, 4]], before[own + name][[3, 4]])
    transitions = new[own + "crf.transitions"]
    for i, k in zip(kept, places, strict=True):
        for j, m in zip(kept, places, strict=True):
            assert transitions[i, j] == old[other + "crf.transitions"][k, m]
    for row in (3, 4):
        untouched = before[own + "crf.transitions"]
        torch.testing.assert_close(transitions[row], untouched[row])
        torch.testing.assert_close(transitions[:, row], untouched[:, row])
    for name in ("relation.piece_type.weight", "relation.span_type.weight"):
        torch.testing.assert_close(new[own + name][[0, 2]], old[other + name][[1, 0]])
        torch.testing.assert_close(new[own + name][1], before[own + name][1])
    for name in ("relation.output.weight", "relation.output.bias"):
        torch.testing.assert_close(new[own + name][[1, 2]], old[other + name][[1, 0]])
        torch.testing.assert_close(new[own + name][0], before[own + name][0])
    torch.testing.assert_close(new[own + "relation.key.weight"], old[other + "relation.key.weight"])


def test_types_in_another_order_say_the_same(
    fresh: EmlbModel, trained: TrainedModel, tiny_documents: tuple[Document, ...]
) -> None:
    """A model whose types only moved finds what the trained one finds, with the same scores."""
    (known,) = trained.model.config.task_list
    moved = replace(
        FORM,
        entity_types=("Drug", "Disorder"),
        relation_types=("Treats", "ADE-Drug"),
        signatures=known.signatures,
        thresholds=known.thresholds,
        reach=known.reach,
        calibration=known.calibration,
    )
    model = EmlbModel(EmlbConfig(**{**fresh.config.to_dict(), "tasks": [moved.to_json()]}))
    pipeline = make_pipeline(begun(model, trained), trained.tokenizer)
    expected = trained.pipeline()
    found = 0
    notes = [document.note for document in tiny_documents]
    for one, other in zip(pipeline.run(notes), expected.run(notes), strict=True):
        mine, theirs = _plain(one), _plain(other)
        assert mine.keys() == theirs.keys()
        np.testing.assert_allclose(
            [mine[key] for key in theirs], list(theirs.values()), rtol=1e-4, atol=1e-5
        )
        found += len(theirs)
    assert found > 20


def _plain(document: Document) -> dict[tuple[object, ...], float]:
    mentions = {entity.id: (entity.type, entity.start, entity.end) for entity in document.entities}

    def key(item: Entity | Relation) -> tuple[object, ...]:
        if isinstance(item, Entity):
            return mentions[item.id]
        return (item.type, *mentions[item.head], *mentions[item.tail])

    items: list[Entity | Relation] = [*document.entities, *document.relations]
    return {key(item): item.score for item in items}


def test_a_task_takes_the_one_of_its_name_or_the_only_one() -> None:
    drugs, notes = replace(FORM, name="drugs"), replace(FORM, name="notes")
    assert [m.partner for m in match_tasks([notes, FORM], [drugs, notes])] == [notes, None]
    assert [m.partner for m in match_tasks([notes, FORM], [drugs])] == [drugs, drugs]


def test_what_the_user_is_told() -> None:
    partner = Task("notes", ("Disorder", "Negation", "Drug"), ("Treats", "Negation-of"))
    assert Match(FORM, partner).describe() == (
        "task mine: 3 known types; new: Form, Form-Drug, ADE-Drug; left out: Negation, Negation-of"
    )
    assert Match(FORM, FORM).describe() == "task mine: 6 known types"
    assert Match(FORM, None).describe().startswith("task mine: 0 known types; new: Drug, Form")


def test_signatures_and_reach_of_both() -> None:
    few = replace(
        FORM,
        signatures=(("ADE-Drug", "Disorder", "Drug"), ("Form-Drug", "Form", "Drug")),
        reach={"ADE-Drug": 12},
    )
    partner = Task(
        "notes",
        ("Disorder", "Drug", "Person"),
        ("ADE-Drug", "Treats", "Form-Drug"),
        (
            ("ADE-Drug", "Drug", "Disorder"),
            ("Treats", "Drug", "Disorder"),
            ("Treats", "Drug", "Person"),
        ),
        reach={"ADE-Drug": 40, "Treats": 9, "Form-Drug": 5},
    )
    both = extend_task(Match(few, partner))
    assert both.signatures == (
        ("ADE-Drug", "Disorder", "Drug"),
        ("ADE-Drug", "Drug", "Disorder"),
        ("Form-Drug", "Form", "Drug"),
        ("Treats", "Drug", "Disorder"),
    )
    # The notes have Form-Drug, but too few to know how far it reaches: every pair is asked.
    assert both.reach == {"ADE-Drug": 40, "Treats": 9}
    assert extend_task(Match(few, None)) == few


def test_a_task_without_a_partner_stays_fresh(fresh: EmlbModel, trained: TrainedModel) -> None:
    before = {name: weight.clone() for name, weight in fresh.state_dict().items()}
    old = trained.model.state_dict()
    state = transfer(before, old, [Match(FORM, None)], source="tiny")
    for name, weight in state.items():
        expected = before[name] if name.startswith("heads.") else old[name]
        torch.testing.assert_close(weight, expected, rtol=0, atol=0)


def test_heads_that_the_trained_model_lacks_stay_fresh(
    fresh: EmlbModel, trained: TrainedModel
) -> None:
    """Such as relations of a model that finds entities alone."""
    before = {name: weight.clone() for name, weight in fresh.state_dict().items()}
    old = {n: w for n, w in trained.model.state_dict().items() if ".relation." not in n}
    state = transfer(before, old, [Match(FORM, trained.model.config.task_list[0])], source="tiny")
    for name in (name for name in before if ".relation." in name):
        torch.testing.assert_close(state[name], before[name], rtol=0, atol=0)
    assert (state["heads.mine.emission.bias"] != before["heads.mine.emission.bias"]).any()


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("encoder.embeddings.word_embeddings.weight", (3, 32), r"has the shape \(3, 32\), not"),
        ("encoder.embeddings.word_embeddings.weight", None, "so its encoder is another"),
        ("heads.notes.emission.weight", (4, 32), r"the shape \(4, 32\), not \(5, 32\)"),
        ("heads.notes.emission.weight", (5, 8), r"the shape \(5, 8\), not \(5, 32\)"),
        ("heads.notes.crf.transitions", (5, 7), r"the shape \(5, 7\), not \(5, 5\)"),
        ("heads.notes.relation.key.weight", (16, 32), r"the shape \(16, 32\), not \(32, 32\)"),
    ],
)
def test_weights_of_another_shape(
    fresh: EmlbModel,
    trained: TrainedModel,
    name: str,
    shape: tuple[int, ...] | None,
    sentence: str,
) -> None:
    old = dict(trained.model.state_dict())
    if shape is None:
        del old[name]
    else:
        old[name] = torch.zeros(shape)
    matches = match_tasks([FORM], trained.model.config.task_list)
    with pytest.raises(ConfigError, match=f"start tiny: .*{sentence}"):
        transfer(fresh.state_dict(), old, matches, source="tiny")


def test_attribute_values_go_by_name(tiny_encoder: Path) -> None:
    def made(*attributes: Attribute, seed: int) -> EmlbModel:
        torch.manual_seed(seed)
        task = replace(FORM, attributes=attributes)
        return EmlbModel.from_base(
            tiny_encoder,
            [task],
            windows=WINDOWS,
            relation_width=32,
            relation_heads=2,
            attribute_width=32,
        )

    old = made(Attribute("Assertion", ("present", "absent"), "present"), seed=1)
    time = Attribute("Time", ("current", "history"), "current")
    more = Attribute("Assertion", ("absent", "possible", "present"), "present")
    new, bare = made(time, more, seed=2), made(seed=3)
    matches = match_tasks(new.config.task_list, old.config.task_list)
    assert matches[0].new == ("Time",)
    state = transfer(new.state_dict(), old.state_dict(), matches, source="old")
    prefix = "heads.mine.attribute"
    found = state[f"{prefix}.output.weight"]
    known = old.state_dict()[f"{prefix}.output.weight"]
    fresh = new.state_dict()[f"{prefix}.output.weight"]
    assert torch.equal(found[[4, 2]], known)  # present, absent
    assert torch.equal(found[[0, 1, 3]], fresh[[0, 1, 3]])
    assert torch.equal(state[f"{prefix}.query.weight"], old.state_dict()[f"{prefix}.query.weight"])
    # A model without attributes leaves the whole head fresh.
    matches = match_tasks(new.config.task_list, bare.config.task_list)
    state = transfer(new.state_dict(), bare.state_dict(), matches, source="bare")
    assert torch.equal(state[f"{prefix}.output.weight"], fresh)
