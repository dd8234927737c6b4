"""How well the attributes of mentions are told: on mentions that are right, and end to end.

A value counts where it differs from the attribute's default, so that the many mentions about which
nothing special is said do not carry the score. *End to end*, an item is a mention with a value,
right if type, fragments and value are. *On right mentions*, only mentions that both sides have
count; there the accuracy, defaults included, is given too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from emlb_runtime.records import Document, Entity
from emlb_runtime.schema.task import Task

from .counts import AttributeScores, Counts, TypeScores
from .matching import Spans
from .text_table import align

Marked = tuple[str, str, str]
"""An attribute, an entity type, and a value that mentions of the type may have."""

_Mention = tuple[str, Spans]


def of_attribute(scores: TypeScores, name: str) -> TypeScores:
    """The scores of one attribute's values."""
    return TypeScores({v: c for v, c in scores.types.items() if v.partition("=")[0] == name})


def marked_in(
    task: Task | None, gold: Sequence[Document], predicted: Sequence[Document]
) -> frozenset[Marked]:
    """The attribute values that predictions can be scored on.

    Args:
        task: of the model: its attributes count as far as they occur in the gold documents. None
            for predictions of another system: all values count that either side states.
        gold: annotated documents.
        predicted: what is to be scored.

    Returns:
        Nothing if one of the sides knows no attributes.
    """
    stated = stated_values(gold)
    if task is None:
        found = stated_values(predicted)
        return stated | found if found else frozenset()
    occurring = {name for name, _, _ in stated}
    return frozenset(
        (attribute.name, type, value)
        for attribute in task.attributes
        if attribute.name in occurring
        for type in task.entity_types
        if attribute.applies_to(type)
        for value in attribute.marked
    )


def stated_values(documents: Iterable[Document]) -> frozenset[Marked]:
    """Every attribute value that documents state, by entity type."""
    return frozenset(
        (name, entity.type, value)
        for document in documents
        for entity in document.entities
        for name, value in entity.attributes.items()
    )


def with_defaults(document: Document, task: Task) -> Document:
    """The document of that task with every attribute of its mentions, as some protocols ask."""
    if not task.attributes:
        return document
    return replace(
        document,
        entities=tuple(
            replace(entity, attributes=_defaults(entity, task) | dict(entity.attributes))
            for entity in document.entities
        ),
    )


def _defaults(entity: Entity, task: Task) -> dict[str, str]:
    return {a.name: a.default for a in task.attributes if a.applies_to(entity.type)}


def score_attributes(
    pairs: Sequence[tuple[Document, Document]], marked: Collection[Marked]
) -> AttributeScores:
    """Score attributes.

    Args:
        pairs: of a gold document and the predicted one of the same note.
        marked: what counts, as a rule what the corpus marks wherever it occurs.
    """
    wanted = frozenset(marked)
    able = frozenset((name, type) for name, type, _ in wanted)
    found = _Tally()
    on_right = _Tally()
    decided: Counter[str] = Counter()
    shared: Counter[str] = Counter()
    for gold, predicted in pairs:
        sides = _by_mention(gold), _by_mention(predicted)
        right = sides[0].keys() & sides[1].keys()
        items = tuple(Counter(_items(side.values(), wanted)) for side in sides)
        found.add(*items)
        on_right.add(*(Counter({i: n for i, n in c.items() if i[1] in right}) for c in items))
        for name, type in able:
            for mention in right:
                if mention[0] == type:
                    values = [_value(side[mention], name, wanted) for side in sides]
                    shared[name] += 1
                    decided[name] += values[0] == values[1]
    accuracy = {name: Counts(decided[name], n, n) for name, n in sorted(shared.items())}
    return AttributeScores(found.scores, on_right.scores, TypeScores(accuracy))


class _Tally:
    """Counts of items by ``NAME=VALUE``."""

    def __init__(self) -> None:
        self._right: Counter[str] = Counter()
        self._predicted: Counter[str] = Counter()
        self._gold: Counter[str] = Counter()

    def add(
        self, gold: Counter[tuple[str, _Mention]], predicted: Counter[tuple[str, _Mention]]
    ) -> None:
        for counts, items in (
            (self._right, gold & predicted),
            (self._predicted, predicted),
            (self._gold, gold),
        ):
            for (value, _), count in items.items():
                counts[value] += count

    @property
    def scores(self) -> TypeScores:
        values = sorted({*self._gold, *self._predicted})
        return TypeScores(
            {v: Counts(self._right[v], self._predicted[v], self._gold[v]) for v in values}
        )


def _by_mention(document: Document) -> dict[_Mention, Entity]:
    """The mentions; of several of one type and extent the first."""
    found: dict[_Mention, Entity] = {}
    for entity in document.entities:
        found.setdefault(mention_key(entity), entity)
    return found


def mention_key(entity: Entity) -> _Mention:
    """What makes two mentions the same under strict matching."""
    return entity.type, tuple(sorted(entity.spans))


def _value(entity: Entity, name: str, wanted: Collection[Marked]) -> str | None:
    value = entity.attributes.get(name)
    return value if value is not None and (name, entity.type, value) in wanted else None


def _items(
    entities: Iterable[Entity], wanted: Collection[Marked]
) -> Iterator[tuple[str, _Mention]]:
    for entity in entities:
        for name in entity.attributes:
            value = _value(entity, name, wanted)
            if value is not None:
                yield f"{name}={value}", mention_key(entity)


def render(scores: AttributeScores) -> str:
    """A table: a row per value, per attribute and in all; precision, recall and F1 in percent."""
    if not scores.found.types:
        return "Attributes\n  no gold and no predictions"
    cells = [
        ["", "", "", "end to end", "", "", "right mentions", "", "", ""],
        ["", "gold", "predicted", *["P", "R", "F1"] * 2, "accuracy"],
    ]
    for name in scores.names:
        ways = [of_attribute(way, name) for way in (scores.found, scores.on_right)]
        cells += [
            _row(value, [way.types.get(value, Counts()) for way in ways]) for value in ways[0].types
        ]
        accuracy = scores.decided.types.get(name, Counts())
        cells.append([*_row(name, [way.micro for way in ways])[:-1], _percent(accuracy.precision)])
    cells.append(_row("micro", [scores.found.micro, scores.on_right.micro]))
    return "\n".join(["Attributes (values other than the default)", *align(cells)])


def _row(name: str, ways: Sequence[Counts]) -> list[str]:
    rates = [_percent(rate) for way in ways for rate in (way.precision, way.recall, way.f1)]
    return [name, str(ways[0].gold), str(ways[0].predicted), *rates, ""]


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def to_json(scores: AttributeScores) -> dict[str, Any]:
    """The scores as JSON-ready values; rates are fractions of one."""
    return {
        "end_to_end": _section(scores, scores.found),
        "right_mentions": {
            **_section(scores, scores.on_right),
            "accuracy": {
                name: {"accuracy": counts.precision, "right": counts.tp, "mentions": counts.gold}
                for name, counts in scores.decided.types.items()
            },
        },
    }


def _section(scores: AttributeScores, way: TypeScores) -> dict[str, Any]:
    return {
        "micro": _counts(way.micro),
        "attributes": {name: _counts(of_attribute(way, name).micro) for name in scores.names},
        "values": {value: _counts(counts) for value, counts in way.types.items()},
    }


def _counts(counts: Counts) -> dict[str, float]:
    return {
        "precision": counts.precision,
        "recall": counts.recall,
        "f1": counts.f1,
        "tp": counts.tp,
        "predicted": counts.predicted,
        "gold": counts.gold,
    }
