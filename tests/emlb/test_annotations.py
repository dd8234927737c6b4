"""The stand-off annotations that come with EMLB tell no more of a note than its mentions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emlb.package_data import find_packaged

FILES = sorted(find_packaged("package:emlb/recipes/annotations", Path()).glob("*.jsonl"))
LONGEST = 40
JOINED = {
    ("ADE-Drug", "Disorder", "Drug"),
    *(("Negation-of", "Negation", type) for type in ("Disorder", "Test", "Procedure", "Drug")),
}


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_training_and_development_are_apart() -> None:
    names: dict[str, set[str]] = {"train": set(), "dev": set()}
    for file in FILES:
        own = [line["note"] for line in read(file)]
        assert len(set(own)) == len(own)
        names[file.stem.rpartition("-")[2]] |= {*own}
    assert len(FILES) == 6
    assert not names["train"] & names["dev"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_mentions_and_relations_alone(file: Path) -> None:
    relations = 0
    for line in read(file):
        assert set(line) == {"note", "entities", "relations"}
        types = {entity["id"]: entity["type"] for entity in line["entities"]}
        for entity in line["entities"]:
            assert set(entity) == {"id", "type", "start", "end", "text"}
            assert len(entity["text"]) == entity["end"] - entity["start"] <= LONGEST
        for relation in line["relations"]:
            assert set(relation) == {"type", "head", "tail"}
            joined = relation["type"], types[relation["head"]], types[relation["tail"]]
            assert joined in JOINED
        relations += len(line["relations"])
    assert relations
