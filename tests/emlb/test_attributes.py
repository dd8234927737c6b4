"""Attributes: what a corpus teaches of them, their loss, and a model that learns them."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emlb.evaluation.calibration.attribute_scaling import fit_attributes, state_attributes
from emlb.evaluation.calibration.fit import as_reported, untuned
from emlb.evaluation.calibration.measure import Measured, measure_calibration
from emlb.evaluation.evaluate import evaluate
from emlb.evaluation.pipeline_scores import ScoredCorpus, extract
from emlb.evaluation.scoring.attributes import (
    marked_in,
    render,
    score_attributes,
    to_json,
    with_defaults,
)
from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, Supervision, make_examples
from emlb.model import EmlbModel
from emlb.model.attributes import REACHES, AttributeHead, find_buckets, find_offsets
from emlb.model.pretrained import LoadedTokenizer, TrainedModel, load_tokenizer, make_pipeline
from emlb.training.loss.attributes import attribute_loss, build_mentions
from emlb.training.train import train
from emlb_runtime.errors import ConfigError
from emlb_runtime.records import Document, Entity, Note
from emlb_runtime.schema.task import Task
from tests.attributed import (
    ASSERTION,
    ATTRIBUTES,
    DISORDERS,
    AttributedRun,
    attributed_notes,
    write_config,
    write_corpus,
)
from tests.tiny import WINDOWS

TASK = Task(
    "notes",
    ("Disorder", "Drug"),
    ("Reason-Drug",),
    (("Reason-Drug", "Disorder", "Drug"),),
    attributes=ATTRIBUTES,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data folder and untrained encoder."""
    return write_corpus(tmp_path_factory.mktemp("attributed"))


@pytest.fixture(scope="module")
def run(attributed_run: AttributedRun) -> Path:
    """A finished run."""
    return attributed_run.folder


@pytest.fixture
def loaded(corpus: tuple[Path, Path]) -> tuple[EmlbModel, LoadedTokenizer]:
    torch.manual_seed(4)
    model = EmlbModel.from_base(
        corpus[1], [TASK], windows=WINDOWS, relation_width=32, relation_heads=2, attribute_width=32
    )
    model.train(False)
    return model, load_tokenizer(corpus[1])


def of(full: list[str], part: list[str]) -> Coverage:
    return Coverage.of(TASK, tuple(full), tuple(part))


def test_coverage_of_attributes() -> None:
    everything = of([], [])
    assert everything.attributes == {
        ("Assertion", "Disorder"): {"absent", "possible"},
        ("Assertion", "Drug"): {"absent", "possible"},
        ("Experiencer", "Disorder"): {"other"},
    }
    assert ("Experiencer", "Disorder", "other") in everything.marked
    assert of(["Disorder"], []).attributes == {}
    limited = of(["Disorder", "Assertion:Disorder=absent"], ["Experiencer"])
    assert limited.attributes == {
        ("Assertion", "Disorder"): {"absent"},
        ("Experiencer", "Disorder"): set(),
    }
    assert limited.full == {"Disorder"} and limited.part == set()
    assert limited.marked == {("Assertion", "Disorder", "absent")}


