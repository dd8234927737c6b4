"""Dividing a corpus: every document on one side, repeatably, groups unbroken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb.data.splits import (
    Split,
    alone,
    divide,
    divide_as_listed,
    divide_by_shares,
    divide_officially,
    grouping,
    official_part,
    random_folds,
    read_folds,
    read_parts,
    source_of,
    write_parts,
)
from emlb_runtime.errors import DataError
from emlb_runtime.records import Document, Note

names = st.lists(
    st.builds("{}_{}".format, st.integers(0, 6), st.integers(0, 9)), min_size=1, unique=True
)


def corpus(given_names: list[str]) -> list[Document]:
    return [Document(Note(name, "")) for name in given_names]


def parts(split: Split) -> list[list[str]]:
    return list(split.names().values())


@given(names, st.integers(1, 5), st.booleans(), st.integers(0, 3))
def test_random_folds_hold_every_name_once(
    drawn: list[str], n_folds: int, group: bool, seed: int
) -> None:
    folds = random_folds(corpus(drawn), n_folds, group=source_of if group else alone, seed=seed)
    assert len(folds) == n_folds
    assert sorted(name for fold in folds for name in fold) == sorted(drawn)
    again = random_folds(
        corpus(drawn[::-1]), n_folds, group=source_of if group else alone, seed=seed
    )
    assert [sorted(fold) for fold in folds] == [sorted(fold) for fold in again]
    if group:
        homes = [{name.partition("_")[0] for name in fold} for fold in folds]
        assert sum(map(len, homes)) == len(set.union(*homes))
    else:
        sizes = [len(fold) for fold in folds]
        assert max(sizes) - min(sizes) <= 1


@given(names, st.integers(-1, 2), st.integers(-1, 2), st.booleans(), st.floats(0.0, 0.5))
def test_every_document_is_in_one_part(
    drawn: list[str], test: int, dev: int, group: bool, share: float
) -> None:
    documents = corpus(drawn)
    folds = random_folds(documents, 3, group=source_of if group else alone, seed=1)
    split = divide(
        documents,
        folds=folds,
        test=test,
        dev=dev,
        dev_share=share,
        group=source_of if group else alone,
        seed=1,
    )
    assert sorted(name for part in parts(split) for name in part) == sorted(drawn)
    assert split.names()["test"] == [name for name in drawn if test >= 0 and name in folds[test]]
    if dev >= 0 and dev != test:
        assert set(split.names()["dev"]) == set(folds[dev])
    if group:
        homes = [{name.partition("_")[0] for name in part} for part in parts(split)]
        assert sum(map(len, homes)) == len(set.union(*homes))


def test_a_share_for_development() -> None:
    documents = corpus([f"{number}_0" for number in range(100)])

    def drawn(seed: int) -> Split:
        return divide(documents, folds=[], test=-1, dev=-1, dev_share=0.1, group=alone, seed=seed)

    assert [len(part) for part in parts(drawn(1))] == [90, 10, 0]
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_document_in_no_fold_is_for_training() -> None:
    split = divide(
        corpus(["a", "b", "c"]),
        folds=[["a"], ["b"]],
        test=0,
        dev=1,
        dev_share=0,
        group=source_of,
        seed=1,
    )
    assert split.names() == {"train": ["c"], "dev": ["b"], "test": ["a"]}


def test_folds_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({"by_source": [["a", "b"], ["c"]]}), encoding="utf-8")
    assert read_folds(path, "by_source") == [["a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"other": [["a"]]}', "no list of folds under 'by_source': KeyError"),
        ('{"by_source": 3}', "no list of folds under 'by_source': TypeError"),
        ("[1]", "no list of folds under 'by_source': TypeError"),
        ("not json", "no list of folds under 'by_source': JSONDecodeError"),
        ('{"by_source": [["a"], []]}', "a fold under 'by_source' is empty"),
        ('{"by_source": []}', "a fold under 'by_source' is empty"),
        (None, "no list of folds under 'by_source': FileNotFoundError"),
    ],
)
def test_folds_that_cannot_be_read(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "folds.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_folds(path, "by_source")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train/a", "train"),
        ("training_20180910/100035", "train"),
        ("n2c2/gold-standard-test-data/1", "test"),
        ("Dev/x", "dev"),
        ("test_ner/x", ""),
        ("trains/x", ""),
        ("train", ""),
        ("silver/test/x", "test"),
        ("2014ShAReCLEFeHealthTasks2_training_10Jan2014/corpus/a", "train"),
        ("2014ShAReCLEFeHealthTasks2_test/a", "test"),
        ("share/Task1TestSetCorpus100/a", "test"),
        ("CLEF_train_and_test/x", ""),
    ],
)
def test_official_parts(name: str, part: str) -> None:
    assert official_part(name) == part


def test_source_of() -> None:
    assert source_of("10357715_0") == "10357715"
    assert source_of("ade/10357715_12") == "ade/10357715"
    assert source_of("NCT00061308_exc") == "NCT00061308"
    assert source_of("training_20180910/100035") == "training_20180910/100035"
    assert source_of("visit-17") == "visit-17"


def test_released_parts_stay_and_development_is_drawn_from_training() -> None:
    train = [f"train/{n}" for n in range(20)]
    documents = corpus([*train, "test/1", "silver/1"])
    split = divide_officially(documents, dev_share=0.2, group=alone, seed=3)
    assert (len(split.train), len(split.dev)) == (16, 4)
    assert split.names()["test"] == ["test/1"]
    released = divide_officially(corpus(["train/1", "dev/1"]), dev_share=0.2, group=alone, seed=3)
    assert released.names() == {"train": ["train/1"], "dev": ["dev/1"], "test": []}
    with pytest.raises(DataError, match="no document lies in a folder named train"):
        divide_officially(corpus(["a"]), dev_share=0.1, group=alone, seed=3)


@given(names, st.floats(0, 0.9), st.floats(0, 0.9), st.integers(0, 3))
def test_shares_break_no_group(drawn: list[str], test: float, dev: float, seed: int) -> None:
    documents = corpus(drawn)
    split = divide_by_shares(documents, test_share=test, dev_share=dev, group=source_of, seed=seed)
    assert sorted(name for part in parts(split) for name in part) == sorted(drawn)
    homes = [{source_of(name) for name in part} for part in parts(split)]
    assert sum(map(len, homes)) == len(set.union(*homes))
    assert len(split.test) >= round(test * len(drawn))


def test_a_fifth_for_testing() -> None:
    split = divide_by_shares(
        corpus([str(n) for n in range(100)]), test_share=0.2, dev_share=0.1, group=alone, seed=1
    )
    assert [len(part) for part in parts(split)] == [72, 8, 20]


def test_grouping(tmp_path: Path) -> None:
    by_patient = grouping(pattern=r"^p(\d+)-")
    assert [by_patient(name) for name in ("p12-a", "p12-b", "x")] == ["12", "12", "x"]
    assert grouping(pattern=r"^p\d+")("p12-a") == "p12"
    with pytest.raises(DataError, match="not a regular expression"):
        grouping(pattern="(")
    listed = tmp_path / "patients.csv"
    listed.write_text("document,patient\n100035,7\n100036,7\n", encoding="utf-8")
    group = grouping(file=listed)
    assert group("100035") == group("100036") == "7"
    with pytest.raises(DataError, match="does not say which group 9 belongs to"):
        group("9")
    listed.write_text("document,patient\n1,2,3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"patients\.csv:2: expected two columns"):
        grouping(file=listed)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        grouping(file=tmp_path / "none.csv")


def test_parts_come_back_from_their_file(tmp_path: Path) -> None:
    documents = corpus(["a", "b", "c", "d"])
    split = divide_by_shares(documents, test_share=0.25, dev_share=0.3, group=alone, seed=1)
    path = tmp_path / "parts.json"
    write_parts(path, split, made_by={"seed": 1})
    assert divide_as_listed(documents, read_parts(path)) == split
    with pytest.raises(DataError, match="1 listed documents are not in the corpus"):
        divide_as_listed(documents[1:], {**split.names(), "train": ["a"], "dev": [], "test": []})
    with pytest.raises(DataError, match="a is in two parts, train and test"):
        divide_as_listed(documents, {"train": ["a"], "test": ["a"]})
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="no lists of documents"):
        read_parts(path)
