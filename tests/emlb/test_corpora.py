"""Corpora as training configurations name them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emlb.data.corpora import load_corpus
from emlb.training.config import CorpusConfig, SplitConfig
from emlb_runtime.errors import DataError

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
