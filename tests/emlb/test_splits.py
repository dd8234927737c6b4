"""Dividing a corpus: every document on one side, repeatably, groups unbroken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb.data.splits import Split, divide, random_folds, read_folds
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
    folds = random_folds(corpus(drawn), n_folds, group=group, seed=seed)
    assert len(folds) == n_folds
    assert sorted(name for fold in folds for name in fold) == sorted(drawn)
    again = random_folds(corpus(drawn[::-1]), n_folds, group=group, seed=seed)
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
    folds = random_folds(documents, 3, group=group, seed=1)
    split = divide(documents, folds=folds, test=test, dev=dev, dev_share=share, group=group, seed=1)
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
        return divide(documents, folds=[], test=-1, dev=-1, dev_share=0.1, group=False, seed=seed)

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
        group=True,
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
