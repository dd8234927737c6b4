"""n2c2 2018 track 2 (adverse drug events and medication), as its program scores it.

The rules of the organisers' ``Track2-evaluate-ver4.py``, which the published figures of
the task come from (Henry et al. 2020, J. Am. Med. Inform. Assoc. 27:3):

* A mention is its type and its hull: from the start of its first fragment to the end of
  its last. *Strict*, two mentions match if both are the same; *lenient*, if their hulls
  share a code point and the types are the same.
* A relation matches if its type is the same and both mentions match in the same mode.
* Predictions are taken in the order of the file. One that matches a gold item which an
  earlier one has matched is **left out of the count**, even if it matches others besides;
  every gold item that it matches then still counts as matched. So a gold item has
  one match at most, but a long prediction over two gold mentions uses up both and is one
  hit: the result depends on the order, and gold with overlapping mentions of one type
  falls short of itself. Kept predictions with a match are the hits. A second prediction
  of something that gold lacks is a second error.
* ``micro`` pools the counts of all types, also of those that the task does not have;
  the types' own rows are those of the task only.
* ``macro`` is the mean over *documents* of their precision, recall and F1 over all
  types, not the mean over types. A document without gold or without predictions adds
  zeros, even if it has neither.
* A rate with nothing to divide by is zero.

A mention in more than three fragments, which the program reads as a copy of the one
before it, has its own hull here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from emlb_runtime.records import Document, Entity, Fragment

from .base import Key, Row, Tally, rates

TAGS = (
    *("Drug", "Strength", "Duration", "Route", "Form"),
    *("ADE", "Dosage", "Reason", "Frequency"),
)
"""The entity types of the task, in the order of the program."""

RELATIONS = (
    *("Strength-Drug", "Dosage-Drug", "Duration-Drug", "Frequency-Drug"),
    *("Form-Drug", "Route-Drug", "Reason-Drug", "ADE-Drug"),
)
"""The relation types of the task, in the order of the program."""

_SECTIONS = {"entities": TAGS, "relations": RELATIONS}
_POOLED, _PER_DOCUMENT = "all", "documents"

_Hulls = tuple[Fragment, ...]
"""The hull of a mention, or those of a relation's head and tail."""

_Groups = dict[tuple[str, ...], list[_Hulls]]
"""Items in file order by the types that have to agree, the one that is counted first."""

_Counts = tuple[int, int, int]
"""Hits, predictions that count, gold items."""


class N2c2:
    """The scores of n2c2 2018 track 2; documents keep the order of their files."""

    name = "n2c2"
    title = "n2c2 2018 track 2, as Track2-evaluate-ver4.py (Henry et al. 2020)"

    def tally(self, gold: Document, predicted: Document) -> Tally:
        """Hits, predictions that count and gold items; per document, its rates too."""
        tally: dict[Key, tuple[float, ...]] = {}
        for section, items in (("entities", _entities), ("relations", _relations)):
            sides = items(gold), items(predicted)
            for mode, match in _MODES.items():
                counts = _count(*sides, match)
                for type in _SECTIONS[section]:
                    if type in counts:
                        tally[section, type, mode] = counts[type]
                pooled = tuple(map(sum, zip(*counts.values(), strict=True))) or (0, 0, 0)
                measures = _rates(pooled).values()
                tally[section, _POOLED, mode] = pooled
                tally[section, _PER_DOCUMENT, mode] = (1, *measures)
        return tally

    def rows(self, total: Tally) -> list[Row]:
        """The lines that the program prints, as it orders them, strict before lenient."""
        return [
            row for section in _SECTIONS for mode in _MODES for row in _rows(total, section, mode)
        ]


def _rows(total: Tally, section: str, mode: str) -> Iterator[Row]:
    names = {type: type for type in _SECTIONS[section]} | {_POOLED: "micro"}
    for key, name in names.items():
        counts = total.get((section, key, mode), (0, 0, 0))
        _, predicted, gold = map(round, counts)
        yield Row(section, name, mode, _rates(counts), gold, predicted)
    documents, *sums = total.get((section, _PER_DOCUMENT, mode), (0, 0, 0, 0))
    means = (value / documents if documents else 0.0 for value in sums)
    yield Row(section, "macro", mode, dict(zip(("precision", "recall", "f1"), means, strict=True)))


def _rates(counts: Sequence[float]) -> dict[str, float]:
    hits, predicted, gold = counts
    return rates(correct=hits, predicted=predicted, gold=gold)


def _entities(document: Document) -> _Groups:
    groups: _Groups = defaultdict(list)
    for entity in document.entities:
        groups[entity.type,].append((_hull(entity),))
    return groups


def _relations(document: Document) -> _Groups:
    groups: _Groups = defaultdict(list)
    for triple in document.triples():
        head, tail = triple.head, triple.tail
        groups[triple.relation.type, head.type, tail.type].append((_hull(head), _hull(tail)))
    return groups


def _hull(entity: Entity) -> Fragment:
    return entity.start, entity.end


def _count(
    gold: _Groups, predicted: _Groups, match: Callable[[list[_Hulls], list[_Hulls]], _Counts]
) -> dict[str, _Counts]:
    """The counts of each type; items of different groups never meet."""
    totals: dict[str, _Counts] = {}
    for group in sorted(gold.keys() | predicted.keys()):
        hits, kept, wanted = totals.get(group[0], (0, 0, 0))
        more = match(gold.get(group, []), predicted.get(group, []))
        totals[group[0]] = hits + more[0], kept + more[1], wanted + more[2]
    return totals


def _match_strict(gold: list[_Hulls], predicted: list[_Hulls]) -> _Counts:
    places = set(gold)
    hits = len(places.intersection(predicted))
    return hits, hits + sum(item not in places for item in predicted), len(gold)


def _match_lenient(gold: list[_Hulls], predicted: list[_Hulls]) -> _Counts:
    index = _Index(gold)
    matched: set[int] = set()
    hits = misses = 0
    for item in predicted:
        found = index.overlapping(item)
        misses += not found
        hits += bool(found) and matched.isdisjoint(found)
        matched.update(found)
    return hits, hits + misses, len(gold)


_MODES = {"strict": _match_strict, "lenient": _match_lenient}


class _Index:
    """Finds what overlaps an item without looking at all items."""

    def __init__(self, items: Iterable[_Hulls]) -> None:
        self.items = sorted(items)
        self.starts = [item[0][0] for item in self.items]
        self.reached = list(accumulate((item[0][1] for item in self.items), max))

    def overlapping(self, item: _Hulls) -> list[int]:
        """Places, in the index, of the items whose hulls all share a code point with its own."""
        start, end = item[0]
        found = []
        for place in range(bisect_left(self.starts, end) - 1, -1, -1):
            if self.reached[place] <= start:
                break
            if all(map(_touch, self.items[place], item)):
                found.append(place)
        return found


def _touch(first: Fragment, second: Fragment) -> bool:
    return first[0] < second[1] and second[0] < first[1]
