"""The ADE corpus as SpERT scores it (Eberts & Ulges 2020, arXiv 1909.07755).

The rules of its ``evaluator.py`` (github.com/lavis-nlp/spert), which later work on the
corpus follows:

* An entity is right if its type, start and end are those of a gold one; a relation, if
  its type and both its entities are, each with its type, head as head and tail as tail.
  Items are sets: a duplicate counts once.
* ``micro`` pools the counts of all types. ``macro`` averages precision, recall and F1
  over the types that gold or the predictions hold; a type that only one side holds
  takes part, with zeros. ADE papers give the macro F1 of the entities, and have one type
  of relation.
* *with overlap*: everything counts. *without overlap* (its option ``no_overlapping``):
  on either side by itself, entities that share a code point with another entity of that
  side, of whatever type, are taken out, all of them, and so are relations whose own two
  entities overlap. A relation stays if its entities overlap others only, and an entity
  that differs in nothing is no other.
* A rate with nothing to divide by is zero; without any type, so are all.

SpERT counts in word pieces and has neither discontinuous mentions nor documents longer
than a sentence: here spans are in code points, and a discontinuous mention is its hull.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set

from emlb_runtime.records import Document, Entity

from .base import Row, Tally, rates

_Mention = tuple[int, int, str]
"""Start, end and type."""

_Item = tuple[object, object, str]
"""A mention, or the head, tail and type of a relation: the type comes last."""

_SECTIONS = ("entities", "relations")
_MODES = ("with overlap", "without overlap")


class Ade:
    """SpERT's scores for ADE, with and without overlapping entities."""

    name = "ade"
    title = "ADE corpus, as SpERT's evaluator (Eberts & Ulges 2020)"

    def tally(self, gold: Document, predicted: Document) -> Tally:
        """Right, predicted and gold items of each type."""
        return {
            (section, type, mode): counts
            for mode in _MODES
            for section, ours, theirs in zip(
                _SECTIONS, _items(gold, mode), _items(predicted, mode), strict=True
            )
            for type, counts in _count(ours, theirs).items()
        }

    def rows(self, total: Tally) -> list[Row]:
        """The types that occur, in alphabetical order, then micro and macro."""
        return [
            row for section in _SECTIONS for mode in _MODES for row in _rows(total, section, mode)
        ]


def _items(document: Document, mode: str) -> tuple[Set[_Item], Set[_Item]]:
    """The entities and the relations that count."""
    entities = {_mention(entity) for entity in document.entities}
    relations = {
        (_mention(triple.head), _mention(triple.tail), triple.relation.type)
        for triple in document.triples()
    }
    if mode == "with overlap":
        return entities, relations
    return (
        entities - _overlapping(entities),
        {(head, tail, type) for head, tail, type in relations if not _overlap(head, tail)},
    )


def _mention(entity: Entity) -> _Mention:
    return entity.start, entity.end, entity.type


def _overlap(first: _Mention, second: _Mention) -> bool:
    return first != second and first[0] < second[1] and second[0] < first[1]


def _overlapping(mentions: Set[_Mention]) -> Set[_Mention]:
    """Those that share a code point with another."""
    found: set[_Mention] = set()
    furthest: _Mention | None = None
    for mention in sorted(mentions):
        # If any earlier mention overlaps this one, the one that reaches furthest does. All
        # others that do hold this one's start too, so they overlap that one: found before.
        if furthest is not None and mention[0] < furthest[1]:
            found |= {furthest, mention}
        if furthest is None or mention[1] > furthest[1]:
            furthest = mention
    return found


def _count(gold: Set[_Item], predicted: Set[_Item]) -> dict[str, tuple[float, ...]]:
    counted = [Counter(item[2] for item in items) for items in (gold & predicted, predicted, gold)]
    types = sorted({type for counter in counted for type in counter})
    return {type: tuple(counter[type] for counter in counted) for type in types}


def _rows(total: Tally, section: str, mode: str) -> Iterator[Row]:
    by_type = {key[1]: total[key] for key in sorted(total) if key[::2] == (section, mode)}
    pooled = tuple(map(sum, zip(*by_type.values(), strict=True))) or (0, 0, 0)
    rows = [_row(section, type, mode, counts) for type, counts in by_type.items()]
    yield from rows
    yield _row(section, "micro", mode, pooled)
    means = {
        measure: sum(row.values[measure] for row in rows) / (len(rows) or 1)
        for measure in ("precision", "recall", "f1")
    }
    yield Row(section, "macro", mode, means)


def _row(section: str, name: str, mode: str, counts: tuple[float, ...]) -> Row:
    right, predicted, gold = counts
    values = rates(correct=right, predicted=predicted, gold=gold)
    return Row(section, name, mode, values, round(gold), round(predicted))