@pytest.mark.parametrize(
    ("full", "part", "said"),
    [
        (["Polarity"], [], "which task notes lacks; it has Assertion, Disorder"),
        (["Experiencer:Drug"], [], "attribute Experiencer is of Disorder"),
        (["Assertion=present"], [], "what is marked of attribute Assertion is absent, possible"),
        ([], ["Assertion=absent"], "name the attribute alone there"),
        (["Assertion"], ["Assertion"], "both in full and in part: Assertion"),
    ],
)
def test_coverage_that_cannot_be(full: list[str], part: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of(full, part)


def names(possible: Any) -> list[str]:
    values = [f"{a.name}={v}" for a in ATTRIBUTES for v in a.values]
    return [value for value, here in zip(values, possible, strict=True) if here]


def test_what_a_mention_may_be() -> None:
    def may(coverage: Coverage, type: str, stated: dict[str, str]) -> list[str]:
        return names(Supervision(TASK, coverage).possible_values(type, stated))

    every = [f"{a.name}={v}" for a in ATTRIBUTES for v in a.values]
    full = of([], [])
    assert may(full, "Disorder", {}) == ["Assertion=present", "Experiencer=patient"]
    absent = ["Assertion=absent", "Experiencer=patient"]
    assert may(full, "Disorder", {"Assertion": "absent"}) == absent
    assert may(full, "Drug", {"Experiencer": "other"}) == ["Assertion=present", *every[3:]]
    assert may(full, "Disorder", {"Assertion": "odd"}) == [*every[:3], "Experiencer=patient"]
    negated = of(["Disorder", "Assertion=absent"], [])
    assert may(negated, "Disorder", {}) == ["Assertion=present", "Assertion=possible", *every[3:]]
    marked = of(["Disorder"], ["Assertion"])
    assert may(marked, "Disorder", {}) == every
    assert may(marked, "Disorder", {"Assertion": "present"}) == ["Assertion=present", *every[3:]]
    assert may(of(["Disorder"], []), "Disorder", {"Assertion": "absent"}) == every


def test_what_cannot_be_learned_is_counted(
    loaded: tuple[EmlbModel, LoadedTokenizer],
) -> None:
    note = Note("n", "She has fever and aspirin")
    said = {"Assertion": "unsure", "Degree": "much", "Experiencer": "other"}
    document = Document(
        note,
        (
            Entity.annotate(note, "T1", "Disorder", ((8, 13),), attributes=said),
            Entity.annotate(note, "T2", "Drug", ((18, 25),), attributes={"Experiencer": "other"}),
        ),
    )
    unused: Counter[str] = Counter()
    pipeline = make_pipeline(*loaded)
    (example,) = make_examples([document], Supervision(TASK, of([], [])), pipeline, unused)
    assert unused == {
        "attribute Assertion with a value that the task lacks": 1,
        "attribute Degree, which the task lacks": 1,
        "attribute Experiencer of type Drug, which does not have it": 1,
    }
    assert example.attributes is not None
    assert names(example.attributes[0])[-1] == "Experiencer=other"
    bare = replace(TASK, attributes=())
    (example,) = make_examples([document], Supervision(bare, of([], [])), pipeline, Counter())
    assert example.attributes is None


def examples_of(documents: list[Document], pipeline: Any) -> list[Example]:
    return make_examples(documents, Supervision(TASK, of([], [])), pipeline, Counter())


def test_predicted_mentions_have_the_attributes_of_what_they_overlap(
    loaded: tuple[EmlbModel, LoadedTokenizer],
) -> None:
    document = attributed_notes(seed=5, n_notes=1, disorders=("back pain",))[0]
    (example,) = examples_of([document], make_pipeline(*loaded))
    start, end, type = example.mentions[0]
    assert end == start + 2
    predicted = [(start, end, type), (start, start + 1, type), (start + 1, end, 1), (0, 1, type)]
    batch = build_mentions([example], [predicted])
    assert batch is not None and example.attributes is not None
    n = len(example.mentions)
    assert batch.spans.shape == (1, n + 3, 3)
    assert (batch.possible[0, n] == example.attributes[0]).all()
    assert batch.possible[0, n + 1 :].all()  # of another type, and far from any
    unknown = replace(example, attributes=np.ones_like(example.attributes))
    assert build_mentions([unknown], None) is None


def test_loss_by_hand() -> None:
    scores = torch.tensor([[[1.0, 2.0, 0.5, 3.0, -1.0], [0.0, 1.0, 2.0, 3.0, 4.0]]])
    possible = torch.tensor([[[True, False, True, False, True], [True, True, True, True, True]]])
    weights = [math.exp(value) for value in (1.0, 2.0, 0.5)]
    expected = -math.log((weights[0] + weights[2]) / sum(weights))
    expected += -math.log(math.exp(-1.0) / (math.exp(3.0) + math.exp(-1.0)))
    assert attribute_loss(TASK, scores, possible).item() == pytest.approx(expected, rel=1e-6)
    scores.requires_grad_()
    attribute_loss(TASK, scores, possible).backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None and not scores.grad[0, 1].any()


def test_how_far_pieces_stand() -> None:
    found = find_offsets(torch.tensor([[[4, 6, 0]]]), 10)[0, 0].tolist()
    assert found == [-4, -3, -2, -1, 0, 0, 1, 2, 3, 4]
    far = find_offsets(torch.tensor([[[200, 201, 0]]]), 400)[0, 0]
    assert far[0] == -REACHES[-1] and far[-1] == REACHES[-1]
    buckets = dict(zip(range(-96, 97), find_buckets().tolist(), strict=True))
    n = len(REACHES)
    assert [buckets[offset] for offset in (0, -1, -2, -3, -4, -5, -6)] == [0, 1, 2, 3, 4, 4, 5]
    assert [buckets[offset] for offset in (1, 2, 95, 96)] == [n + 1, n + 2, 2 * n - 1, 2 * n]


def test_the_head_does_not_see_padding_or_other_windows() -> None:
    torch.manual_seed(3)
    head = AttributeHead(
        16, 2, TASK.n_attribute_values, attribute_width=8, n_heads=2, dropout=0.0
    ).eval()
    hidden = torch.randn(2, 9, 16)
    spans = torch.tensor([[[1, 3, 0], [4, 5, 1]], [[2, 4, 1], [0, 0, 0]]])
    mask = torch.tensor([[1] * 7 + [0] * 2, [1] * 9])
    both = head(hidden, mask, spans)
    assert both.shape == (2, 2, 5)
    alone = head(hidden[:1, :7], mask[:1, :7], spans[:1])
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=1e-5)


