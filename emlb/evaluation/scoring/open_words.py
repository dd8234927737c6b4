"""Stretches of text of which an annotation cannot say what they hold.

A mapping marks them (``emlb.data.mapping.UNKNOWN``). What is predicted there is neither right nor
wrong, so it is not scored; a mention that is annotated inside such a stretch is.
"""

from __future__ import annotations

from dataclasses import replace

from emlb.data.mapping import UNKNOWN
from emlb_runtime.records import Document, Entity


def leave_open(gold: Document, predicted: Document) -> tuple[Document, Document]:
    """A gold and a predicted document without what lies in stretches of unknown content.

    Args:
        gold: as a mapping made it.
        predicted: of the same note.

    Returns:
        The gold document without the stretches, and the predicted one without the mentions that
        touch one and are not annotated, nor the relations of those.
    """
    stretches = [entity for entity in gold.entities if entity.type == UNKNOWN]
    if not stretches:
        return gold, predicted
    known = {entity.spans for entity in gold.entities if entity.type != UNKNOWN}
    kept = [
        entity
        for entity in predicted.entities
        if entity.spans in known or not any(_touch(entity, stretch) for stretch in stretches)
    ]
    annotated = [entity for entity in gold.entities if entity.type != UNKNOWN]
    return _of(gold, annotated), _of(predicted, kept)


def _touch(one: Entity, other: Entity) -> bool:
    return any(a < d and c < b for a, b in one.spans for c, d in other.spans)


def _of(document: Document, entities: list[Entity]) -> Document:
    ids = {entity.id for entity in entities}
    relations = [r for r in document.relations if r.head in ids and r.tail in ids]
    return replace(document, entities=tuple(entities), relations=tuple(relations))
