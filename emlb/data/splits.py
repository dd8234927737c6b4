"""Dividing a corpus into training, development and test documents, repeatably."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
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


def divide(
    documents: Sequence[Document],
    *,
    folds: Sequence[Sequence[str]],
    test: int,
    dev: int,
    dev_share: float,
    group: bool,
    seed: int,
) -> Split:
    """Divide documents by folds of names.

    Args:
        documents: the corpus.
        folds: names by fold; a document in none belongs to training.
        test: fold to test on, -1 for none.
        dev: development fold; -1 draws ``dev_share`` of the rest.
        dev_share: see ``dev``.
        group: draw whole groups, ``GROUP_k`` by name.
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
        if group:  # do not cut a group in two
            groups = {_group(name) for name in dev_names}
            dev_names = {d.note.name for d in rest if _group(d.note.name) in groups}
    return Split(
        train=tuple(d for d in rest if d.note.name not in dev_names),
        dev=tuple(d for d in rest if d.note.name in dev_names),
        test=held,
    )


def random_folds(
    documents: Sequence[Document], folds: int, *, group: bool, seed: int
) -> list[list[str]]:
    """Document names in random folds of about equal size, groups unbroken if asked."""
    groups: dict[str, list[str]] = {}
    for document in documents:
        name = document.note.name
        groups.setdefault(_group(name) if group else name, []).append(name)
    order = sorted(groups)
    random.Random(seed).shuffle(order)
    made: list[list[str]] = [[] for _ in range(folds)]
    for key in order:
        min(made, key=len).extend(groups[key])
    return made


def _group(name: str) -> str:
    return name.rpartition("_")[0] or name


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
