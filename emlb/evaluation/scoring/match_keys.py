"""What a document states, as keys that are equal exactly where strict matching says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from emlb_runtime.records import Document, Entity

from .matching import Item, Spans
from .scores import Group

Key = tuple[Group, Item, int]
"""The types that have to agree, the mentions, and a number that tells repetitions apart."""

Items = Mapping[Key, float]
"""Each item's probability."""

SECTIONS = ("entities", "relations")


def scored_items(document: Document, types: Collection[str] | None = None) -> dict[str, Items]:
    """The entities, and the relations end to end, each with its probability.

    Two documents share as many keys as `scores.score` counts strict matches between them:
    what is stated twice has two keys, the more probable one the first.

    Args:
        document: with sound ids, as every reader and `scores.score` ensure.
        types: entity and relation types to keep, a relation only with both its mentions;
            None for all.
    """
    kept = None if types is None else frozenset(types)

    def is_kept(*names: str) -> bool:
        return kept is None or kept.issuperset(names)

    entities: dict[tuple[Group, Item], list[float]] = defaultdict(list)
    relations: dict[tuple[Group, Item], list[float]] = defaultdict(list)
    for entity in document.entities:
        if is_kept(entity.type):
            entities[(entity.type,), (_spans(entity),)].append(entity.score)
    for triple in document.triples():
        head, relation, tail = triple.head, triple.relation, triple.tail
        if is_kept(relation.type, head.type, tail.type):
            group = (relation.type, head.type, tail.type)
            relations[group, (_spans(head), _spans(tail))].append(relation.score)
    return {"entities": _numbered(entities), "relations": _numbered(relations)}


def _numbered(found: Mapping[tuple[Group, Item], list[float]]) -> Items:
    return {
        (group, item, number): score
        for (group, item), scores in found.items()
        for number, score in enumerate(sorted(scores, reverse=True))
    }


def _spans(entity: Entity) -> Spans:
    return tuple(sorted(entity.spans))
