"""What every scoring protocol gives: tallies that add up, and the rows they make.

A protocol looks at one document at a time and returns a tally of plain numbers. Tallies
of documents add up to those of a corpus, whatever the measure: that is what makes
bootstrap resampling of documents exact and cheap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from emlb_runtime.records import Document

Key = tuple[str, str, str]
"""Section (``entities``), name (a type, or ``all``), and way of matching (``strict``)."""

Tally = Mapping[Key, tuple[float, ...]]
"""Numbers that add up over documents; those of one key always have the same length."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a protocol's result.

    Attributes:
        section: ``entities``, ``relations``, ``attributes``…
        name: a type, ``micro``, ``macro``, or what the protocol calls it.
        mode: the way of matching: ``strict``, ``lenient``…
        values: the measures by name, such as ``precision``, ``recall`` and ``f1``, as
            fractions of one.
        gold: gold items; None where the row does not count any.
        predicted: predicted items; None where the row does not count any.
    """

    section: str
    name: str
    mode: str
    values: Mapping[str, float]
    gold: int | None = None
    predicted: int | None = None

    @property
    def key(self) -> Key:
        """What identifies the row in its protocol."""
        return self.section, self.name, self.mode


class ScoringProtocol(Protocol):
    """The rules of one shared task or paper; stateless.

    Attributes:
        name: as ``--protocol`` takes it.
        title: the task and its source, in one line.
    """

    name: str
    title: str

    def tally(self, gold: Document, predicted: Document) -> Tally:
        """What one document adds."""

    def rows(self, total: Tally) -> list[Row]:
        """The result from the tallies of all documents, in the order to show it.

        Keys that no document has are simply absent.
        """


def add(tallies: Iterable[Tally]) -> Tally:
    """The tally of all documents together."""
    total: dict[Key, tuple[float, ...]] = {}
    for tally in tallies:
        for key, values in tally.items():
            held = total.get(key)
            total[key] = (
                tuple(values)
                if held is None
                else tuple(a + b for a, b in zip(held, values, strict=True))
            )
    return total


def rates(
    *, correct: float, predicted: float, gold: float, correct_gold: float | None = None
) -> dict[str, float]:
    """Precision, recall and F1; a rate with nothing to divide by is 0.0.

    Args:
        correct: predicted items that are right.
        predicted: predicted items.
        gold: gold items.
        correct_gold: gold items that are found, where that is counted apart.
    """
    found = correct if correct_gold is None else correct_gold
    precision = correct / predicted if predicted else 0.0
    recall = found / gold if gold else 0.0
    both = precision + recall
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / both if both else 0.0,
    }
