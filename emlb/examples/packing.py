"""Packing short documents into note-shaped ones, and joining them for training."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from emlb.data.splits import source_of
from emlb_runtime.records import Document, Entity, Note, Relation

PACKED_CHARACTERS = (80, 640)
"""Packed documents end once they pass a length drawn from this range: up to about one window."""


def pack(documents: Sequence[Document], *, seed: int) -> list[Document]:
    """Join documents in a random order, those of one source (``PMID_k``) side by side.

    Every document lands in exactly one packed document, whole.

    Args:
        documents: any documents.
        seed: decides order and lengths.
    """
    random_source = random.Random(seed)
    groups: dict[str, list[Document]] = {}
    for document in documents:
        groups.setdefault(source_of(document.note.name), []).append(document)
    order = list(groups.values())
    random_source.shuffle(order)
    packed: list[Document] = []
    batch: list[Document] = []
    target = random_source.randint(*PACKED_CHARACTERS)
    for document in (document for group in order for document in group):
        batch.append(document)
        if sum(len(item.note.text) for item in batch) >= target:
            packed.append(join(batch))
            batch, target = [], random_source.randint(*PACKED_CHARACTERS)
    return [*packed, join(batch)] if batch else packed


def join(documents: Iterable[Document], *, separator: str = "\n") -> Document:
    """One document of several, their annotations moved along."""
    texts: list[str] = []
    names: list[str] = []
    entities: list[Entity] = []
    relations: list[Relation] = []
    offset = 0
    for number, document in enumerate(documents):
        prefix = f"{number}."
        for entity in document.entities:
            entities.append(
                replace(
                    entity,
                    id=prefix + entity.id,
                    start=entity.start + offset,
                    end=entity.end + offset,
                    fragments=tuple((a + offset, b + offset) for a, b in entity.fragments),
                )
            )
        relations += [
            replace(relation, head=prefix + relation.head, tail=prefix + relation.tail)
            for relation in document.relations
        ]
        names.append(document.note.name)
        texts.append(document.note.text)
        offset += len(document.note.text) + len(separator)
    note = Note(name="+".join(names), text=separator.join(texts))
    return Document(note, tuple(entities), tuple(relations))
