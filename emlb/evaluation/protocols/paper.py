"""The measures of the paper that the model comes from (Guo, Liu & Niu 2023).

Front. Neurosci. 17:1266771 gives precision, recall and F1 (its equations 12 to 14) and
names a further measure, mDice, without a formula:

* Precision, recall and F1 are over items: an entity with its type and fragments, a
  relation with its type and both its entities. An item finds one gold item at most, so a
  duplicate needs a second partner. ``micro`` pools the counts of all types; the paper
  does not say how it averages.
* **mDice is our reading of the name, not the paper's formula**: the mean over types of
  the Dice overlap 2·|P∩G| / (|P| + |G|), with P and G the code points that the predicted
  and the gold mentions of the type cover (a gap in a discontinuous mention is not
  covered, and what two mentions cover counts once), pooled over all documents. Types with
  neither have no overlap to average and are left out. Relations have no mDice: they are
  pairs of mentions, and the characters of those are the entities' already.
* A rate with nothing to divide by is zero, and so is mDice without any type.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from emlb_runtime.records import Document, Entity, Fragment

from .base import Key, Row, Tally, rates

_Item = tuple[str, tuple[tuple[str, tuple[Fragment, ...]], ...]]
"""Type, and the types and fragments of its mentions."""

_STRICT, _CHARACTERS = "strict", "characters"


class Paper:
    """Precision, recall, F1 and mDice, after Guo, Liu & Niu 2023; see the module."""

    name = "paper"
    title = "precision, recall, F1 and mDice (Guo, Liu & Niu 2023; mDice by our formula)"

    def tally(self, gold: Document, predicted: Document) -> Tally:
        """Right, predicted and gold items of each type; likewise for its code points."""
        tally: dict[Key, tuple[float, ...]] = {}
        for section, items in (("entities", _entities), ("relations", _relations)):
            sides = Counter(items(gold)), Counter(items(predicted))
            for type, counts in _count(*sides).items():
                tally[section, type, _STRICT] = counts
        ours, theirs = _covered(gold), _covered(predicted)
        for type in sorted(ours.keys() | theirs.keys()):
            sizes = len(theirs[type]), len(ours[type])
            if any(sizes):
                tally["entities", type, _CHARACTERS] = (len(ours[type] & theirs[type]), *sizes)
        return tally

    def rows(self, total: Tally) -> list[Row]:
        """Per section the types that occur, in alphabetical order, and micro; mDice.

        The rows of mode ``characters`` hold each type's ``dice`` and their mean,
        ``mdice``.
        """
        return [
            *_strict_rows(total, "entities"),
            *_character_rows(total),
            *_strict_rows(total, "relations"),
        ]


def _entities(document: Document) -> Iterator[_Item]:
    for entity in document.entities:
        yield entity.type, (_mention(entity),)


def _relations(document: Document) -> Iterator[_Item]:
    for triple in document.triples():
        yield triple.relation.type, (_mention(triple.head), _mention(triple.tail))


def _mention(entity: Entity) -> tuple[str, tuple[Fragment, ...]]:
    return entity.type, tuple(sorted(entity.spans))


def _count(gold: Counter[_Item], predicted: Counter[_Item]) -> dict[str, tuple[float, ...]]:
    counted: list[Counter[str]] = []
    for items in (gold & predicted, predicted, gold):
        counted.append(Counter())
        for (type, _), count in items.items():
            counted[-1][type] += count
    types = sorted({type for counter in counted for type in counter})
    return {type: tuple(counter[type] for counter in counted) for type in types}


def _covered(document: Document) -> defaultdict[str, set[int]]:
    """The code points that the mentions of each type cover."""
    covered: defaultdict[str, set[int]] = defaultdict(set)
    for entity in document.entities:
        for start, end in entity.spans:
            covered[entity.type].update(range(start, end))
    return covered


def _of(total: Tally, section: str, mode: str) -> dict[str, tuple[float, ...]]:
    """The tally of each type, in alphabetical order."""
    return {key[1]: total[key] for key in sorted(total) if key[::2] == (section, mode)}


def _strict_rows(total: Tally, section: str) -> Iterator[Row]:
    by_type = _of(total, section, _STRICT)
    pooled = tuple(map(sum, zip(*by_type.values(), strict=True))) or (0, 0, 0)
    for name, (right, predicted, gold) in (*by_type.items(), ("micro", pooled)):
        values = rates(correct=right, predicted=predicted, gold=gold)
        yield Row(section, name, _STRICT, values, round(gold), round(predicted))


def _character_rows(total: Tally) -> Iterator[Row]:
    by_type = _of(total, "entities", _CHARACTERS)
    dice = {
        type: 2 * shared / (predicted + gold) for type, (shared, predicted, gold) in by_type.items()
    }
    for type, (_, predicted, gold) in by_type.items():
        values = {"dice": dice[type]}
        yield Row("entities", type, _CHARACTERS, values, round(gold), round(predicted))
    mean = sum(dice.values()) / (len(dice) or 1)
    yield Row("entities", "macro", _CHARACTERS, {"mdice": mean})
