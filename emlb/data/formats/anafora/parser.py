"""Anafora's annotations, one by one, into a document and a report."""

from __future__ import annotations

import re
from collections.abc import Sequence

from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.limits import Allowance
from emlb_runtime.formats.report import Problem, Report, check_spans, count_document, shown_id
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation

from .xml import Annotation, Annotations, Property, short_ids

_SPAN = r"\s*[0-9]{1,12}\s*,\s*[0-9]{1,12}\s*"
_SPANS = re.compile(rf"{_SPAN}(?:;{_SPAN})*", re.ASCII)
_ANY_ID = re.compile(r"[0-9]{1,9}@[er]@.+@[^@]+", re.DOTALL)
_UNSAID = ("", "N/A")


class AnaforaParser:
    """Reads the annotations of one file; lives for one call of scan_anafora."""

    def __init__(self, note: Note, file: str) -> None:
        self.note = note
        self.file = file
        self.ids: dict[str, str] = {}
        self.known: set[str] = set()
        self.entities: dict[str, Entity] = {}
        self.relations: list[Relation] = []
        self.problems: list[Problem] = []
        self.remarks: list[Problem] = []
        self.allowance = Allowance()

    def parse(self, annotations: Annotations) -> tuple[Document, Report]:
        for line in annotations.strange:
            self.report(line, "", reasons.MALFORMED)
        entities = [item for item in annotations.items if item.kind == "entity"]
        self.ids = short_ids(item.only("id") for item in entities)
        usable = self.check_ids(annotations.items)
        # Arguments may name later elements: mentions first, then what links them.
        for item in usable:
            if item.kind == "entity":
                self.add_entity(item)
        for item in usable:
            if item.kind == "relation":
                self.add_relation(item)
        document = Document(self.note, tuple(self.entities.values()), tuple(self.relations))
        passed_over = sum(item.passed_over for item in annotations.items)
        counts = {**count_document(document), "elements_passed_over": passed_over}
        problems = sorted(self.problems, key=lambda problem: problem.line)
        return document, Report(counts, tuple(problems), tuple(self.remarks))

    def report(self, line: int, id: str, reason: str) -> None:
        """Add something that is not used."""
        self.problems.append(self.problem(line, id, reason))

    def problem(self, line: int, id: str, reason: str) -> Problem:
        """A problem or remark; of an id only the number and the kind may be shown."""
        shown = shown_id("@".join(id.split("@")[:2]))
        return Problem(self.file, line, shown, reason)

    def check_ids(self, items: Sequence[Annotation]) -> list[Annotation]:
        """The annotations with one id and one type, of which the id is new."""
        usable = []
        for item in items:
            id = item.only("id")
            if not id or not item.only("type").strip():
                self.report(item.line, id, reasons.MALFORMED)
            elif id in self.known:
                self.report(item.line, id, reasons.REPEATED_ID)
            else:
                usable.append(item)
            self.known.add(id)
        self.known.discard("")
        return usable

    def add_entity(self, item: Annotation) -> None:
        id = item.only("id")
        spans = _parse_spans(item.only("span"))
        reason = check_spans(spans, len(self.note.text))
        if reason is None and not self.allowance.take(spans):
            reason = reasons.LONG_MENTIONS
        if reason is not None:
            self.report(item.line, id, reason)
            return
        attributes: dict[str, str] = {}
        for property in item.properties:
            value = property.value
            if value is None:
                self.report(property.line, id, reasons.MALFORMED)
            elif attributes.setdefault(property.name, value) != value:
                self.report(property.line, id, reasons.REPEATED_ATTRIBUTE)
            elif self.is_id(value):
                self.remarks.append(self.problem(property.line, id, reasons.LINKING_ATTRIBUTE))
        self.entities[id] = Entity.annotate(
            self.note, self.ids[id], item.only("type"), spans, attributes=attributes
        )

    def add_relation(self, item: Annotation) -> None:
        id, type = item.only("id"), item.only("type")
        if any(property.value is None for property in item.properties):
            self.report(item.line, id, reasons.MALFORMED)
            return
        given = [property for property in item.properties if property.value]
        kind = next((property for property in given if property.name == "Type"), None)
        rest = [property for property in given if property is not kind]
        arguments = self.arguments(rest)
        if arguments is None:
            self.report(item.line, id, reasons.ARGUMENTS)
            return
        head, tail = (self.entities.get(property.value or "") for property in arguments)
        if head is None or tail is None:
            self.report(item.line, id, reasons.NO_ARGUMENT)
            return
        for property in rest:
            if property not in arguments and property.value not in _UNSAID:
                self.report(property.line, id, reasons.RELATION_ATTRIBUTE)
        whole = f"{type}-{kind.value}" if kind else type
        self.relations.append(Relation(whole, head.id, tail.id))

    def arguments(self, properties: Sequence[Property]) -> list[Property] | None:
        """The head and the tail: Source and Target, else the first two of exactly two ids."""
        named = [property for property in properties if property.name in ("Source", "Target")]
        ids = [
            property
            for property in properties
            if property in named or self.is_id(property.value or "")
        ]
        if len(ids) != 2:
            return None
        if not named:
            return ids
        ids.sort(key=lambda property: property.name)
        return ids if [property.name for property in ids] == ["Source", "Target"] else None

    def is_id(self, value: str) -> bool:
        """Whether the value names an annotation, be it of this file or of another."""
        return value in self.known or _ANY_ID.fullmatch(value) is not None


def _parse_spans(text: str) -> tuple[Fragment, ...]:
    """The fragments of ``1,5;8,12``; none if the text is of another shape."""
    if not _SPANS.fullmatch(text):
        return ()
    pairs = (pair.split(",") for pair in text.split(";"))
    return tuple((int(start), int(end)) for start, end in pairs)
