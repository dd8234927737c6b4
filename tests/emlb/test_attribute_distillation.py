"""Teachers that know attributes: hard labels where they agree, and soft targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emlb.examples.examples import Example
from emlb.model.pretrained import TrainedModel, make_pipeline
from emlb.training.config import DistillationConfig
from emlb.training.distillation.hard_labels import distil
from emlb.training.distillation.soft_targets import distil_softly
from emlb.training.distillation.store import Stored, load_targets, save_targets
from emlb.training.loss.attributes import build_mentions, soft_attribute_loss
from emlb.training.raw_notes import RawNotes
from tests.attributed import AttributedRun, attributed_notes
from tests.tiny import write_brat


@pytest.fixture(scope="module")
def trained(attributed_run: AttributedRun) -> TrainedModel:
    return TrainedModel.load(attributed_run.folder / "model")


@pytest.fixture
def raw(tmp_path: Path) -> RawNotes:
    """Ten notes that the teacher has not seen."""
    write_brat(attributed_notes(seed=9, n_notes=10), tmp_path / "raw")
    return RawNotes(data=tmp_path, held=[], annotated=[], seed=1)


def said(examples: list[Example], trained: TrainedModel) -> dict[str, set[str]]:
    """Per attribute, the values that the windows' mentions must have, if it is one."""
    (task,) = trained.model.config.task_list
    found: dict[str, set[str]] = {attribute.name: set() for attribute in task.attributes}
    for example in examples:
        for attribute in task.attributes:
            own = task.attribute_columns[attribute.name]
            for row in () if example.attributes is None else example.attributes:
                if row[own].sum() == 1:
                    found[attribute.name].add(attribute.values[int(row[own].argmax())])
    return found


def test_sure_values_are_taught(
    trained: TrainedModel, attributed_run: AttributedRun, raw: RawNotes
) -> None:
    (task,) = trained.model.config.task_list
    config = DistillationConfig(teachers=(str(attributed_run.folder),), notes=("raw",))
    pipeline = make_pipeline(trained.model, trained.tokenizer)
    examples = distil(config, [task], pipeline, trained.tokenizer, raw=raw, say=lambda line: None)
    assert said(examples, trained) == {
        "Assertion": {"present", "absent", "possible"},
        "Experiencer": {"patient", "other"},
    }
    assert all(
        example.attributes[:, own].any(axis=1).all()
        for example in examples
        if example.attributes is not None
        for own in task.attribute_columns.values()
    )
    # A student without attributes has nothing to learn of them.
    bare = replace(task, attributes=())
    with pytest.raises(Exception, match="the same types and attributes"):
        distil(config, [bare], pipeline, trained.tokenizer, raw=raw, say=lambda line: None)


def test_soft_targets(
    trained: TrainedModel, attributed_run: AttributedRun, raw: RawNotes, tmp_path: Path
) -> None:
    (task,) = trained.model.config.task_list
    config = DistillationConfig(
        teachers=(str(attributed_run.folder),), notes=("raw",), targets="soft", temperature=2.0
    )
    pipeline = make_pipeline(trained.model, trained.tokenizer)
    lines: list[str] = []

    def ask() -> list[Example]:
        return distil_softly(
            config, [task], pipeline, [], raw=raw, cache=tmp_path / "soft.st", say=lines.append
        )

    examples = ask()
    assert len(examples) >= 8
    for example in examples:
        assert example.soft is not None and example.attributes is None
        for attribute in task.attributes:
            values = example.soft.attributes[attribute.name]
            assert values.shape == (len(example.mentions), len(attribute.values))
            np.testing.assert_allclose(values.sum(axis=1), 1.0, atol=2e-3)
    batch = build_mentions(examples, None)
    assert batch is not None and batch.soft.any() and batch.possible.all()
    # The teacher itself agrees with its targets: the divergence is next to nothing.
    example = max(examples, key=lambda e: len(e.input_ids))
    one = build_mentions([example], None)
    assert one is not None
    ids = torch.from_numpy(example.input_ids)[None]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        hidden = trained.model(ids, mask).hidden
        scores = trained.model.describe("notes", hidden, mask, torch.from_numpy(one.spans))
    soft = torch.from_numpy(one.soft)
    agreed = soft_attribute_loss(task, scores, soft, temperature=2.0).item()
    turned = soft_attribute_loss(task, -scores, soft, temperature=2.0).item()
    assert -1e-3 < agreed < 0.3 < turned
    # They are kept on disk, and read from there.
    again = ask()
    assert any("read from" in line for line in lines)
    for one_example, other in zip(examples, again, strict=True):
        assert one_example.soft is not None and other.soft is not None
        for name, values in one_example.soft.attributes.items():
            np.testing.assert_array_equal(values, other.soft.attributes[name])


def test_a_store_without_attributes(tmp_path: Path) -> None:
    plain = Stored(
        np.ones((3, 5), np.float16), np.zeros((1, 2), np.int64), np.ones((1, 2), np.float16)
    )
    save_targets(tmp_path / "t.st", "question", [plain, plain])
    found = load_targets(tmp_path / "t.st", "question")
    assert found is not None and len(found) == 2
    assert not found[0].attributes.size and (found[1].labels == plain.labels).all()
