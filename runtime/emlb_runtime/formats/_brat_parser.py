"""The lines of an ``.ann`` file, read one by one into a document and a report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from emlb_runtime.records import Document, Entity, Fragment, Note, Relation

from . import report as reasons
from .report import Problem, Report, check_spans, count_document, shown_id

_LINE_ID = re.compile(r"([TREAMN])[0-9]{1,9}")
_SPAN = r"[0-9]{1,12} [0-9]{1,12}"
_MENTION = re.compile(rf"(\S+) ({_SPAN}(?:;{_SPAN})*)")
_COUNTED = {
    "E": "events",
    "A": "attributes",
    "M": "attributes",
    "N": "normalisations",
    "#": "comments",
    "*": "equivalences",
}


def surface_of(text: str, spans: tuple[Fragment, ...]) -> str:
    """The mention as a T line shows it: on one line, a space between fragments."""
    surface = " ".join(text[start:end] for start, end in spans)
    return surface.replace("\r", " ").replace("\n", " ")


@dataclass(frozen=True, slots=True)
class _Line:
    """An annotation line cut at its first two tabs."""

    number: int
    kind: str
    id: str
    body: str
    surface: str | None


class BratParser:
    """Reads the lines of one file; lives for one call of parse_brat."""

    def __init__(self, note: Note, file: str) -> None:
        self.note = note
        self.file = file
        self.entities: dict[str, Entity] = {}
        self.triggers: dict[str, str] = {}
        self.relations: list[Relation] = []
        self.problems: list[Problem] = []
        self.counts: Counter[str] = Counter(dict.fromkeys(_COUNTED.values(), 0))

    def parse(self, annotations: str) -> tuple[Document, Report]:
        lines = list(self.split(annotations))
        # Arguments may name later lines: mentions first, then triggers, then links.
        for line in lines:
            if line.kind == "T":
                self.add_entity(line)
        events = {line.id: self.parse_event(line) for line in lines if line.kind == "E"}
        for line in lines:
            if line.kind == "R":
                self.add_relation(line)
            elif line.kind == "E":
                for role, argument in events[line.id]:
                    self.link(line, role, self.triggers[line.id], argument)
        document = Document(self.note, tuple(self.entities.values()), tuple(self.relations))
        problems = sorted(self.problems, key=lambda problem: problem.line)
        return document, Report({**count_document(document), **self.counts}, tuple(problems))

    def report(self, number: int, id: str, reason: str) -> None:
        self.problems.append(Problem(self.file, number, shown_id(id), reason))

    def split(self, annotations: str) -> Iterator[_Line]:
        """The lines with a known, new id; counts those that carry no mention or link."""
        seen: set[str] = set()
        # Not splitlines(): a surface may hold separators that are no line ends in brat.
        for number, raw in enumerate(annotations.removeprefix("\ufeff").split("\n"), start=1):
            line = raw.removesuffix("\r")
            if not line.strip():
                continue
            id, _, rest = line.partition("\t")
            if line.startswith(("#", "*")):
                self.counts[_COUNTED[line[0]]] += 1
                continue
            match = _LINE_ID.fullmatch(id)
            if match is None or not rest:
                self.report(number, id, reasons.MALFORMED)
                continue
            if id in seen:
                self.report(number, id, reasons.REPEATED_ID)
                continue
            seen.add(id)
            kind = match[1]
            if kind in _COUNTED:
                self.counts[_COUNTED[kind]] += 1
            body, tab, surface = rest.partition("\t")
            yield _Line(number, kind, id, body, surface if tab else None)

    def add_entity(self, line: _Line) -> None:
        match = _MENTION.fullmatch(line.body)
        if match is None:
            self.report(line.number, line.id, reasons.MALFORMED)
            return
        pairs = (pair.split(" ") for pair in match[2].split(";"))
        spans = tuple((int(start), int(end)) for start, end in pairs)
        reason = check_spans(spans, len(self.note.text))
        if reason is not None:
            self.report(line.number, line.id, reason)
            return
        if line.surface is None:
            self.report(line.number, line.id, reasons.NO_SURFACE)
        elif _squeeze(line.surface) != _squeeze(surface_of(self.note.text, spans)):
            self.report(line.number, line.id, reasons.SURFACE_DIFFERS)
        self.entities[line.id] = Entity.annotate(self.note, line.id, match[1], spans)

    def parse_event(self, line: _Line) -> list[tuple[str, str]]:
        """Register the event's trigger and return its roles and arguments."""
        parts = [tuple(token.rsplit(":", 1)) for token in line.body.split()]
        if not parts or not all(len(part) == 2 and all(part) for part in parts):
            self.report(line.number, line.id, reasons.MALFORMED)
            return []
        (type, trigger), *roles = parts
        if trigger not in self.entities:
            self.report(line.number, line.id, reasons.NO_TRIGGER)
            return []
        if self.entities[trigger].type != type:
            self.report(line.number, line.id, reasons.EVENT_TYPE_DIFFERS)
        self.triggers[line.id] = trigger
        return [(re.sub(r"(?<=.)[0-9]+$", "", role), argument) for role, argument in roles]

    def add_relation(self, line: _Line) -> None:
        type, *tokens = line.body.split() or [""]
        parts = [tuple(token.rsplit(":", 1)) for token in tokens]
        if len(parts) != 2 or not all(len(part) == 2 and all(part) for part in parts):
            self.report(line.number, line.id, reasons.MALFORMED)
            return
        if (parts[0][0], parts[1][0]) == ("Arg2", "Arg1"):
            parts.reverse()
        self.link(line, type, parts[0][1], parts[1][1])

    def link(self, line: _Line, type: str, head: str, tail: str) -> None:
        """Add a relation between mentions, or between the triggers of events."""
        head, tail = self.triggers.get(head, head), self.triggers.get(tail, tail)
        if head in self.entities and tail in self.entities:
            self.relations.append(Relation(type, head, tail))
        else:
            self.report(line.number, line.id, reasons.NO_ARGUMENT)


def _squeeze(surface: str) -> str:
    """Tools differ in what they make of line ends and tabs inside a mention."""
    return re.sub(r"\s+", " ", surface)