def test_a_model_learns_them(run: Path) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert record["development"]["notes_attributes"] > 0.9
    assert record["measures"]["notes"]["attributes"]["f1"] > 0.9
    task = TrainedModel.load(run / "model").model.config.task_list[0]
    assert task.attributes == ATTRIBUTES


def test_documents_state_what_differs_from_the_default(run: Path) -> None:
    pipeline = TrainedModel.load(run / "model").pipeline()
    text = "She denies nausea today. Given metformin for it.\nShe has rash today.\n"
    (document,) = pipeline.run([Note("n", text)])
    said = {entity.text: dict(entity.attributes) for entity in document.entities}
    assert said == {"nausea": {"Assertion": "absent"}, "metformin": {}, "rash": {}}
    sure = {entity.text: dict(entity.attribute_scores) for entity in document.entities}
    assert 0.5 < sure["nausea"]["Assertion"] <= 1.0 and sure["rash"] == {}
    facts = {document.entity(r.head).text: r.asserted for r in document.relations}
    assert facts["nausea"] is False and facts.get("rash", True) is True


def test_the_untuned_task_reports_every_value(run: Path, attributed_run: AttributedRun) -> None:
    trained = TrainedModel.load(run / "model")
    (task,) = trained.model.config.task_list
    documents = attributed_run.dev
    marked = of([], []).marked
    scored = ScoredCorpus("dev", "notes", documents, {"Disorder", "Drug"}, marked=marked)
    raw = extract(trained.pipeline(tasks=[untuned(task)]), scored)
    scores = raw[0].entities[0].attribute_scores
    assert sum(scores[f"Assertion={value}"] for value in ASSERTION.values) == pytest.approx(1.0)
    assert all(relation.asserted is None for document in raw for relation in document.relations)
    # What is reported of them is what the pipeline of the tuned task finds.
    reported = [as_reported(document, task) for document in raw]
    deployed = extract(trained.pipeline(), scored)
    for one, other in zip(reported, deployed, strict=True):
        assert [dict(e.attributes) for e in one.entities] == [
            dict(e.attributes) for e in other.entities
        ]
        for mine, theirs in zip(one.entities, other.entities, strict=True):
            assert mine.attribute_scores == pytest.approx(theirs.attribute_scores, abs=1e-6)
        # Thresholds may hold other relations back; of those both have, the facts are the same.
        facts = {(r.type, r.head, r.tail): r.asserted for r in other.relations}
        for relation in one.relations:
            assert facts[relation.type, relation.head, relation.tail] is relation.asserted


