"""Disorders as the scorers of the ShARe corpora see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emlb.data.formats.share.corpus import DISORDER, SLOTS
from emlb_runtime.records import Document, Entity, Fragment

Spans = tuple[Fragment, ...]
"""The fragments of one mention, in text order."""

CONCEPT = "CUI"
"""The attribute that holds a concept."""

BODY_LOCATION = "BL"
"""The slot whose value is the concept of its cue."""

_NOTHING = frozenset(("", "null", "unmarked"))


@dataclass(frozen=True, slots=True)
class Disorder:
    """What is scored of a disorder besides its place.

    Attributes:
        concept: its concept in lower case; empty if it has none.
        values: the normalised values of its slots in lower case, of those that it has.
        cues: the fragments of the cues of its slots, of those that have one.
    """

    concept: str
    values: Mapping[str, str] = field(default_factory=dict)
    cues: Mapping[str, Spans] = field(default_factory=dict)

    def value(self, slot: str, default: str) -> str:
        """The slot's value; the default where there is none or it says nothing."""
        value = self.values.get(slot, "")
        return default if value in _NOTHING else value


def read_disorders(document: Document) -> dict[Spans, Disorder]:
    """The disorders of a document by their fragments.

    Of disorders with the same fragments the last one stays, as when the scorers read a
    file. A slot's cue is the first that a relation of the slot gives, as when a document
    is written to a file; a body location without a value has the concept of its cue.
    """
    cues = _cues(document)
    return {
        entity.spans: _disorder(entity, cues.get(entity.id, {}))
        for entity in document.entities
        if entity.type == DISORDER
    }


def _cues(document: Document) -> dict[str, dict[str, Entity]]:
    """The cue of each slot, by the disorder's id."""
    slots = {(slot.relation, slot.cue): slot.name for slot in SLOTS if slot.cue}
    cues: dict[str, dict[str, Entity]] = {}
    for triple in document.triples():
        slot = slots.get((triple.relation.type, triple.tail.type))
        if slot is not None and triple.head.type == DISORDER:
            cues.setdefault(triple.head.id, {}).setdefault(slot, triple.tail)
    return cues


def _disorder(entity: Entity, cues: Mapping[str, Entity]) -> Disorder:
    given = dict(entity.attributes)
    if BODY_LOCATION in cues and CONCEPT in cues[BODY_LOCATION].attributes:
        given.setdefault(BODY_LOCATION, cues[BODY_LOCATION].attributes[CONCEPT])
    return Disorder(
        _plain(given.get(CONCEPT, "")),
        {slot.name: _plain(given[slot.name]) for slot in SLOTS if slot.name in given},
        {slot: cue.spans for slot, cue in cues.items()},
    )


def _plain(value: str) -> str:
    """Lower case, without the asterisks that some files of 2014 put around values."""
    return value.strip(" *").lower()
