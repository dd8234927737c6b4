"""The mappings of other corpora to clinical schema 2, rule by rule and on the corpora."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emlb.data.convert import convert
from emlb.data.corpora import read_documents
from emlb.data.formats.n2c2 import ENTITY_TYPES, RELATION_TYPES
from emlb.data.mapping import MAPPINGS, UNKNOWN, find_mapping, map_documents
from emlb.data.mapping.doses import DosePart, split_dose
from emlb.data.mapping.draft import Draft
from emlb.data.mapping.n2c2 import is_strength
from emlb.data.mapping.rules import drop_analytes, join_anatomy, split_doses
from emlb.examples.coverage import Coverage
from emlb.examples.examples import Supervision, make_examples
from emlb.package_data import find_packaged
from emlb.training.loss.pair_labels import build_pairs
from emlb_runtime.errors import ConfigError
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document, Relation
from emlb_runtime.schema.task import Task
from tests.tiny import parse_markup

SCHEMA = {
    "Anatomy": {"Anatomy-of": {"Disorder", "Test", "Procedure", "Device"}},
    "Device": {},
    "Disorder": {"ADE-Drug": {"Drug"}, "Reason-Drug": {"Drug"}},
    "Dosage": {"Dosage-Drug": {"Drug"}},
    "Drug": {},
    "Duration": {"Duration-Drug": {"Drug"}},
    "Form": {"Form-Drug": {"Drug"}},
    "Frequency": {"Frequency-Drug": {"Drug"}},
    "Procedure": {},
    "Qualifier": {"Qualifier-of": {"Disorder", "Test", "Procedure", "Device", "Drug", "Anatomy"}},
    "Route": {"Route-Drug": {"Drug"}},
    "Temporal": {"Temporal-of": {"Disorder", "Test", "Procedure", "Device", "Drug"}},
    "Test": {},
    "Value": {"Value-of": {"Test", "Disorder", "Drug", "Procedure"}},
}
"""The types of the guidelines, and what their relations lead to."""


def rewrite(markup: str, name: str) -> Document:
    """A marked-up document, mapped; a hyphen in a type stands for MACCROBAT's underscore."""
    document = parse_markup(markup)
    entities = tuple(replace(e, type=e.type.replace("-", "_")) for e in document.entities)
    return MAPPINGS[name](replace(document, entities=entities), Counter())


def mentions(document: Document) -> list[tuple[str, str]]:
    order = sorted(document.entities, key=lambda entity: (entity.start, -entity.end))
    assert all(document.note.text[e.start : e.end] == e.text for e in order)
    return [(entity.type, entity.text) for entity in order]


def triples(document: Document) -> set[tuple[str, str, str]]:
    return {(t.relation.type, t.head.text, t.tail.text) for t in document.triples()}