def test_scaling_is_fitted_to_right_mentions_of_corpora_that_mark_all() -> None:
    draw = np.random.default_rng(3)
    gold: list[Document] = []
    found: list[Document] = []
    for number in range(400):
        note = Note(str(number), "fever")
        absent = draw.random() < 0.3
        # Far surer than right: the odds of 9 to 1 are right three times in four.
        right = draw.random() < 0.75
        p = 0.9 if absent == right else 0.1
        scores = {
            "Assertion=present": 1 - p - 1e-3,
            "Assertion=absent": p,
            "Assertion=possible": 1e-3,
        }
        scores |= {"Experiencer=patient": 1.0, "Experiencer=other": 0.0}
        value = {"Assertion": "absent"} if absent else {}
        entity = Entity.annotate(note, "T1", "Disorder", ((0, 5),))
        gold.append(Document(note, (replace(entity, attributes=value),)))
        found.append(Document(note, (replace(entity, attribute_scores=scores),)))
    full = ScoredCorpus("c", "notes", tuple(gold), {"Disorder"}, marked=of([], []).marked)
    fitted = fit_attributes(TASK, [full], [found])
    assert set(fitted) == {"Assertion"}  # no other person's is marked
    assert fitted["Assertion"].slope == pytest.approx(0.5, abs=0.1)
    assert 0.3 <= fitted["Assertion"].threshold <= 0.75
    some = replace(full, marked=of(["Disorder", "Assertion=absent"], []).marked)
    assert fit_attributes(TASK, [some], [found]) == {}
    assert fit_attributes(TASK, [replace(full, tune=False)], [found]) == {}
    calibrated = replace(TASK, calibration=None)
    measured = measure_calibration(
        Measured(gold, [state_attributes(d, calibrated) for d in found], None, full.marked)
    )
    assert measured["attributes"].error > 0.1


def marked_note(*entities: tuple[int, int, dict[str, str]]) -> Document:
    note = Note("n", "fever rash nausea cough")
    return Document(
        note,
        tuple(
            Entity.annotate(note, f"T{n}", "Disorder", ((start, end),), attributes=said)
            for n, (start, end, said) in enumerate(entities, start=1)
        ),
    )


def test_scores_of_attributes() -> None:
    gold = marked_note(
        (0, 5, {"Assertion": "absent"}),
        (6, 10, {"Assertion": "possible", "Experiencer": "other"}),
        (11, 17, {}),
        (18, 23, {"Assertion": "absent"}),
    )
    found = marked_note(
        (0, 5, {"Assertion": "absent"}),
        (6, 10, {"Assertion": "absent", "Experiencer": "other", "Colour": "red"}),
        (11, 17, {"Assertion": "present"}),
        (18, 22, {"Assertion": "absent"}),
    )
    scores = score_attributes([(gold, found)], marked_in(TASK, [gold], [found]))
    absent = scores.found.types["Assertion=absent"]
    assert (absent.tp, absent.predicted, absent.gold) == (1, 3, 2)
    assert scores.found.types["Assertion=possible"].gold == 1
    assert (scores.found.micro.tp, scores.found.micro.predicted, scores.found.micro.gold) == (
        2,
        4,
        4,
    )
    on_right = scores.on_right.types["Assertion=absent"]
    assert (on_right.tp, on_right.predicted, on_right.gold) == (1, 2, 1)
    assert scores.decided.types["Assertion"].precision == pytest.approx(2 / 3)
    assert scores.decided.types["Experiencer"].precision == 1.0
    assert (scores + scores).found.micro.gold == 8
    table = render(scores)
    assert "Assertion=absent" in table and "66.7" in table.splitlines()[-1]
    values = to_json(scores)
    assert values["end_to_end"]["attributes"]["Assertion"]["gold"] == 3
    assert values["right_mentions"]["accuracy"]["Assertion"] == {
        "accuracy": pytest.approx(2 / 3),
        "right": 2,
        "mentions": 3,
    }


