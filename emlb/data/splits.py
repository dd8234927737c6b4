"""Dividing a corpus into training, development and test documents, repeatably.

The order of preference: the parts that a corpus was released in; a file that says which
document goes where; folds; and else a random share by a seed (the paper: 80 % and 20 %),
with all documents of one patient or abstract on the same side.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlb_runtime.errors import DataError
from emlb_runtime.records import Document


@dataclass(frozen=True)
class Split:
    """The parts of a corpus; every document is in exactly one."""

    train: tuple[Document, ...]
    dev: tuple[Document, ...]
    test: tuple[Document, ...] = ()

    def names(self) -> dict[str, list[str]]:
        """The documents' names by part, for a JSON file that repeats the split."""
        return {
            part: [document.note.name for document in getattr(self, part)]
            for part in ("train", "dev", "test")
        }


_OFFICIAL = {
    "train": "train|training|train-data|training-data",
    "dev": "dev|devel|development|val|valid|validation",
    "test": "test|testing|test-data|gold-standard-test-data",
}
_WHOLE = {
    part: re.compile(rf"(?:{words})(?:[_-][0-9]+)?", re.IGNORECASE)
    for part, words in _OFFICIAL.items()
}
# ShARe/CLEF: 2014ShAReCLEFeHealthTasks2_training_10Jan2014, Task1TestSetCorpus100.
_TASK = re.compile(r"clef|^task[0-9]", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

Grouping = Callable[[str], str]
"""From a document's name to what must stay on one side: a patient, an abstract."""


def official_part(name: str) -> str:
    """The part a document was released in (``train``, ``dev``, ``test``), by its folders.

    Empty for a document in no such folder.
    """
    for folder in name.split("/")[:-1]:
        words = {word.lower() for word in _WORD.findall(folder)} if _TASK.search(folder) else set()
        parts = [
            part
            for part, known in _OFFICIAL.items()
            if _WHOLE[part].fullmatch(folder) or words.intersection(known.split("|"))
        ]
        if len(parts) == 1:
            return parts[0]
    return ""


def source_of(name: str) -> str:
    """What a document is a piece of, by its name: ``PMID`` of ``PMID_k``; else itself."""
    match = re.fullmatch(r"(.+)_[^_/]+", name)
    return match[1] if match else name


def alone(name: str) -> str:
    """Every document for itself."""
    return name


def grouping(*, pattern: str = "", file: Path | None = None) -> Grouping:
    """How documents belong together.

    Args:
        pattern: a regular expression searched for in the name; its first group, or all of
            the match, is the group. A name without a match is a group of its own.
        file: a CSV file with a header and two columns, document and group; it must name
            every document.

    With neither, ``source_of``.

    Raises:
        DataError: if the file or the pattern is unusable, or (when called) the file lacks
            a name.
    """
    if file is not None:
        return _Listed(file)
    if not pattern:
        return source_of
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"pattern for groups: not a regular expression: {error}") from None

    def group(name: str) -> str:
        match = compiled.search(name)
        return match[min(1, compiled.groups)] if match else name

    return group


class _Listed:
    """Groups of documents as a file lists them."""

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            with file.open(encoding="utf-8-sig", newline="") as lines:
                rows = list(csv.reader(lines))[1:]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{file}: cannot be read as CSV: {type(error).__name__}") from None
        if bad := next((n for n, row in enumerate(rows, start=2) if len(row) != 2), 0):
            raise DataError(f"{file}:{bad}: expected two columns, document and group")
        self._groups = dict(row for row in rows)

    def __call__(self, name: str) -> str:
        if name not in self._groups:
            raise DataError(f"{self._file}: does not say which group {name} belongs to")
        return self._groups[name]


def divide_officially(
    documents: Sequence[Document], *, dev_share: float, group: Grouping, seed: int
) -> Split:
    """Divide documents as they were released: by the folders ``train``, ``dev`` and ``test``.

    Args:
        documents: the corpus; those in no such folder are in no part.
        dev_share: share of the training documents for development where none was released.
        group: what must stay on one side of that draw.
        seed: of that draw.

    Raises:
        DataError: if there is no training part.
    """
    parts: dict[str, list[Document]] = {"train": [], "dev": [], "test": [], "": []}
    for document in documents:
        parts[official_part(document.note.name)].append(document)
    if not parts["train"]:
        raise DataError("no document lies in a folder named train; divide the corpus by shares")
    train, dev = parts["train"], parts["dev"]
    if not dev:
        train, dev = _draw(train, dev_share, group=group, seed=seed)
    return Split(tuple(train), tuple(dev), tuple(parts["test"]))


def divide_by_shares(
    documents: Sequence[Document],
    *,
    test_share: float,
    dev_share: float,
    group: Grouping,
    seed: int,
) -> Split:
    """Divide documents at random, whole groups at a time.

    Args:
        documents: the corpus.
        test_share: share of the documents for testing.
        dev_share: share of the rest for development.
        group: what must stay on one side.
        seed: of the draws.
    """
    rest, test = _draw(list(documents), test_share, group=group, seed=seed)
    train, dev = _draw(rest, dev_share, group=group, seed=seed + 1)
    return Split(tuple(train), tuple(dev), tuple(test))


