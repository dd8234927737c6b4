"""A document as Anafora's XML, and what the XML could not hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape

from emlb_runtime.errors import DataError
from emlb_runtime.records import Document, Entity, Relation

from .xml import is_xml_name, short_ids

ENTITY_LOST = "mention of a type that XML cannot hold"
RELATION_LOST = "relation of a type that XML cannot hold"
ARGUMENT_LOST = "relation of a mention that was not written"
ATTRIBUTE_NAME_LOST = "attribute with a name that XML cannot hold"
ATTRIBUTE_VALUE_LOST = "attribute with a value that XML cannot hold"
ID_CHANGED = "id of a mention that is read back as another"
SCORE_LOST = "score or task of a mention or relation"
STATUS_LOST = "status of a document"

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN_ID = re.compile(r"T([0-9]{1,9})")
_LINK = re.compile(r"([TA]LINK)-(.+)", re.DOTALL)

# The time of saving is no fact about the annotations: the same document, the same bytes.
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<data>
    <info>
        <savetime>00:00:00 01-01-1970</savetime>
        <progress>completed</progress>
    </info>
    <schema path="./" protocol="file">temporal-schema.xml</schema>
    <annotations>
"""
_FOOT = """    </annotations>
</data>
"""


def is_xml_text(text: str) -> bool:
    """Whether XML 1.0 has every character of the text, escaped or not."""
    return _NOT_XML.search(text) is None


def format_anafora(document: Document, *, base: str, annotator: str) -> tuple[str, Counter[str]]:
    """The document as the content of an Anafora file.

    Args:
        document: the document.
        base: the document's name within ids.
        annotator: the annotator's name within ids.

    Returns:
        The XML, and how often each thing was lost, under this module's fixed sentences.

    Raises:
        DataError: if two mentions share an id or a relation names no mention.
    """
    known = {entity.id for entity in document.entities}
    if len(known) < len(document.entities):
        raise DataError(f"{document.note.name}: two mentions share an id; give each its own")
    lost: Counter[str] = Counter()
    entities = [entity for entity in document.entities if _is_label(entity.type)]
    lost[ENTITY_LOST] = len(document.entities) - len(entities)
    ids = _written_ids(entities, base, annotator)
    read_back = short_ids(ids.values())
    lost[ID_CHANGED] = sum(read_back[raw] != id for id, raw in ids.items())
    parts = [_HEAD]
    for entity in entities:
        spans = ";".join(f"{start},{end}" for start, end in entity.spans)
        properties = list(_writable(entity.attributes, lost))
        parts.append(_element("entity", ids[entity.id], entity.type, properties, spans))
    for number, relation in enumerate(document.relations, start=1):
        if not {relation.head, relation.tail} <= known:
            raise DataError(
                f"{document.note.name}: relation {number} names a mention that the document "
                "lacks; drop the relation or keep both of its mentions"
            )
        if not _is_label(relation.type):
            lost[RELATION_LOST] += 1
        elif not {relation.head, relation.tail} <= ids.keys():
            lost[ARGUMENT_LOST] += 1
        else:
            parts.append(_relation(relation, ids, f"{number}@r@{base}@{annotator}"))
    records: tuple[Entity | Relation, ...] = (*document.entities, *document.relations)
    lost[SCORE_LOST] = sum(record.score != 1 or record.task != "" for record in records)
    lost[STATUS_LOST] = int(document.status is not None)
    return "".join((*parts, _FOOT)), +lost


def _is_label(type: str) -> bool:
    return bool(type.strip()) and is_xml_text(type)


def _written_ids(entities: list[Entity], base: str, annotator: str) -> dict[str, str]:
    """What stands in the file for each id: ``T12`` in Anafora's shape, any other as it is.

    An id that XML cannot hold, or that another is already written as, gets a new number.
    """
    end = f"@e@{base}@{annotator}"
    wanted = {}
    for entity in entities:
        match = _PLAIN_ID.fullmatch(entity.id)
        wanted[entity.id] = match[1] + end if match else entity.id
    taken: dict[str, str] = {}
    for id, raw in wanted.items():
        if raw and is_xml_text(raw):
            taken.setdefault(raw, id)
    written = {}
    number = 0
    for id, raw in wanted.items():
        if taken.get(raw) != id:
            while (raw := f"{number}{end}") in taken:
                number += 1
            taken[raw] = id
        written[id] = raw
    return written


def _writable(attributes: Mapping[str, str], lost: Counter[str]) -> Iterator[tuple[str, str]]:
    for name, value in attributes.items():
        if not is_xml_name(name):
            lost[ATTRIBUTE_NAME_LOST] += 1
        elif not is_xml_text(value):
            lost[ATTRIBUTE_VALUE_LOST] += 1
        else:
            yield name, value


def _relation(relation: Relation, ids: Mapping[str, str], id: str) -> str:
    """The relation, its type in two where it is one of THYME's links."""
    match = _LINK.fullmatch(relation.type)
    kind = [("Type", match[2])] if match else []
    properties = [("Source", ids[relation.head]), *kind, ("Target", ids[relation.tail])]
    return _element("relation", id, match[1] if match else relation.type, properties)


def _element(
    kind: str, id: str, type: str, properties: list[tuple[str, str]], spans: str = ""
) -> str:
    parent = "TemporalEntities" if kind == "entity" else "TemporalRelations"
    fields = [("id", id), ("type", type), ("parentsType", parent)]
    if spans:
        fields.insert(1, ("span", spans))
    return "".join(
        (
            f"        <{kind}>\n",
            *(_line(12, name, text) for name, text in fields),
            "            <properties>\n",
            *(_line(16, name, text) for name, text in properties),
            "            </properties>\n",
            f"        </{kind}>\n",
        )
    )


def _line(indent: int, name: str, text: str) -> str:
    # A bare carriage return would be read back as a line feed.
    return f"{' ' * indent}<{name}>{escape(text, {chr(13): '&#13;'})}</{name}>\n"
