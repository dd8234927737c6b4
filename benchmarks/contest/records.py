"""What the benchmark and its worker processes tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Setting = Mapping[str, Any]
"""One way to run a contestant, such as a batch size; readable as ``batch 8, window 128``."""


class ContestantError(Exception):
    """Why a contestant cannot run, in one sentence without any text of a note."""


@dataclass(frozen=True)
class Example:
    """An annotated note: a path, and mentions as (start, end, type) in code points."""

    path: str
    mentions: tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Job:
    """What every contestant is told before it loads.

    Attributes:
        cores: it may use so many threads, or processes.
        folder: its own, for what it exports; deleted at the end.
        model: EMLB's bundle; None is the bundled one.
        entity_types: of EMLB's model; a peer's random head tells as many apart.
        overlap: word pieces that neighbouring windows share, EMLB's and the peers'.
        samples: paths of the notes on which settings are tried.
        examples: annotated notes for a brief training.
    """

    cores: int
    folder: str
    model: str | None
    entity_types: tuple[str, ...]
    overlap: int
    samples: tuple[str, ...]
    examples: tuple[Example, ...]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Job:
        """The inverse of ``dataclasses.asdict``, after JSON has made lists of tuples."""
        examples = [
            Example(example["path"], tuple((s, e, t) for s, e, t in example["mentions"]))
            for example in values["examples"]
        ]
        return cls(
            cores=values["cores"],
            folder=values["folder"],
            model=values["model"],
            entity_types=tuple(values["entity_types"]),
            overlap=values["overlap"],
            samples=tuple(values["samples"]),
            examples=tuple(examples),
        )


@dataclass(slots=True)
class Counts:
    """What one pass read and found.

    Attributes:
        notes: that were read.
        characters: code points of them.
        entities: found; None if the contestant does not look for any.
        relations: likewise.
    """

    notes: int = 0
    characters: int = 0
    entities: int | None = None
    relations: int | None = None


class Contestant(Protocol):
    """Something that is timed. Made by a function that takes a ``Job`` and the entry's options."""

    @property
    def settings(self) -> Sequence[Setting]:
        """What to try before the rounds; the fastest is kept."""

    def use(self, setting: Setting) -> None:
        """Run under this setting from now on. Not timed."""

    def prepare(self, paths: Sequence[str]) -> None:
        """Get ready for these notes, if being ready is part of what is compared. Not timed."""

    def run(self, paths: Sequence[str]) -> Counts:
        """Read the notes and do the work. Timed."""


def describe(setting: Setting) -> str:
    """A setting in words."""
    return ", ".join(f"{name} {value}" for name, value in setting.items())
