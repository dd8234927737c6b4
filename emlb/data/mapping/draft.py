"""A document while a mapping rewrites it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from emlb_runtime.records import Document, Entity, Note, Relation

UNKNOWN = "?"
"""The type of a stretch of text of which a mapping cannot say what it holds.

Training leaves the labels of its words open, except where another mention stands inside it.
"""

_ARTICLE = re.compile(r"(?:a|an|the)\s+", re.IGNORECASE)
_PREPOSITION = re.compile(
    r"(?:after|at|before|between|during|for|from|in|of|on|over|prior\s+to|to|until|within)\s+"
    r"|(?:x|×)\s*(?=\d)",
    re.IGNORECASE,
)


@dataclass
class Draft:
    """A document's mentions and relations, which the rules of a mapping change in place.

    Attributes:
        note: the note.
        entities: mentions by id.
        relations: relations between them.
        dropped: how many annotations were left out, by reason.
    """

    note: Note
    entities: dict[str, Entity]
    relations: list[Relation]
    dropped: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, document: Document, dropped: Counter[str]) -> Draft:
        """A draft of a document.

        Args:
            document: as its corpus annotates it.
            dropped: receives what is left out.
        """
        entities = {entity.id: entity for entity in document.entities}
        return cls(document.note, entities, list(document.relations), dropped)

    def document(self) -> Document:
        """The document as rewritten; relations that lost a mention or repeat are left out."""
        kept: dict[tuple[str, str, str], Relation] = {}
        for relation in self.relations:
            if relation.head not in self.entities or relation.tail not in self.entities:
                self.dropped[f"{relation.type} of a mention that the schema leaves out"] += 1
            else:
                kept[relation.type, relation.head, relation.tail] = relation
        return Document(self.note, tuple(self.entities.values()), tuple(kept.values()))

    def remove(self, id: str, reason: str) -> None:
        """Leave a mention out; its relations go when the document is made."""
        del self.entities[id]
        self.dropped[reason] += 1

    def rename(self, types: Mapping[str, str], *, silent: Collection[str] = ()) -> None:
        """Give each mention its type of the schema; types that have none are left out.

        Args:
            types: from the corpus's type to the schema's.
            silent: types that are left out without being counted: the schema never has them.
        """
        for id, entity in list(self.entities.items()):
            if entity.type in types:
                self.entities[id] = replace(entity, type=types[entity.type])
            elif entity.type in silent:
                del self.entities[id]
            else:
                self.remove(id, f"{entity.type}, which the schema lacks")

    def move(self, id: str, start: int, end: int) -> None:
        """Give a contiguous mention other offsets."""
        self.entities[id] = replace(
            self.entities[id], start=start, end=end, text=self.note.text[start:end]
        )

    def add(self, id: str, type: str, start: int, end: int) -> None:
        """Add a contiguous mention."""
        self.entities[id] = Entity.annotate(self.note, id, type, ((start, end),))

    def say(self, id: str, **attributes: str) -> None:
        """Set attributes of a mention."""
        entity = self.entities[id]
        self.entities[id] = replace(entity, attributes={**entity.attributes, **attributes})

    def trim(self, *, prepositions_of: Collection[str] = ()) -> None:
        """Take articles off the front of contiguous mentions, and prepositions of some types."""
        for id, entity in list(self.entities.items()):
            if entity.fragments or entity.type == UNKNOWN:
                continue
            start, before = entity.start, -1
            while start != before:
                before = start
                patterns = [_ARTICLE, *[_PREPOSITION] * (entity.type in prepositions_of)]
                for pattern in patterns:
                    if match := pattern.match(self.note.text, start, entity.end):
                        start = match.end() if match.end() < entity.end else start
            if start != entity.start:
                self.move(id, start, entity.end)
