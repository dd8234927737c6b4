"""What all peers share: notes are read, their entities written as JSON lines, as EMLB does."""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .records import Counts, Setting

ENTITIES_PER_PIECE = 0.15
"""Random weights are shifted so that they find about as many entities as EMLB's bundled model does
in clinical notes: a peer must not lose time by writing out what no trained model would find."""

_WORD = re.compile(r"\w+(?:[-_]\w+)*|\S")


class Found(NamedTuple):
    """An entity, in code points of its note."""

    start: int
    end: int
    type: str
    score: float


class Peer(ABC):
    """A contestant that looks for entities alone."""

    settings: Sequence[Setting] = ({},)

    def use(self, setting: Setting) -> None:
        """See ``Contestant``."""
        self.setting = setting

    def prepare(self, paths: Sequence[str]) -> None:  # noqa: B027 - part of ``Contestant``
        """Nothing: reading and tokenising are part of the work."""

    @abstractmethod
    def find(self, texts: Iterable[str]) -> Iterator[list[Found]]:
        """The entities of each text, in order."""

    def run(self, paths: Sequence[str]) -> Counts:
        """Read, find and write."""
        counts = Counts(entities=0)

        def texts() -> Iterator[str]:
            for text in read_texts(paths):
                counts.characters += len(text)
                yield text

        found = 0
        with open(os.devnull, "w", encoding="utf-8") as out:
            for path, entities in zip(paths, self.find(texts()), strict=True):
                line = {"note": path, "entities": [entity._asdict() for entity in entities]}
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
                counts.notes += 1
                found += len(entities)
        counts.entities = found
        return counts


def read_texts(paths: Iterable[str]) -> Iterator[str]:
    """Notes as they are, line ends and all."""
    for path in paths:
        yield Path(path).read_bytes().decode("utf-8")


def cut_words(text: str, words: int) -> list[tuple[int, str, bool]]:
    """Windows of so many words: where each begins, its text, whether it is the note's last."""
    bounds = [match.span() for match in _WORD.finditer(text)]
    if not bounds:
        return [(0, "", True)]
    groups = [bounds[first : first + words] for first in range(0, len(bounds), words)]
    return [
        (group[0][0], text[group[0][0] : group[-1][1]], group is groups[-1]) for group in groups
    ]
