"""Scoring predictions by a protocol, with intervals and a comparison if asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from emlb_runtime.records import Document

from .comparison.bootstrap import Interval, Measure, differences, intervals
from .predictions import Predictor
from .protocols import Row, ScoringProtocol, Tally, add
from .scoring.attributes import with_defaults
from .scoring.gold import GoldCorpus


@dataclass(frozen=True)
class Judging:
    """How to score beyond EMLB's own table.

    Attributes:
        protocol: its name; empty for EMLB's own table.
        samples: bootstrap samples for intervals; 0 for none.
        compare: another model, bundle or predictions, for the difference to it.
    """

    protocol: str = ""
    samples: int = 0
    compare: Path | None = None

    def __post_init__(self) -> None:
        if self.compare is not None and not self.samples:
            object.__setattr__(self, "samples", 1000)
        if self.samples and not self.protocol:
            object.__setattr__(self, "protocol", "standard")


@dataclass(frozen=True)
class Judged:
    """One corpus scored by a protocol.

    Attributes:
        rows: the protocol's measures.
        intervals: of them; empty if not asked for.
        other: the measures of the system compared with them.
        differences: intervals of how much higher the other system's are.
    """

    rows: Sequence[Row]
    intervals: Mapping[Measure, Interval] = field(default_factory=dict)
    other: Sequence[Row] = ()
    differences: Mapping[Measure, Interval] = field(default_factory=dict)


def judge(
    predictor: Predictor,
    other: Predictor | None,
    corpus: GoldCorpus,
    protocol: ScoringProtocol,
    samples: int,
) -> Judged:
    """Score predictions on a corpus by a protocol.

    Every prediction counts, but those of a model whose types a schema says the corpus does
    not annotate.

    Args:
        predictor: the system.
        other: the one to give the difference to, if any.
        corpus: the annotated documents.
        protocol: the rules.
        samples: bootstrap samples; 0 gives no intervals.
    """
    tallies = _tallies(predictor, corpus, protocol)
    rows = protocol.rows(add(tallies))
    found = intervals(protocol, tallies, samples=samples) if samples else {}
    if other is None:
        return Judged(rows, found)
    others = _tallies(other, corpus, protocol)
    apart = differences(protocol, tallies, others, samples=samples)
    return Judged(rows, found, protocol.rows(add(others)), apart)


def _tallies(predictor: Predictor, corpus: GoldCorpus, protocol: ScoringProtocol) -> list[Tally]:
    predicted = predictor.predict(corpus)
    if predictor.schema is not None:
        predicted = [with_defaults(document, predictor.schema) for document in predicted]
    if corpus.is_stated and not predictor.of_files:
        predicted = [restrict(document, corpus.types) for document in predicted]
    return [
        protocol.tally(gold, found) for gold, found in zip(corpus.documents, predicted, strict=True)
    ]


def restrict(document: Document, types: Collection[str]) -> Document:
    """The document without what the corpus says nothing about."""
    entities = tuple(entity for entity in document.entities if entity.type in types)
    held = {entity.id for entity in entities}
    relations = tuple(
        relation
        for relation in document.relations
        if relation.type in types and {relation.head, relation.tail} <= held
    )
    return replace(document, entities=entities, relations=relations)
