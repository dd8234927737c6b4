"""Attributes of the formats and protocols that have them: Clinical TempEval and ShARe/CLEF."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from emlb.data.corpora import load_corpus, read_documents
from emlb.data.formats.anafora.corpus import write_anafora
from emlb.data.formats.share.corpus import DISORDER, SLOTS, write_share
from emlb.evaluation.evaluate import evaluate
from emlb.evaluation.protocol_scores import Judging
from emlb.evaluation.protocols import find_protocol
from emlb.examples.coverage import Coverage
from emlb.examples.examples import Supervision
from emlb.recipes import find_recipe
from emlb.training.config import load_config
from emlb.training.train import train
from emlb_runtime.records import Document
from emlb_runtime.schema.attributes import Attribute
from emlb_runtime.schema.task import Task
from tests.attributed import AttributedRun, attributed_notes, write_config
from tests.tiny import build_encoder


def as_events(document: Document) -> Document:
    """The document as Clinical TempEval would have it: every event states every value."""
    events = tuple(
        replace(
            entity,
            type="EVENT",
            attributes={
                "Polarity": "NEG" if entity.attributes.get("Assertion") == "absent" else "POS",
                "ContextualModality": (
                    "HEDGED" if entity.attributes.get("Assertion") == "possible" else "ACTUAL"
                ),
            },
        )
        for entity in document.entities
        if entity.type == "Disorder"
    )
    return replace(document, entities=events, relations=())


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with Anafora files below ``train`` and ``dev``."""
    folder = tmp_path_factory.mktemp("events")
    texts = []
    for part, seed, number in (("train", 1, 60), ("dev", 2, 20)):
        for document in attributed_notes(seed=seed, n_notes=number):
            write_anafora(as_events(document), folder / part)
            texts.append(document.note.text)
    build_encoder(folder / "encoder", texts)
    return folder