def divide_as_listed(documents: Sequence[Document], parts: Mapping[str, Sequence[str]]) -> Split:
    """Divide documents as ``read_parts`` says.

    Raises:
        DataError: if a name occurs in two parts, or a listed document is not there.
    """
    homes: dict[str, str] = {}
    for part, names in parts.items():
        for name in names:
            if homes.setdefault(name, part) != part:
                raise DataError(f"split: {name} is in two parts, {homes[name]} and {part}")
    known = {document.note.name for document in documents}
    if missing := sorted(homes.keys() - known):
        raise DataError(
            f"split: {len(missing)} listed documents are not in the corpus, such as "
            f"{', '.join(missing[:3])}; was it made from another folder?"
        )
    held: dict[str, list[Document]] = {"train": [], "dev": [], "test": []}
    for document in documents:
        if document.note.name in homes:
            held[homes[document.note.name]].append(document)
    return Split(tuple(held["train"]), tuple(held["dev"]), tuple(held["test"]))


def _draw(
    documents: list[Document], share: float, *, group: Grouping, seed: int
) -> tuple[list[Document], list[Document]]:
    """The rest, and at least ``share`` of the documents drawn by whole groups."""
    groups: dict[str, list[str]] = {}
    for document in documents:
        groups.setdefault(group(document.note.name), []).append(document.note.name)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    wanted, drawn = round(share * len(documents)), set[str]()
    for key in order:
        if len(drawn) >= wanted:
            break
        drawn.update(groups[key])
    return (
        [d for d in documents if d.note.name not in drawn],
        [d for d in documents if d.note.name in drawn],
    )


def read_parts(path: Path) -> dict[str, list[str]]:
    """The names of each part in a file of ``write_parts``, or in a table of names and parts.

    Args:
        path: JSON, or with the ending ``.tsv`` a table of two columns with a tab between.

    Raises:
        DataError: if it is missing or of another shape.
    """
    if path.suffix == ".tsv":
        return _tabulated_parts(path)
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        return {part: [str(name) for name in values[part]] for part in ("train", "dev", "test")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: no lists of documents under train, dev and test: {type(error).__name__}"
        ) from None


def _tabulated_parts(path: Path) -> dict[str, list[str]]:
    parts: dict[str, list[str]] = {"train": [], "dev": [], "test": []}
    for number, row in enumerate(read_table(path), start=1):
        if len(row) != 2 or row[1] not in parts:
            raise DataError(f"{path}:{number}: expected a name and train, dev or test")
        parts[row[1]].append(row[0])
    return parts


def read_table(path: Path) -> list[list[str]]:
    """The rows of a table with tabs between its columns.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a table: {type(error).__name__}") from None
    return [line.split("\t") for line in lines if line]


def write_parts(path: Path, split: Split, *, made_by: Mapping[str, Any]) -> None:
    """Write which document is in which part, and how that came about, as JSON."""
    value = {"made_by": dict(made_by), **split.names()}
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def divide(
    documents: Sequence[Document],
    *,
    folds: Sequence[Sequence[str]],
    test: int,
    dev: int,
    dev_share: float,
    group: Grouping,
    seed: int,
) -> Split:
    """Divide documents by folds of names.

    Args:
        documents: the corpus.
        folds: names by fold; a document in none belongs to training.
        test: fold to test on, -1 for none.
        dev: development fold; -1 draws ``dev_share`` of the rest.
        dev_share: see ``dev``.
        group: what must stay on one side of that draw; ``alone`` draws single documents.
        seed: of that draw.
    """
    test_names = set(folds[test]) if test >= 0 else set()
    held = tuple(d for d in documents if d.note.name in test_names)
    rest = [d for d in documents if d.note.name not in test_names]
    if dev >= 0:
        dev_names = set(folds[dev])
    else:
        keys = [name for keys in random_folds(rest, 1, group=group, seed=seed) for name in keys]
        dev_names = set(keys[: max(1, round(dev_share * len(keys)))])
        groups = {group(name) for name in dev_names}  # do not cut a group in two
        dev_names = {d.note.name for d in rest if group(d.note.name) in groups}
    return Split(
        train=tuple(d for d in rest if d.note.name not in dev_names),
        dev=tuple(d for d in rest if d.note.name in dev_names),
        test=held,
    )


def random_folds(
    documents: Sequence[Document], folds: int, *, group: Grouping, seed: int
) -> list[list[str]]:
    """Document names in random folds of about equal size, groups unbroken if asked."""
    groups: dict[str, list[str]] = {}
    for document in documents:
        name = document.note.name
        groups.setdefault(group(name), []).append(name)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    made: list[list[str]] = [[] for _ in range(folds)]
    for key in order:
        min(made, key=len).extend(groups[key])
    return made


def read_folds(path: Path, key: str) -> list[list[str]]:
    """Lists of document names under a key of a JSON file.

    Raises:
        DataError: if the file or the key is missing or not a list of lists of names.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        folds = [[str(name) for name in fold] for fold in values[key]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: no list of folds under {key!r}: {type(error).__name__}") from None
    if not folds or any(not fold for fold in folds):
        raise DataError(f"{path}: a fold under {key!r} is empty")
    return folds
