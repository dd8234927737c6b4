"""Documents spoilt at random, as stand-ins for predictions in tests of scores.

Every kind of disagreement that a scoring protocol treats in a way of its own occurs:
moved borders, missing and repeated mentions, merged and split ones, gaps, nested and
overlapping mentions, other types, other attributes, another order; missing, repeated,
retyped, reversed and rewired relations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from emlb_runtime.records import Document, Entity, Fragment, Relation

_MOST_FRAGMENTS = 3


def perturb(
    document: Document,
    random: Random,
    *,
    types: Sequence[str] = (),
    relation_types: Sequence[str] = (),
    edits: int | None = None,
) -> Document:
    """A copy with some edits; its ids are unique and its relations' mentions exist.

    Args:
        document: left as it is.
        random: decides everything.
        types: types to give to mentions besides those of the document.
        relation_types: likewise for relations.
        edits: how many; None for a random number that grows with the document, often
            none and sometimes more than there are mentions.
    """
    spoiler = _Spoiler(document, random, types, relation_types)
    if edits is None:
        items = len(document.entities) + len(document.relations)
        edits = int(random.choice((0.0, 0.1, 0.3, 0.6, 1.2)) * (items + 1))
    for _ in range(edits):
        random.choice(spoiler.edits)()
    return replace(document, entities=tuple(spoiler.entities), relations=tuple(spoiler.relations))


class _Spoiler:
    """The document while it is edited; an edit that finds nothing to change does nothing."""

    def __init__(
        self,
        document: Document,
        random: Random,
        types: Sequence[str],
        relation_types: Sequence[str],
    ) -> None:
        self.note = document.note
        self.random = random
        self.entities = list(document.entities)
        self.relations = list(document.relations)
        self.types = sorted({*types, *(entity.type for entity in document.entities)})
        self.relation_types = sorted(
            {*relation_types, *(relation.type for relation in document.relations)}
        )
        self.attributes = sorted(
            {pair for entity in document.entities for pair in entity.attributes.items()}
        )
        self.ids = {entity.id for entity in document.entities}
        self.edits: list[Callable[[], None]] = [
            *(self.move_border, self.move_border, self.move_mention),
            *(self.drop_mention, self.repeat_mention, self.retype_mention),
            *(self.merge_mentions, self.split_mention, self.open_gap, self.close_gaps),
            *(self.add_overlapping, self.change_attributes, self.reorder),
            *(self.drop_relation, self.repeat_relation, self.retype_relation),
            *(self.rewire_relation, self.rewire_relation, self.reverse_relation),
            *(self.link_twin, self.add_relation, self.reorder_relations),
        ]

    def pick(self) -> int | None:
        return self.random.randrange(len(self.entities)) if self.entities else None

    def pick_relation(self) -> int | None:
        return self.random.randrange(len(self.relations)) if self.relations else None

    def new_id(self) -> str:
        number = len(self.ids) + 1
        while f"T{number}" in self.ids:
            number += 1
        self.ids.add(f"T{number}")
        return f"T{number}"

    def respan(
        self, entity: Entity, spans: Sequence[Fragment], *, id: str | None = None
    ) -> Entity | None:
        """The mention elsewhere; None if that is no place for one."""
        last, length = 0, len(self.note.text)
        for start, end in spans:
            if not last <= start < end <= length:
                return None
            last = end
        return Entity.annotate(
            self.note,
            id or entity.id,
            entity.type,
            tuple(spans),
            score=entity.score,
            task=entity.task,
            attributes=entity.attributes,
        )

    def put(self, index: int, entity: Entity | None) -> None:
        if entity is not None:
            self.entities[index] = entity

    def insert(self, entity: Entity | None) -> None:
        if entity is not None:
            self.entities.insert(self.random.randint(0, len(self.entities)), entity)

    def move_border(self) -> None:
        if (index := self.pick()) is None:
            return
        spans = [list(span) for span in self.entities[index].spans]
        spans[self.random.randrange(len(spans))][self.random.randrange(2)] += self.random.choice(
            (-6, -2, -1, 1, 2, 6)
        )
        self.put(index, self.respan(self.entities[index], [(start, end) for start, end in spans]))

    def move_mention(self) -> None:
        if (index := self.pick()) is None:
            return
        by = self.random.choice((-20, -3, -1, 1, 3, 20))
        spans = [(start + by, end + by) for start, end in self.entities[index].spans]
        self.put(index, self.respan(self.entities[index], spans))

    def drop_mention(self) -> None:
        if (index := self.pick()) is None:
            return
        gone = self.entities.pop(index).id
        self.relations = [r for r in self.relations if gone not in (r.head, r.tail)]

    def repeat_mention(self) -> None:
        if (index := self.pick()) is not None:
            self.insert(replace(self.entities[index], id=self.new_id()))

    def retype_mention(self) -> None:
        if (index := self.pick()) is not None:
            type = self.random.choice(self.types)
            self.entities[index] = replace(self.entities[index], type=type)

    def merge_mentions(self) -> None:
        """One mention from two; the relations of both are its own."""
        if len(self.entities) < 2:
            return
        ordered = sorted(self.entities, key=lambda entity: (entity.start, entity.end))
        at = self.random.randrange(len(ordered) - 1)
        first, second = ordered[at : at + 2]
        hull = (first.start, max(first.end, second.end))
        self.put(self.entities.index(first), self.respan(first, [hull]))
        self.entities.remove(second)
        self.relations = [
            replace(
                relation,
                head=first.id if relation.head == second.id else relation.head,
                tail=first.id if relation.tail == second.id else relation.tail,
            )
            for relation in self.relations
        ]

    def split_mention(self) -> None:
        """Two mentions from one, which may touch; its relations stay with the first."""
        if (index := self.pick()) is None:
            return
        entity = self.entities[index]
        if entity.end - entity.start < 2:
            return
        cut = self.random.randrange(entity.start + 1, entity.end)
        self.entities[index] = self.respan(entity, [(entity.start, cut)]) or entity
        self.insert(self.respan(entity, [(cut, entity.end)], id=self.new_id()))

    def open_gap(self) -> None:
        if (index := self.pick()) is None:
            return
        entity = self.entities[index]
        *others, (start, end) = entity.spans
        if end - start < 3 or len(others) + 2 > _MOST_FRAGMENTS:
            return
        cut = self.random.randrange(start + 1, end - 1)
        self.put(index, self.respan(entity, [*others, (start, cut), (cut + 1, end)]))

    def close_gaps(self) -> None:
        gapped = [index for index, entity in enumerate(self.entities) if entity.fragments]
        if gapped:
            index = self.random.choice(gapped)
            entity = self.entities[index]
            self.put(index, self.respan(entity, [(entity.start, entity.end)]))

    def add_overlapping(self) -> None:
        """A new mention about an old one, of its type more often than not."""
        if (index := self.pick()) is None:
            return
        entity, id = self.entities[index], self.new_id()
        reach = self.random.choice((4, 40))
        start = max(0, entity.start + self.random.randint(-reach, 4))
        end = min(len(self.note.text), entity.end + self.random.randint(-4, reach))
        made = self.respan(entity, [(start, end)], id=id)
        if made is not None and self.random.random() < 0.4:
            made = replace(made, type=self.random.choice(self.types))
        self.insert(made)

    def change_attributes(self) -> None:
        if (index := self.pick()) is None or not self.attributes:
            return
        attributes = dict(self.entities[index].attributes)
        name, value = self.random.choice(self.attributes)
        if name in attributes and self.random.random() < 0.5:
            del attributes[name]
        else:
            attributes[name] = value
        self.entities[index] = replace(self.entities[index], attributes=attributes)

    def reorder(self) -> None:
        if (index := self.pick()) is not None:
            self.insert(self.entities.pop(index))

    def drop_relation(self) -> None:
        if (index := self.pick_relation()) is not None:
            del self.relations[index]

    def repeat_relation(self) -> None:
        if (index := self.pick_relation()) is not None:
            self.relations.insert(
                self.random.randint(0, len(self.relations)), replace(self.relations[index])
            )

    def retype_relation(self) -> None:
        if (index := self.pick_relation()) is not None:
            type = self.random.choice(self.relation_types)
            self.relations[index] = replace(self.relations[index], type=type)

    def rewire_relation(self) -> None:
        if (index := self.pick_relation()) is not None:
            to = self.random.choice(self.entities).id
            old = self.relations[index]
            self.relations[index] = (
                replace(old, head=to) if self.random.random() < 0.5 else replace(old, tail=to)
            )

    def reverse_relation(self) -> None:
        if (index := self.pick_relation()) is not None:
            old = self.relations[index]
            self.relations[index] = replace(old, head=old.tail, tail=old.head)

    def link_twin(self) -> None:
        """The relation again, between a repeated head and the old tail."""
        if (index := self.pick_relation()) is None:
            return
        relation = self.relations[index]
        head = next(entity for entity in self.entities if entity.id == relation.head)
        twin = replace(head, id=self.new_id())
        self.insert(twin)
        self.relations.append(replace(relation, head=twin.id))

    def add_relation(self) -> None:
        if self.entities and self.relation_types:
            head, tail = (self.random.choice(self.entities).id for _ in range(2))
            self.relations.append(Relation(self.random.choice(self.relation_types), head, tail))

    def reorder_relations(self) -> None:
        self.random.shuffle(self.relations)
