"""What of a document the lines of ShARe/CLEF can hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from emlb_runtime.records import Document, Entity, Fragment

from .lines import (
    BODY_LOCATION,
    CUI,
    CUI_LESS,
    DISORDER,
    NO_CUE,
    SLOTS,
    Slot,
    Year,
    body_concept,
    is_placeholder,
)

FOREIGN_ENTITY = "entity of a type that the format does not hold"
LONELY_CUE = "cue that no line of a disorder holds"
REPEATED_CUE = "cue of the same type and place as another"
FURTHER_CUE = "further cue for a slot of a disorder, which holds one"
FOREIGN_RELATION = "relation that does not lead from a disorder to the cue of a slot"
FOREIGN_ATTRIBUTE = "attribute that the format does not hold"
UNFIT_VALUE = "attribute's value that a column cannot hold"

_Cues = Mapping[tuple[str, str], Entity]


def format_share(document: Document, name: str, *, year: Year) -> tuple[str, Counter[str]]:
    """The document's disorders as the content of a ``.pipe`` file, and what is lost.

    Args:
        document: the document.
        name: what the lines call it.
        year: of which format.

    Returns:
        The lines, and how often something cannot be held, by this module's sentences.
        An entity that is lost counts once, with all its attributes.
    """
    writer = _Writer(document, year)
    lines = [writer.line(name, entity) for entity in document.entities if entity.type == DISORDER]
    writer.count_cues()
    return "".join(lines), writer.lost


class _Writer:
    """Writes the lines of one document; lives for one call of format_share."""

    def __init__(self, document: Document, year: Year) -> None:
        self.document = document
        self.slots = SLOTS if year == 2014 else ()
        self.separator = "|" if year == 2014 else "||"
        self.lost: Counter[str] = Counter()
        self.cues = self.link_cues()
        self.concepts: dict[tuple[Fragment, ...], list[str]] = {}

    def link_cues(self) -> _Cues:
        """The cue of each disorder and slot: the first that a relation gives it."""
        slots = {slot.relation: slot for slot in self.slots if slot.cue}
        by_id = {entity.id: entity for entity in self.document.entities}
        cues: dict[tuple[str, str], Entity] = {}
        for relation in self.document.relations:
            slot = slots.get(relation.type)
            head, tail = by_id.get(relation.head), by_id.get(relation.tail)
            if slot is None or head is None or tail is None:
                self.lost[FOREIGN_RELATION] += 1
            elif (head.type, tail.type) != (DISORDER, slot.cue):
                self.lost[FOREIGN_RELATION] += 1
            elif (head.id, slot.name) in cues:
                self.lost[FURTHER_CUE] += 1
            else:
                cues[head.id, slot.name] = tail
        return cues

    def line(self, name: str, disorder: Entity) -> str:
        left = dict(disorder.attributes)
        concept = self.take(left, CUI, CUI_LESS)
        if self.slots:
            spans = _format_spans(disorder.spans)
            columns = [name, spans, concept, *self.slot_columns(disorder, left)]
        else:
            offsets = (str(offset) for span in disorder.spans for offset in span)
            columns = [name, DISORDER, concept, *offsets]
        if left:
            self.lost[FOREIGN_ATTRIBUTE] += len(left)
        return self.separator.join(columns) + "\n"

    def slot_columns(self, disorder: Entity, left: dict[str, str]) -> list[str]:
        columns = []
        for slot in self.slots:
            cue = self.cues.get((disorder.id, slot.name))
            columns.append(value := self.take(left, slot.name, self.default(slot, cue)))
            if cue is not None:
                columns.append(_format_spans(cue.spans))
                if slot is BODY_LOCATION:
                    self.concepts.setdefault(cue.spans, []).append(value)
            elif slot.cue:
                word = left.get(slot.placeholder, "")
                columns.append(left.pop(slot.placeholder) if is_placeholder(word) else NO_CUE)
        return columns

    def default(self, slot: Slot, cue: Entity | None) -> str:
        """What stands in a slot whose disorder says nothing: of a place, its concept."""
        if slot is BODY_LOCATION and cue is not None:
            concept = cue.attributes.get(CUI, "")
            if concept and self.fits(concept):
                return concept
        return slot.default

    def take(self, left: dict[str, str], name: str, default: str) -> str:
        value = left.pop(name, default)
        if self.fits(value):
            return value
        self.lost[UNFIT_VALUE] += 1
        return default

    def fits(self, value: str) -> bool:
        at_edge = value.startswith("|") or value.endswith("|")
        return not (at_edge or any(end in value for end in ("\n", "\r", self.separator)))

    def count_cues(self) -> None:
        """Count the entities beside the disorders that the lines do not give back."""
        types = {slot.cue for slot in self.slots if slot.cue}
        linked = {cue.id for cue in self.cues.values()}
        places: set[tuple[str, tuple[Fragment, ...]]] = set()
        for entity in self.document.entities:
            if entity.type == DISORDER:
                continue
            if entity.type not in types:
                self.lost[FOREIGN_ENTITY] += 1
            elif entity.id not in linked:
                self.lost[LONELY_CUE] += 1
            elif (entity.type, entity.spans) in places:
                self.lost[REPEATED_CUE] += 1
            else:
                places.add((entity.type, entity.spans))
                self.count_attributes(entity)

    def count_attributes(self, cue: Entity) -> None:
        held: dict[str, str] = {}
        if cue.type == BODY_LOCATION.cue:
            held = body_concept(self.concepts[cue.spans])
        lost = set(cue.attributes.items()) - set(held.items())
        if lost:
            self.lost[FOREIGN_ATTRIBUTE] += len(lost)


def _format_spans(spans: tuple[Fragment, ...]) -> str:
    return ",".join(f"{start}-{end}" for start, end in spans)
