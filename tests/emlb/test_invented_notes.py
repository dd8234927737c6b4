"""The invented notes that come with EMLB: whole, of the schema, and apart from each other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from emlb.data.corpora import read_documents
from emlb.data.leaks import find_leaks
from emlb.package_data import find_packaged
from emlb.training.config import load_config
from emlb_runtime.records import Document

FOLDER = find_packaged("package:emlb/recipes/notes", Path())
ATTRIBUTES = {
    "Assertion": {"absent", "possible", "hypothetical"},
    "Experiencer": {"other"},
    "Time": {"history"},
    "Status": {"allergy"},
}


def read(part: str) -> list[Document]:
    documents, report = read_documents(FOLDER / f"invented-{part}.jsonl", "documents", part)
    assert not report.problems
    return documents


@pytest.mark.parametrize(
    ("part", "notes", "mentions", "relations", "attributes"),
    [("train", 270, 29_568, 15_684, 6_280), ("dev", 70, 7_228, 3_698, 1_751)],
)
def test_counts_are_those_of_the_data_card(
    part: str, notes: int, mentions: int, relations: int, attributes: int
) -> None:
    documents = read(part)
    assert len(documents) == notes
    assert sum(len(d.entities) for d in documents) == mentions
    assert sum(len(d.relations) for d in documents) == relations
    assert sum(len(e.attributes) for d in documents for e in d.entities) == attributes
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for count in (notes, mentions, relations, attributes):
        assert f"{count:,}" in card


def test_types_are_those_of_the_recipe() -> None:
    (task,) = load_config(Path(__file__).parents[2] / "emlb/recipes/emlb-clinical-2.toml").task
    documents = [*read("train"), *read("dev")]
    entities = Counter(e.type for d in documents for e in d.entities)
    assert set(entities) == set(task.entity_types)
    relations = Counter(r.type for d in documents for r in d.relations)
    assert set(relations) == set(task.relation_types)
    for document in documents:
        for entity in document.entities:
            assert document.note.text[entity.start : entity.end] == entity.text
            for name, value in entity.attributes.items():
                assert value in ATTRIBUTES[name]


def test_development_notes_stand_in_no_training_note() -> None:
    assert not find_leaks(read("train"), {"dev": read("dev")})["dev"]