def test_what_counts() -> None:
    plain, said = marked_note((0, 5, {})), marked_note((0, 5, {"Polarity": "NEG"}))
    assert marked_in(TASK, [plain], [said]) == frozenset()
    assert marked_in(None, [said], [plain]) == frozenset()
    assert marked_in(None, [plain], [said]) == {("Polarity", "Disorder", "NEG")}
    absent = marked_note((0, 5, {"Assertion": "absent"}))
    only = {(name, type) for name, type, _ in marked_in(TASK, [absent], [plain])}
    assert only == {("Assertion", "Disorder"), ("Assertion", "Drug")}
    filled = with_defaults(absent, TASK).entities[0].attributes
    assert filled == {"Assertion": "absent", "Experiencer": "patient"}


def test_evaluate_scores_them(run: Path, attributed_run: AttributedRun, tmp_path: Path) -> None:
    target = tmp_path / "report.json"
    report = evaluate(run, attributed_run.data / "dev", json_path=target, calibrated=True)
    assert "Attributes (values other than the default)" in report.table()
    assert "attributes: ECE" in report.table()
    values = json.loads(target.read_text(encoding="utf-8"))["corpora"]["dev"]
    assert values["attributes"]["end_to_end"]["micro"]["f1"] > 0.9
    assert values["calibration"]["attributes"]["ece"] < 0.1
    # The same, of predictions in a file.
    predicted = tmp_path / "predicted.jsonl"
    documents = attributed_run.dev
    scored = ScoredCorpus("dev", "notes", documents, {"Disorder", "Drug", "Reason-Drug"})
    found = extract(TrainedModel.load(run / "model").pipeline(), scored)
    lines = "".join(json.dumps(document.to_json()) + "\n" for document in found)
    predicted.write_text(lines, encoding="utf-8")
    again = evaluate(predicted, attributed_run.data / "dev")
    ours, theirs = report.scores["dev"].attributes, again.scores["dev"].attributes
    assert ours is not None and theirs is not None and theirs.found == ours.found


def test_attributes_weigh_in_the_choice_of_a_checkpoint(run: Path) -> None:
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))["development"]
    parts = [record[f"notes_{kind}"] for kind in ("entities", "relations", "attributes")]
    assert record["score"] == pytest.approx(sum(parts) / 3, abs=0.02)


def test_they_may_go_unlearned(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    data, encoder = corpus
    config = write_config(tmp_path / "a.toml", encoder=encoder, data=data, output=tmp_path)
    with pytest.raises(ConfigError, match="attribute_weight is -1; it must be 0 or more"):
        train(config, overrides=["training.attribute_weight=-1.0"])
    with pytest.raises(ConfigError, match="attribute Assertion is of Gene, which the task lacks"):
        train(config, overrides=['task.0.attribute.0.entity_types=["Gene"]'])
    with pytest.raises(ConfigError, match="'maybe' is not one of its values"):
        train(config, overrides=["task.0.attribute.0.default=maybe"], fresh=True)


def test_a_corpus_that_never_marks_one_is_told(corpus: tuple[Path, Path], tmp_path: Path) -> None:
    data, encoder = corpus
    config = write_config(tmp_path / "a.toml", encoder=encoder, data=data, output=tmp_path)
    said: list[str] = []
    more = ["training.epochs=1", 'task.0.attribute.1.name="Subject"']
    train(config, overrides=more, say=said.append)
    assert any("no mention is marked with Subject" in line for line in said)
    assert not any("marked with Assertion" in line for line in said)
    assert any("attribute Experiencer, which the task lacks" in line for line in said)


def test_disorders_are_of_the_corpus() -> None:
    """The notes differ, so that learning is not by heart."""
    train_notes = attributed_notes(seed=1, n_notes=60, disorders=DISORDERS)
    dev_notes = attributed_notes(seed=2, n_notes=20, disorders=DISORDERS)
    assert not {d.note.text for d in train_notes} & {d.note.text for d in dev_notes}
