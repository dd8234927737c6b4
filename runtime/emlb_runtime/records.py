"""The records that pass between reading, extraction, training and scoring.

Every offset is a Unicode code point of the untouched note (byte-order mark and
carriage returns included), half-open: ``note.text[start:end]``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Fragment = tuple[int, int]
"""One contiguous part of a mention: ``[start, end)`` in code points."""


@dataclass(frozen=True, slots=True)
class Note:
    """The text of one note and the name it goes by in every output.

    Attributes:
        name: the note's identity in outputs (usually its file name).
        text: the text exactly as decoded; never normalised.
        source_format: the format of the file whose markup was removed to get the text, such
            as ``RTF``; empty for plain text.
    """

    name: str
    text: str = field(repr=False)
    source_format: str = ""


@dataclass(frozen=True, slots=True)
class Entity:
    """A typed mention.

    Attributes:
        id: unique within its document (``T1``, ``T2``, …).
        type: the entity type's label.
        start: first code point of the mention (of its first fragment).
        end: one past its last code point (of its last fragment).
        text: ``note.text[start:end]``.
        score: probability of the mention, 1.0 for annotations.
        task: the task of the model that found it; empty for annotations.
        fragments: the parts of a discontinuous mention in text order; empty for a
            contiguous one.
        attributes: what is said of the mention (``Polarity``: ``NEG``); a plain flag has
            the empty string for its value. A model states what differs from the default.
        attribute_scores: how likely each value that a model states is right, given that the
            mention is; empty for annotations.
    """

    id: str
    type: str
    start: int
    end: int
    text: str = field(repr=False)
    score: float = 1.0
    task: str = ""
    fragments: tuple[Fragment, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    attribute_scores: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def spans(self) -> tuple[Fragment, ...]:
        """The mention's fragments: one pair for a contiguous mention."""
        return self.fragments or ((self.start, self.end),)

    @classmethod
    def annotate(
        cls, note: Note, id: str, type: str, spans: tuple[Fragment, ...], **more: Any
    ) -> Entity:
        """Build an entity from its fragments, taking its text from the note.

        Args:
            note: the note that is annotated.
            id: the entity's id.
            type: its label.
            spans: at least one ``[start, end)`` pair, in text order.
            **more: ``score``, ``task`` and ``attributes``.

        Raises:
            ValueError: if the fragments are empty, disordered or outside the note.
        """
        ends = [0]
        for start, end in spans:
            if not ends[-1] <= start < end <= len(note.text):
                raise ValueError(f"{id}: fragment {start}-{end} is disordered or outside the note")
            ends.append(end)
        if not spans:
            raise ValueError(f"{id}: no fragment")
        first, last = spans[0][0], spans[-1][1]
        return cls(
            id=id,
            type=type,
            start=first,
            end=last,
            text=note.text[first:last],
            fragments=tuple(spans) if len(spans) > 1 else (),
            **more,
        )


@dataclass(frozen=True, slots=True)
class Relation:
    """A typed, directed link between two mentions of one document.

    Attributes:
        type: the relation type's label.
        head: id of the entity it starts from.
        tail: id of the entity it points to.
        score: probability of the relation, 1.0 for annotations.
        task: the task of the model that found it; empty for annotations.
        asserted: whether it is stated as a fact: false where a mention of it is, for instance,
            absent, hypothetical or of another person. None where no attribute tells.
    """

    type: str
    head: str
    tail: str
    score: float = 1.0
    task: str = ""
    asserted: bool | None = None


@dataclass(frozen=True, slots=True)
class Triple:
    """A relation with its two mentions resolved."""

    head: Entity
    relation: Relation
    tail: Entity


@dataclass(frozen=True, slots=True)
class Status:
    """How a document was extracted.

    Attributes:
        characters: length of the note in code points.
        windows: windows the encoder saw.
        provider: the execution provider that really ran.
        precision: ``int8``, ``fp16`` or ``fp32``.
        warnings: sentences about this note, without any of its text.
    """

    characters: int
    windows: int
    provider: str
    precision: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A note with its entities and relations.

    Attributes:
        note: the note.
        entities: in text order when extracted, in file order when read.
        relations: head and tail are ids of ``entities``.
        status: how it was extracted; None for annotations.
    """

    note: Note
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    status: Status | None = None

    def entity(self, id: str) -> Entity:
        """The entity of that id.

        Raises:
            KeyError: if the document has none.
        """
        for entity in self.entities:
            if entity.id == id:
                return entity
        raise KeyError(id)

    def triples(self) -> Iterator[Triple]:
        """The relations with their mentions, in the order of ``relations``."""
        by_id: Mapping[str, Entity] = {entity.id: entity for entity in self.entities}
        for relation in self.relations:
            yield Triple(by_id[relation.head], relation, by_id[relation.tail])

    def facts(self) -> Document:
        """The document without the relations that are known not to be facts."""
        kept = tuple(relation for relation in self.relations if relation.asserted is not False)
        return self if len(kept) == len(self.relations) else replace(self, relations=kept)

    def to_json(self) -> dict[str, Any]:
        """The document as JSON-ready values: a line of the ``documents`` format."""
        return document_to_json(self)


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """What stands in the output in place of a note that could not be extracted.

    Attributes:
        note: the note's name.
        error: one sentence without any text of the note.
    """

    note: str
    error: str


def document_to_json(document: Document, *, with_text: bool = False) -> dict[str, Any]:
    """The document as JSON-ready values; scores rounded to four decimals.

    Args:
        document: the document.
        with_text: keep the note's own text too, so that the line stands alone. Otherwise
            only the mentions carry theirs.
    """
    value: dict[str, Any] = {
        "note": document.note.name,
        **({"text": document.note.text} if with_text else {}),
        "entities": [
            {"id": entity.id, **_mention_to_json(entity), "task": entity.task}
            for entity in document.entities
        ],
        "relations": [
            {
                "type": relation.type,
                "head": relation.head,
                "tail": relation.tail,
                "score": _round(relation.score),
                "task": relation.task,
                **_asserted(relation),
            }
            for relation in document.relations
        ],
    }
    if document.status is not None:
        status = document.status
        value["status"] = {
            "characters": status.characters,
            "windows": status.windows,
            "provider": status.provider,
            "precision": status.precision,
            "warnings": list(status.warnings),
        }
    return value


def triple_to_json(note_name: str, triple: Triple) -> dict[str, Any]:
    """A triple as JSON-ready values: a line of the ``triples`` format."""
    return {
        "note": note_name,
        "head": _mention_to_json(triple.head),
        "relation": triple.relation.type,
        "tail": _mention_to_json(triple.tail),
        "score": _round(triple.relation.score),
        "task": triple.relation.task,
        **_asserted(triple.relation),
    }


def _round(score: float) -> float:
    return round(float(score), 4)


def _mention_to_json(entity: Entity) -> dict[str, Any]:
    value: dict[str, Any] = {
        "type": entity.type,
        "start": entity.start,
        "end": entity.end,
        "text": entity.text,
        "score": _round(entity.score),
    }
    if entity.fragments:
        value["fragments"] = [list(fragment) for fragment in entity.fragments]
    if entity.attributes:
        value["attributes"] = dict(entity.attributes)
    if entity.attribute_scores:
        value["attribute_scores"] = {
            name: _round(score) for name, score in entity.attribute_scores.items()
        }
    return value


def _asserted(relation: Relation) -> dict[str, bool]:
    """Whether a relation is a fact, where that can be told."""
    return {} if relation.asserted is None else {"asserted": relation.asserted}