@pytest.mark.parametrize(
    ("dose", "parts"),
    [
        ("60 mg daily", "Dosage:60 mg Frequency:daily"),
        ("400 mg/day", "Dosage:400 mg/day"),
        ("4 mg/kg/12h", "Dosage:4 mg/kg/12h"),
        ("10 mg/m(2)/day", "Dosage:10 mg/m(2)/day"),
        ("2 g/m2 intravenously every 12 hours", "Dosage:2 g/m2 Route:intravenously "
         "Frequency:every 12 hours"),
        ("100 mg orally, three times a day", "Dosage:100 mg Route:orally "
         "Frequency:three times a day"),
        ("1,500 mg over two days", "Dosage:1,500 mg Duration:two days"),
        ("500 mg tid for 10 days", "Dosage:500 mg Frequency:tid Duration:10 days"),
        ("1 to 2 tablets q4-6h prn", "Dosage:1 to 2 tablets Frequency:q4-6h prn"),
        ("high-dose weekly", "Dosage:high-dose Frequency:weekly"),
        ("80 mg/m2 on days 1 through 3 repeated every 21 days", "Dosage:80 mg/m2 "
         "Frequency:every 21 days"),
        ("70 Gy, 35 sessions", "Dosage:70 Gy Duration:35 sessions"),
        ("tablets", "Form:tablets"),
        ("by mouth", "Route:by mouth"),
        ("six courses", "Duration:six courses"),
        ("5 mg twice daily", "Dosage:5 mg Frequency:twice daily"),
        ("overdose", ""),
        ("progressive decrease", ""),
        ("maintenance dose", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_doses_are_split(dose: str, parts: str) -> None:
    found = split_dose(dose)
    assert " ".join(f"{part.type}:{dose[part.start : part.end]}" for part in found) == parts
    assert all(a.end <= b.start for a, b in zip(found, found[1:], strict=False))


def test_annotated_parts_of_doses_are_seldom_read_as_something_else() -> None:
    """By annotators who did not know the rules: what the rules read, they read the same."""
    place = find_packaged("package:emlb/recipes/notes/invented-train.jsonl", Path())
    documents, _ = read_documents(place, "documents", "invented")
    read: Counter[str] = Counter()
    for entity in (entity for document in documents for entity in document.entities):
        if entity.type in ("Dosage", "Duration", "Form", "Frequency", "Route"):
            whole = [DosePart(entity.type, 0, len(entity.text))]
            found = list(split_dose(entity.text))
            read["same" if found == whole else "other" if found else "open"] += 1
    assert read["other"] < 0.02 * read["same"]
    assert read["same"] > 0.75 * read.total()


def test_maccrobat_doses_belong_to_their_drug() -> None:
    document = rewrite(
        "She took [Medication:m prednisone] [Dosage:d 40 mg daily] [Administration:a orally] for"
        " [Duration:t two weeks] and had [Sign-symptom:s headache] [Frequency:f once a week] for"
        " [Duration:u three months]."
        " {MODIFY d m} {MODIFY a m} {MODIFY t d} {MODIFY f s} {MODIFY u s}",
        "maccrobat",
    )
    assert mentions(document) == [
        ("Drug", "prednisone"),
        ("Dosage", "40 mg"),
        ("Frequency", "daily"),
        ("Route", "orally"),
        ("Duration", "two weeks"),
        ("Disorder", "headache"),
        ("Temporal", "once a week"),
        ("Temporal", "three months"),
    ]
    assert triples(document) == {
        ("Dosage-Drug", "40 mg", "prednisone"),
        ("Frequency-Drug", "daily", "prednisone"),
        ("Route-Drug", "orally", "prednisone"),
        ("Duration-Drug", "two weeks", "prednisone"),
        ("Temporal-of", "once a week", "headache"),
        ("Temporal-of", "three months", "headache"),
    }


def test_a_body_part_directly_before_its_finding_is_joined_with_it() -> None:
    document = rewrite(
        "[Severity:q Severe] [Biological-structure:a abdominal] [Sign-symptom:s pain],"
        " [Biological-structure:k left knee] [Sign-symptom:t swelling],"
        " [Biological-structure:v left ventricular] [Sign-symptom:h hypertrophy],"
        " [Sign-symptom:r rash] on the [Biological-structure:l right leg];"
        " [Biological-structure:c chest] [Diagnostic-procedure:x x-ray] [Lab-value:n normal]."
        " {MODIFY q s} {MODIFY a s} {MODIFY k t} {MODIFY v h} {MODIFY l r} {MODIFY c x}"
        " {MODIFY n x}",
        "maccrobat",
    )
    assert mentions(document) == [
        ("Qualifier", "Severe"),
        ("Disorder", "abdominal pain"),
        ("Qualifier", "left"),
        ("Disorder", "knee swelling"),
        ("Disorder", "left ventricular hypertrophy"),
        ("Disorder", "rash"),
        ("Anatomy", "right leg"),
        ("Test", "chest x-ray"),
        ("Value", "normal"),
    ]
    assert triples(document) == {
        ("Qualifier-of", "Severe", "abdominal pain"),
        ("Qualifier-of", "left", "knee swelling"),
        ("Anatomy-of", "right leg", "rash"),
        ("Value-of", "normal", "chest x-ray"),
    }


def test_relations_of_a_joined_body_part_are_counted() -> None:
    dropped: Counter[str] = Counter()
    draft = Draft.of(
        parse_markup(
            "[Qualifier:q tender] [Anatomy:k left knee] [Disorder:s swelling] and [Disorder:p pain]"
            " {Qualifier-of q k} {Anatomy-of k s} {Anatomy-of k p}"
        ),
        dropped,
    )
    draft.relations.append(Relation("Anatomy-of", "k", "s"))  # as MACCROBAT repeats some
    join_anatomy(draft)
    document = draft.document()
    assert mentions(document) == [
        ("Qualifier", "tender"),
        ("Qualifier", "left"),
        ("Disorder", "knee swelling"),
        ("Disorder", "pain"),
    ]
    assert triples(document) == {("Qualifier-of", "left", "knee swelling")}
    assert dropped == {
        "Qualifier-of of a body part that is joined with its finding": 1,
        "Anatomy-of of a body part that is joined with its finding": 1,
    }


def test_relations_of_doses_and_analytes_are_counted() -> None:
    dropped: Counter[str] = Counter()
    draft = Draft.of(
        parse_markup(
            "[Dosage:a 60 mg daily] and [Dosage:b as he likes] of [Drug:d aspirin],"
            " [Drug:s sodium] for [Disorder:e fever] [Temporal:t now]"
            " {Dosage-Drug a d} {Dosage-Drug b d} {Temporal-of t a} {Treats s e} {Treats d e}"
        ),
        dropped,
    )
    split_doses(draft)
    drop_analytes(draft)
    assert {r.type for r in draft.relations} == {"Dosage-Drug", "Frequency-Drug", "Treats"}
    assert dropped == {
        "dose that no rule can split": 1,
        "Dosage-Drug of a dose that no rule can split": 1,
        "Temporal-of of a dose that is split": 1,
        "substance that laboratories measure": 1,
        "Treats of a substance that laboratories measure": 1,
    }


def test_what_maccrobat_leaves_undecided_is_left_open() -> None:
    document = rewrite(
        "[History:h diabetes], [Detailed-description:q with a rather long and winding clause];"
        " [Age:y 40-year-old] on [Diagnostic-procedure:g physical examination]."
        " [Family-history:f Mother had [Disease-disorder:d asthma]]. [Date:t After 3 weeks]",
        "maccrobat",
    )
    assert mentions(document) == [
        (UNKNOWN, "diabetes"),
        (UNKNOWN, "with a rather long and winding clause"),
        (UNKNOWN, "Mother had asthma"),
        ("Disorder", "asthma"),
        ("Temporal", "3 weeks"),
    ]
    assert document.entity("d").attributes == {"Experiencer": "other"}


def test_examinations_that_enter_the_body_are_procedures() -> None:
    document = rewrite(
        "[Diagnostic-procedure:a Colonoscopy], [Diagnostic-procedure:b skin biopsy],"
        " [Diagnostic-procedure:c light microscopy], [Diagnostic-procedure:d chest CT] and"
        " [Diagnostic-procedure:e EGD] came after [Therapeutic-procedure:f appendectomy].",
        "maccrobat",
    )
    found = {text: type for type, text in mentions(document)}
    procedures = {text for text, type in found.items() if type == "Procedure"}
    assert procedures == {"Colonoscopy", "skin biopsy", "EGD", "appendectomy"}
    assert found["light microscopy"] == found["chest CT"] == "Test"


def test_ade_and_phee() -> None:
    document = rewrite(
        "[ADE:e Rash] after [Drug:d amoxicillin] [Dosage:m 500 mg bid] and [Dosage:o overdose]."
        " {ADE-Drug e d} {Dosage-Drug m d} {Dosage-Drug o d}",
        "ade",
    )
    assert mentions(document) == [
        ("Disorder", "Rash"),
        ("Drug", "amoxicillin"),
        ("Dosage", "500 mg"),
        ("Frequency", "bid"),
        (UNKNOWN, "overdose"),
    ]
    assert triples(document) == {
        ("ADE-Drug", "Rash", "amoxicillin"),
        ("Dosage-Drug", "500 mg", "amoxicillin"),
        ("Frequency-Drug", "bid", "amoxicillin"),
    }
    document = rewrite(
        "[Age:y A 5-year-old] got [Route:r oral] [Drug:d digoxin] for [Disorder:i flutter] and had"
        " [Disorder:e nausea] [Duration:u within the second month]."
        " {Treats d i} {ADE-Drug e d} {Route-Drug r d} {Duration-Drug u d}",
        "phee",
    )
    assert mentions(document) == [
        ("Route", "oral"),
        ("Drug", "digoxin"),
        ("Disorder", "flutter"),
        ("Disorder", "nausea"),
        (UNKNOWN, "within the second month"),
    ]
    assert triples(document) == {
        ("Reason-Drug", "flutter", "digoxin"),
        ("ADE-Drug", "nausea", "digoxin"),
        ("Route-Drug", "oral", "digoxin"),
    }


def test_chia_chemicals_and_labels() -> None:
    document = rewrite(
        "[Negation:n No] [Disorder:d asthma] [Temporal:t within 6 months] in [Person:p women]."
        " {Negation-of n d} {Temporal-of t d}",
        "chia",
    )
    assert mentions(document) == [("Disorder", "asthma"), ("Temporal", "6 months")]
    assert document.entity("d").attributes == {"Assertion": "absent"}
    assert triples(document) == {("Temporal-of", "6 months", "asthma")}
    document = rewrite(
        "[Drug:c Creatinine] rose and [Disorder:d nephropathy] came after [Drug:g gentamicin]."
        " {ADE-Drug d g} {ADE-Drug d c} {Treats g d}",
        "chemicals",
    )
    assert mentions(document)[0] == (UNKNOWN, "Creatinine")
    assert triples(document) == {("ADE-Drug", "nephropathy", "gentamicin")}
    document = rewrite(
        "[Qualifier:q Severe] [Disorder:d rash] was seen with [Drug:c NSAIDs]."
        " {Qualifier-of q d} {ADE-Drug d c}",
        "fda",
    )
    assert triples(document) == {("Qualifier-of", "Severe", "rash")}


@pytest.mark.parametrize(
    ("dosage", "strength"),
    [
        ("20 mg", True),
        ("875/125 mg", True),
        ("875-125", True),
        ("0.05 %", True),
        ("100 units/mL", True),
        ("5 mg/mL", True),
        ("2 g", True),
        ("1 tablet", False),
        ("one to two tablets", False),
        ("10 units", False),
        ("2 puffs", False),
        ("5 mL", False),
        ("5 mg/kg", False),
        ("90 mg/kg/day", False),
        ("low-dose", False),
        ("125 mL/h", False),
    ],
)
def test_the_unit_tells_strength_from_dosage(dosage: str, strength: bool) -> None:
    assert is_strength(dosage) is strength


def test_schema_2_in_the_types_of_n2c2() -> None:
    document = rewrite(
        "[Drug:d Lisinopril] [Dosage:s 20 mg] [Form:f tablet], [Dosage:n 1 tablet] [Route:r PO]"
        " [Frequency:q daily] for [Disorder:h hypertension]; [Disorder:c cough] since, no"
        " [Disorder:o fever]. [Test:t BP] [Value:v 120/80]. {Dosage-Drug s d} {Dosage-Drug n d}"
        " {Form-Drug f d} {Route-Drug r d} {Frequency-Drug q d} {Reason-Drug h d} {ADE-Drug c d}"
        " {Reason-Drug c d} {Value-of v t}",
        "n2c2",
    )
    found = mentions(document)
    assert {type for type, _ in found} <= set(ENTITY_TYPES)
    assert ("Strength", "20 mg") in found
    assert ("Dosage", "1 tablet") in found
    assert ("Reason", "hypertension") in found
    assert {("ADE", "cough"), ("Reason", "cough")} <= set(found)
    assert not any(text == "fever" for _, text in found)
    assert ("Strength-Drug", "20 mg", "Lisinopril") in triples(document)
    assert all(t.relation.type == f"{t.head.type}-Drug" for t in document.triples())
    assert {t.relation.type for t in document.triples()} <= set(RELATION_TYPES)
    assert len(document.relations) == 8


def test_words_of_which_nothing_is_known_carry_no_loss(task: Task, pipeline: Pipeline) -> None:
    document = parse_markup("[Drug:d Aspirin] caused [Gap:g a rash] in Mary. {ADE-Drug g d}")
    entities = tuple(
        e if e.id == "d" else type(e)(e.id, UNKNOWN, e.start, e.end, e.text)
        for e in document.entities
    )
    opened = Document(document.note, entities)
    full = Coverage(frozenset((*task.entity_types, *task.relation_types)))
    unused: Counter[str] = Counter()
    (example,) = make_examples([opened], Supervision(task, full), pipeline, unused)
    assert not unused
    words = document.note.text.split()
    free = [word for word, row in zip(words, example.possible, strict=False) if row.all()]
    assert free == ["a", "rash"]
    predicted = [[(2, 4, task.entity_types.index("Disorder"))]]
    pairs = build_pairs([example], predicted, max_pairs=9, rng=np.random.default_rng(0))
    assert not any(batch.weights.any() for batch in pairs)


def test_unknown_mappings() -> None:
    with pytest.raises(ConfigError, match="no mapping 'pheee'; choose ade, chemicals, chia"):
        find_mapping("pheee")
    assert map_documents([], "", Counter()) == []


def test_convert_maps(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    (folder / "1.txt").write_text("Rash after amoxicillin 500 mg bid.\n", encoding="utf-8")
    (folder / "1.ann").write_text(
        "T1\tADE 0 4\tRash\nT2\tDrug 11 22\tamoxicillin\nT3\tDosage 23 33\t500 mg bid\n"
        "R1\tDosage-Drug Arg1:T3 Arg2:T2\nR2\tIs-near Arg1:T1 Arg2:T2\n",
        encoding="utf-8",
    )
    out = tmp_path / "out.jsonl"
    done = convert(folder, out, to="jsonl", mapping="ade")
    (line,) = map(json.loads, out.read_text(encoding="utf-8").splitlines())
    assert [e["type"] for e in line["entities"]] == ["Disorder", "Drug", "Dosage", "Frequency"]
    assert done.left_out == {"Is-near from Disorder to Drug, which the schema lacks": 1}
    with pytest.raises(ConfigError, match="no mapping 'none'"):
        convert(folder, tmp_path / "other", to="brat", mapping="none")


CORPORA = [
    ("ade", "mixture/train.jsonl", "mixture", "ade"),
    ("bc5cdr", "mixture/dev.jsonl", "mixture", "chemicals"),
    ("biored", "mixture/dev.jsonl", "mixture", "chemicals"),
    ("chia", "mixture/dev.jsonl", "mixture", "chia"),
    ("drugtemist_en", "drugtemist_en/drugtemist_en.jsonl", "documents", "drugtemist"),
    ("fda_ars", "fda_ars/fda_ars.jsonl", "documents", "fda"),
    ("maccrobat2020", "maccrobat2020/docs", "brat", "maccrobat"),
    ("phee", "phee/phee.jsonl", "documents", "phee"),
]


@pytest.mark.parametrize(("name", "place", "format", "mapping"), CORPORA)
def test_mapped_corpora_are_of_the_schema(
    corpora: Path, name: str, place: str, format: str, mapping: str
) -> None:
    documents, _ = read_documents(corpora / place, format, name)
    dropped: Counter[str] = Counter()
    mapped = map_documents(documents, mapping, dropped)
    assert [d.note.name for d in mapped] == [d.note.name for d in documents]
    for document in mapped:
        held = {entity.id: entity for entity in document.entities}
        for entity in held.values():
            assert entity.type in SCHEMA or entity.type == UNKNOWN
            assert entity.fragments or document.note.text[entity.start : entity.end] == entity.text
            assert entity.start < entity.end
        for relation in document.relations:
            head, tail = held[relation.head], held[relation.tail]
            assert tail.type in SCHEMA[head.type][relation.type]
    assert sum(len(d.entities) for d in mapped) > 0.5 * sum(len(d.entities) for d in documents)
