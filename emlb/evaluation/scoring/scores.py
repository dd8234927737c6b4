"""Precision, recall and F1 of predicted documents against gold ones.

*Strict*: an entity has the gold type and the same fragments; a relation has the gold
type, and both its mentions are strictly right. *Lenient*: the types are right, and each
mention shares at least one code point with its gold mention (`matching.match_lenient`).
Both ways an item is matched once at most. A relation's direction counts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from emlb_runtime.errors import DataError
from emlb_runtime.records import Document, Entity, Triple

from .attributes import Marked, score_attributes
from .counts import Agreement, Counts, Scores, TypeScores
from .matching import Item, Spans, match_lenient, match_strict
from .open_words import leave_open

Group = tuple[str, ...]
"""The types that have to agree, the one that is counted first."""

_Pair = tuple[Document, Document]
"""A gold document and the predicted one of the same note."""

_Found = Iterator[tuple[Group, Item]]

_LISTED = 3
"""How many names an error message lists."""


def score(
    gold: Sequence[Document],
    predicted: Sequence[Document],
    *,
    predicted_on_gold: Sequence[Document] | None = None,
    entity_types: Collection[str] | None = None,
    relation_types: Collection[str] | None = None,
    collapse: bool = False,
    marked: Collection[Marked] = (),
) -> Scores:
    """Score predictions against gold, document by document of the same name.

    Args:
        gold: annotated documents, each name once.
        predicted: the predicted documents of the same notes, in any order.
        predicted_on_gold: documents of the same notes with gold entities and predicted
            relations.
        entity_types: the entity types to score, as a rule those that the corpus
            annotates; None for all. Entities of other types, and relations that link
            one, are left out on both sides: gold says nothing about them.
        relation_types: the relation types to score; None for all.
        collapse: count entities of the same type and fragments once, and relations of
            the same type and mentions too. Otherwise each duplicate wants its partner.
        marked: attribute values to score, by attribute and entity type; none scores no
            attributes.

    Raises:
        DataError: if the documents do not pair by name or text, if an entity id is
            used twice, or a relation names an entity that its document lacks.
    """

    kept_entities, kept_relations = _kept(entity_types), _kept(relation_types)

    def entities(document: Document) -> _Found:
        for entity in document.entities:
            if kept_entities(entity.type):
                yield (entity.type,), (_spans(entity),)

    def relations(document: Document) -> _Found:
        for triple in _triples(document):
            head, type, tail = triple.head, triple.relation.type, triple.tail
            if kept_relations(type) and kept_entities(head.type) and kept_entities(tail.type):
                yield (type, head.type, tail.type), (_spans(head), _spans(tail))

    pairs = _pair(gold, predicted)
    values = [value for value in marked if kept_entities(value[1])]
    on_gold = None if predicted_on_gold is None else _pair(gold, predicted_on_gold)
    return Scores(
        documents=len(pairs),
        entities=_agreement(pairs, entities, collapse=collapse),
        relations=_agreement(pairs, relations, collapse=collapse),
        relations_on_gold=(
            None if on_gold is None else _agreement(on_gold, relations, collapse=collapse)
        ),
        attributes=score_attributes(pairs, values) if values else None,
    )


def _agreement(
    pairs: Iterable[_Pair], items: Callable[[Document], _Found], *, collapse: bool
) -> Agreement:
    """Match what `items` finds in each pair of documents."""
    strict: Counter[str] = Counter()
    lenient: Counter[str] = Counter()
    in_gold: Counter[str] = Counter()
    in_predicted: Counter[str] = Counter()
    for gold, predicted in pairs:
        gold_groups = _group(items(gold), collapse=collapse)
        predicted_groups = _group(items(predicted), collapse=collapse)
        for group, found in gold_groups.items():
            in_gold[group[0]] += found.total()
        for group, found in predicted_groups.items():
            in_predicted[group[0]] += found.total()
        for group in gold_groups.keys() & predicted_groups.keys():
            sides = gold_groups[group], predicted_groups[group]
            strict[group[0]] += match_strict(*sides)
            lenient[group[0]] += match_lenient(*sides)
    types = sorted({*in_gold, *in_predicted})

    def scores(tp: Counter[str]) -> TypeScores:
        return TypeScores(
            {type: Counts(tp[type], in_predicted[type], in_gold[type]) for type in types}
        )

    return Agreement(scores(strict), scores(lenient))


def _group(found: _Found, *, collapse: bool) -> dict[Group, Counter[Item]]:
    groups: dict[Group, Counter[Item]] = defaultdict(Counter)
    for group, item in found:
        groups[group][item] = 1 if collapse else groups[group][item] + 1
    return groups


def _kept(types: Collection[str] | None) -> Callable[[str], bool]:
    if types is None:
        return lambda type: True
    return frozenset(types).__contains__


def _spans(entity: Entity) -> Spans:
    return tuple(sorted(entity.spans))


def _triples(document: Document) -> list[Triple]:
    """The document's relations with their mentions, once its ids are known to be sound."""
    name = document.note.name
    ids = Counter(entity.id for entity in document.entities)
    if doubled := [id for id, count in ids.items() if count > 1]:
        raise DataError(f"{name}: entity ids used twice: {_listed(doubled)}; give each its own")
    used = {id for relation in document.relations for id in (relation.head, relation.tail)}
    if missing := used - ids.keys():
        raise DataError(
            f"{name}: relations name entities that the document lacks: {_listed(missing)}; "
            "add them or drop the relations"
        )
    return list(document.triples())


def _pair(gold: Sequence[Document], predicted: Sequence[Document]) -> list[_Pair]:
    """Each gold document with the predicted one of its name."""
    gold_names, predicted_names = _by_name(gold, "gold"), _by_name(predicted, "predicted")
    problems = [
        f"{len(names)} only {side} ({_listed(names)})"
        for side, names in (
            ("gold", gold_names.keys() - predicted_names.keys()),
            ("predicted", predicted_names.keys() - gold_names.keys()),
        )
        if names
    ]
    if problems:
        raise DataError(
            f"documents do not pair by note name: {', '.join(problems)}; "
            "score the predictions of exactly the gold notes"
        )
    pairs = [(document, predicted_names[name]) for name, document in gold_names.items()]
    for one, other in pairs:
        # Predictions read back from a file may come without their notes' text.
        if one.note.text and other.note.text and one.note.text != other.note.text:
            raise DataError(
                f"{one.note.name}: gold and predicted texts differ "
                f"({len(one.note.text)} and {len(other.note.text)} characters), so their "
                "offsets cannot be compared; predict on the text that was annotated"
            )
    return [leave_open(*pair) for pair in pairs]


def _by_name(documents: Sequence[Document], side: str) -> dict[str, Document]:
    by_name = {document.note.name: document for document in documents}
    if len(by_name) < len(documents):
        counts = Counter(document.note.name for document in documents)
        doubled = [name for name, count in counts.items() if count > 1]
        raise DataError(
            f"{len(doubled)} {side} note names used twice ({_listed(doubled)}); "
            "give each note its own name"
        )
    return by_name


def _listed(names: Collection[str]) -> str:
    shown = sorted(names)[:_LISTED]
    return ", ".join(shown) + (", …" if len(names) > _LISTED else "")
