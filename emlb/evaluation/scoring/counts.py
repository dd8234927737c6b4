"""The records that hold scores: counts, their rates, and both per type and way of matching."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rates:
    """Fractions from 0 to 1.

    Attributes:
        precision: part of the predictions that is right.
        recall: part of the gold that is found.
        f1: their harmonic mean, or a mean of such.
    """

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Counts:
    """What was found of what there is; a rate with nothing to divide by is 0.0.

    Attributes:
        tp: pairs of a predicted and a gold item.
        predicted: predicted items.
        gold: gold items.
    """

    tp: int = 0
    predicted: int = 0
    gold: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.predicted + other.predicted, self.gold + other.gold)

    @property
    def precision(self) -> float:
        return self.tp / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        return self.tp / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        total = self.predicted + self.gold
        return 2 * self.tp / total if total else 0.0


@dataclass(frozen=True, slots=True)
class TypeScores:
    """The counts of each type.

    Attributes:
        types: the types that have gold or predictions, in alphabetical order.
    """

    types: Mapping[str, Counts]

    def __add__(self, other: TypeScores) -> TypeScores:
        names = sorted({*self.types, *other.types})
        none = Counts()
        return TypeScores({n: self.types.get(n, none) + other.types.get(n, none) for n in names})

    @property
    def micro(self) -> Counts:
        """All types' counts together."""
        return sum(self.types.values(), Counts())

    @property
    def macro(self) -> Rates:
        """Means over the types, so its F1 is the mean F1; 0.0 without types."""
        counts, size = self.types.values(), len(self.types) or 1
        return Rates(
            sum(c.precision for c in counts) / size,
            sum(c.recall for c in counts) / size,
            sum(c.f1 for c in counts) / size,
        )


@dataclass(frozen=True, slots=True)
class Agreement:
    """The same items matched both ways.

    Attributes:
        strict: with the same fragments.
        lenient: with overlapping fragments.
    """

    strict: TypeScores
    lenient: TypeScores

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(self.strict + other.strict, self.lenient + other.lenient)


@dataclass(frozen=True, slots=True)
class AttributeScores:
    """Agreement on attributes.

    Attributes:
        found: end to end, per ``NAME=VALUE``.
        on_right: the same on mentions that are strictly right.
        decided: per attribute, the right mentions that can have it, as predicted and as gold, and
            those whose value is right: its precision is the accuracy.
    """

    found: TypeScores
    on_right: TypeScores
    decided: TypeScores

    def __add__(self, other: AttributeScores) -> AttributeScores:
        return AttributeScores(
            self.found + other.found, self.on_right + other.on_right, self.decided + other.decided
        )

    @property
    def names(self) -> list[str]:
        """The attributes with gold or predicted values, in alphabetical order."""
        return sorted({value.partition("=")[0] for value in self.found.types})


@dataclass(frozen=True, slots=True)
class Scores:
    """How predicted documents agree with gold ones.

    Scores of different corpora add up to those of all their documents.

    Attributes:
        documents: number of documents.
        entities: agreement of the mentions.
        relations: agreement of the relations end to end.
        relations_on_gold: agreement of the relations predicted between gold mentions;
            None if that was not measured (in a sum: on all sides).
        attributes: agreement of the attributes of mentions; None if that was not measured.
    """

    documents: int
    entities: Agreement
    relations: Agreement
    relations_on_gold: Agreement | None = None
    attributes: AttributeScores | None = None

    def __add__(self, other: Scores) -> Scores:
        mine, others = self.relations_on_gold, other.relations_on_gold
        said = [s.attributes for s in (self, other) if s.attributes is not None]
        return Scores(
            self.documents + other.documents,
            self.entities + other.entities,
            self.relations + other.relations,
            mine + others if mine is not None and others is not None else None,
            said[0] + said[1] if len(said) == 2 else said[0] if said else None,
        )
