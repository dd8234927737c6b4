"""Corpora as training configurations name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emlb.data.config import CorpusConfig, LeaveOutConfig, SplitConfig
from emlb.data.corpora import load_corpus
from emlb.data.splits import Split
from emlb_runtime.errors import ConfigError, DataError

TEXT = "Rash after amoxicillin.\n"
BRAT = "T1\tADE 0 4\tRash\n"


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def n2c2(folder: Path) -> None:
    for part in ("training_20180910", "gold-standard-test-data/test_data"):
        for number in range(3):
            write(folder / part / f"{number}.txt", TEXT)
            write(folder / part / f"{number}.ann", BRAT)


def thyme(folder: Path) -> None:
    for part in ("Train", "Test"):
        for number in range(3):
            document = folder / part / f"ID{number}"
            write(document / document.name, TEXT)
            write(
                document / f"{document.name}.Temporal-Relation.gold.completed.xml",
                "<data><annotations><entity><id>1@e@d@gold</id><span>0,4</span>"
                "<type>EVENT</type></entity></annotations></data>",
            )


def share(folder: Path) -> None:
    for part in ("training_10Jan2014", "test"):
        for number in range(3):
            top = folder / f"2014ShAReCLEFeHealthTasks2_{part}"
            write(top / "corpus" / f"{part}{number}.txt", TEXT)
            write(
                top / "pipes" / f"{part}{number}.pipe.txt",
                f"{part}{number}.txt||Disease_Disorder||CUI-less||0||4\n",
            )


@pytest.mark.parametrize("make", [n2c2, thyme, share])
def test_released_parts_are_loaded(make: object, tmp_path: Path) -> None:
    assert callable(make)
    make(tmp_path / "c")
    config = CorpusConfig(name="c", train="c", split=SplitConfig(official=True))
    loaded = load_corpus(config, tmp_path)
    assert loaded.report.problems == ()
    assert len(loaded.split.train) + len(loaded.split.dev) == 3
    assert len(loaded.split.test) == 3


def test_shares_keep_the_notes_of_a_patient_together(tmp_path: Path) -> None:
    rows = [f"{id},{id // 4},1,Nursing,{TEXT.strip()}" for id in range(40)]
    table = "\n".join(["ROW_ID,SUBJECT_ID,HADM_ID,CATEGORY,TEXT", *rows]) + "\n"
    write(tmp_path / "c" / "NOTEEVENTS.csv", table)
    for id in range(40):
        write(tmp_path / "c" / f"{id}.ann", BRAT)
    config = CorpusConfig(name="c", train="c", split=SplitConfig(test_share=0.3))
    parts = load_corpus(config, tmp_path).split.names().values()
    assert sum(len({int(name) // 4 for name in part}) for part in parts) == 10


def test_a_corpus_of_which_nothing_is_usable_says_why(tmp_path: Path) -> None:
    write(tmp_path / "c" / "1.ann", BRAT)
    config = CorpusConfig(name="c", train="c", split=SplitConfig(official=True))
    with pytest.raises(DataError, match="can be used: 1 × annotations without their text"):
        load_corpus(config, tmp_path)


def test_texts_that_lie_elsewhere(tmp_path: Path) -> None:
    thyme(tmp_path / "c")
    for text in sorted((tmp_path / "c").glob("*/*/ID?")):
        (tmp_path / "texts").mkdir(exist_ok=True)
        text.replace(tmp_path / "texts" / f"{text.parent.parent.name}-{text.name}")
    for name in ("ID0", "ID1", "ID2"):
        write(tmp_path / "texts" / name, TEXT)
    split = SplitConfig(official=True)
    with pytest.raises(DataError, match="annotations without their text"):
        load_corpus(CorpusConfig(name="c", train="c", split=split), tmp_path)
    loaded = load_corpus(CorpusConfig(name="c", train="c", texts="texts", split=split), tmp_path)
    assert [d.entities[0].text for d in loaded.split.test] == ["Rash"] * 3


def table(folder: Path) -> None:
    """Twelve documents named ``SOURCE_k`` as JSON lines, with a table of their parts."""
    lines, parts = [], []
    for number in range(12):
        name = f"{number // 2}_{number % 2}"
        entities = [{"id": "T1", "type": "ADE", "start": 0, "end": 4}]
        line = {"note": name, "text": TEXT, "entities": entities, "relations": []}
        lines.append(json.dumps(line))
        parts.append(f"{name}\t{'train' if number < 9 else 'dev' if number < 11 else 'test'}")
    write(folder / "c.jsonl", "\n".join(lines) + "\n")
    write(folder / "parts.tsv", "\n".join(parts) + "\n")


def names(split: Split) -> dict[str, set[str]]:
    return {part: set(found) for part, found in split.names().items()}


def test_a_table_divides_and_lists_leave_documents_out(tmp_path: Path) -> None:
    table(tmp_path)
    split = SplitConfig(file="parts.tsv")
    whole = load_corpus(CorpusConfig(name="c", train="c.jsonl", split=split), tmp_path)
    assert names(whole.split)["dev"] == {"4_1", "5_0"}
    assert names(whole.split)["test"] == {"5_1"}
    write(tmp_path / "listed.tsv", "x\t1_0\ny\t4_1\n")  # single documents, in the second column
    write(tmp_path / "sources.tsv", "2\treason\n5\treason\n")
    left = (LeaveOutConfig("listed.tsv", 2), LeaveOutConfig("sources.tsv"))
    config = CorpusConfig(name="c", train="c.jsonl", split=split, leave_out=left)
    found = load_corpus(config, tmp_path)
    gone = {"1_0", "2_0", "2_1"}
    assert names(found.split)["train"] == names(whole.split)["train"] - gone
    assert names(found.split)["dev"] == {"4_1", "5_0"}  # lists are for training alone
    assert found.left_out == {"document that leave_out names": 3}


def test_a_limit_draws_documents_by_the_seed(tmp_path: Path) -> None:
    table(tmp_path)
    config = CorpusConfig(name="c", train="c.jsonl", dev="c.jsonl", limit=4)
    drawn = [load_corpus(config, tmp_path, seed=seed) for seed in (1, 1, 2)]
    parts = [names(corpus.split) for corpus in drawn]
    assert [len(part["train"]) for part in parts] == [4, 4, 4]
    assert parts[0] == parts[1] != parts[2]
    assert len(parts[0]["dev"]) == 12
    assert drawn[0].left_out == {"document above the limit": 8}


def test_a_mapping_rewrites_every_part(tmp_path: Path) -> None:
    table(tmp_path)
    config = CorpusConfig(name="c", train="c.jsonl", dev="c.jsonl", mapping="ade")
    split = load_corpus(config, tmp_path).split
    for document in (*split.train, *split.dev):
        assert [entity.type for entity in document.entities] == ["Disorder"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mapping": "adee"}, "no mapping 'adee'; choose ade, "),
        ({"limit": -1}, "corpus c: limit is -1"),
    ],
)
def test_settings_of_a_corpus_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CorpusConfig(name="c", train="c", dev="c", **settings)


def test_lists_and_tables_that_cannot_be_used(tmp_path: Path) -> None:
    table(tmp_path)
    with pytest.raises(ConfigError, match=r"leave_out.column is 0"):
        LeaveOutConfig("listed.tsv", 0)
    write(tmp_path / "listed.tsv", "1_0\t2_0\n1_1\n")
    left = (LeaveOutConfig("listed.tsv", 2),)
    config = CorpusConfig(name="c", train="c.jsonl", dev="c.jsonl", leave_out=left)
    with pytest.raises(DataError, match=r"listed.tsv:2: there is no column 2"):
        load_corpus(config, tmp_path)
    write(tmp_path / "parts.tsv", "0_0\ttraining\n")
    config = CorpusConfig(name="c", train="c.jsonl", split=SplitConfig(file="parts.tsv"))
    with pytest.raises(DataError, match=r"parts.tsv:1: expected a name and train, dev or test"):
        load_corpus(config, tmp_path)
    missing = (LeaveOutConfig("none.tsv"),)
    config = CorpusConfig(name="c", train="c.jsonl", dev="c.jsonl", leave_out=missing)
    with pytest.raises(DataError, match=r"none.tsv: cannot be read as a table"):
        load_corpus(config, tmp_path)