def test_the_head_learns_what_tempeval_scores(events: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    config = write_config(
        tmp_path / "e.toml", encoder=events / "encoder", data=events, output=tmp_path / "runs"
    )
    # In place of the attributes of the other tests, those of the recipe that are in the notes.
    text = config.read_text(encoding="utf-8")
    start, end = text.index("[[task.attribute]]"), text.index("[[corpus]]")
    recipe = find_recipe(Path("e3c-events")).read_text(encoding="utf-8")
    parts = [part for part in recipe.split("\n\n") if part.startswith("[[task.attribute]]")]
    kept = [p for p in parts if '"Polarity"' in p or '"ContextualModality"' in p]
    config.write_text(text[:start] + "\n\n".join(kept) + "\n\n" + text[end:], encoding="utf-8")
    run = train(config)
    report = evaluate(run, events / "dev", judging=Judging(protocol="tempeval"))
    rows = {row.key: row.values for row in report.judged["dev"].rows}
    assert rows["entities", "EVENT:<span>", "strict"]["f1"] > 0.9
    for name in ("Polarity", "ContextualModality"):
        # Defaults are filled in, or every present event would count as having no value.
        assert rows["attributes", f"EVENT:{name}", "strict"]["accuracy"] > 0.9, name
    assert rows["attributes", "EVENT", "strict"]["accuracy"] > 0.8


def test_e3c_in_the_files_of_tempeval(corpora: Path) -> None:
    """What the reader delivers is what the recipe declares: nothing is unknown to the task."""
    config = load_config(find_recipe(Path("e3c-events")))
    (task,), (corpus,) = config.task, config.corpus
    loaded = load_corpus(corpus, corpora)
    known = {attribute.name: attribute for attribute in task.attribute}
    counts: Counter[tuple[str, str]] = Counter()
    for document in loaded.split.train:
        for entity in document.entities:
            for name, value in entity.attributes.items():
                assert value in known[name].values and known[name].applies_to(entity.type)
                counts[name, value] += 1
    assert counts["Polarity", "NEG"] > 100 and counts["DocTimeRel", "OVERLAP"] > 200
    # The default is the most frequent value, so that leaving it out says most with least.
    for attribute in task.attribute:
        if attribute.name != "Class":
            values = {value: counts[attribute.name, value] for value in attribute.values}
            assert max(values, key=lambda value: values[value]) == attribute.default


SHARE = Task(
    "share",
    (DISORDER,),
    attributes=(
        Attribute("NI", ("no", "yes"), "no", nonfactual=("yes",)),
        Attribute("SC", ("patient", "family_member"), "patient", nonfactual=("family_member",)),
        Attribute("UI", ("no", "yes"), "no"),
    ),
)


def as_share(document: Document) -> Document:
    kept = tuple(
        replace(
            entity,
            type=DISORDER,
            attributes={
                "CUI": "C0000001",
                "NI": "yes" if entity.attributes.get("Assertion") == "absent" else "no",
                "SC": "family_member" if "Experiencer" in entity.attributes else "patient",
                "UI": "yes" if entity.attributes.get("Assertion") == "possible" else "no",
            },
        )
        for entity in document.entities
        if entity.type == "Disorder"
    )
    return replace(document, entities=kept, relations=())


def test_slots_of_share_are_attributes(tmp_path: Path) -> None:
    gold = [as_share(document) for document in attributed_notes(seed=3, n_notes=10)]
    for document in gold:
        write_share(document, tmp_path / "notes")
    read, _ = read_documents(tmp_path / "notes", "auto", "notes")
    supervision = Supervision(SHARE, Coverage.of(SHARE, (), ()))
    seen: Counter[str] = Counter()
    for document in read:
        for entity in document.entities:
            possible = supervision.possible_values(entity.type, entity.attributes)
            own = [possible[part] for part in SHARE.attribute_columns.values()]
            assert all(values.sum() == 1 for values in own)
            for attribute, values in zip(SHARE.attributes, own, strict=True):
                seen[f"{attribute.name}={attribute.values[int(np.argmax(values))]}"] += 1
    assert min(seen[v] for v in ("NI=yes", "SC=family_member", "UI=yes", "NI=no")) > 2


def test_predictions_without_defaults_score_in_full(attributed_run: AttributedRun) -> None:
    """A model leaves the default out; the slots' own defaults stand for it."""
    protocol = find_protocol("shareclef")
    gold = [as_share(document) for document in attributed_notes(seed=4, n_notes=5)]
    defaults = {slot.name: slot.default for slot in SLOTS}
    for document in gold:
        bare = tuple(
            replace(
                entity,
                attributes={n: v for n, v in entity.attributes.items() if defaults.get(n) != v},
            )
            for entity in document.entities
        )
        rows = protocol.rows(protocol.tally(document, replace(document, entities=bare)))
        values = {row.key: row.values for row in rows}
        assert values["attributes", "NI", "value"]["accuracy"] == 1.0


@pytest.mark.parametrize("recipe", ["emlb-clinical-2", "emlb-clinical-2-teacher"])
def test_what_the_clinical_recipe_says_of_attributes(recipe: str) -> None:
    config = load_config(find_recipe(Path(recipe)))
    (stated,) = config.task
    task = Task(
        stated.name, stated.entity_types, stated.relation_types, attributes=stated.attribute
    )
    covered = {c.name: Coverage.of(task, c.full, c.part).attributes for c in config.corpus}
    everything = covered["notes_real"]
    assert everything == covered["notes_invented"] and len(everything) == 5 + 3 + 4 + 1
    assert everything["Assertion", "Test"] == {"absent", "possible", "hypothetical"}
    assert covered["phee"] == {("Assertion", "Disorder"): {"absent", "possible"}}
    assert covered["chia"]["Assertion", "Procedure"] == {"absent"} and len(covered["chia"]) == 5
    assert covered["fda_ars"] == {("Assertion", "Disorder"): {"absent"}}
    assert covered["maccrobat2020"] == {("Experiencer", "Disorder"): {"other"}}
    silent = ("ade", "bc5cdr", "biored", "drugtemist_en")
    assert not any(covered[name] for name in silent)
