"""The lines of an ``.ann`` file, read one by one into a document and a report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from emlb_runtime.formats.files.limits import ANNOTATIONS, Allowance, TooLarge
from emlb_runtime.records import Document, Entity, Note, Relation

from . import report as reasons
from ._offsets import Counting, Spans, choose_counting, fits
from .report import Problem, Report, check_spans, count_document, shown_id

_LINE_ID = re.compile(r"([TREAMN])[0-9]{1,9}")
_RELATION_ID = re.compile(r"R[0-9]{1,9}")
_SPAN = r"[0-9]{1,12} [0-9]{1,12}"
_MENTION = re.compile(rf"(\S+) ({_SPAN}(?:;{_SPAN})*)")
_COUNTED = {
    "E": "events",
    "N": "normalisations",
    "#": "comments",
    "*": "equivalences",
}


@dataclass(frozen=True, slots=True)
class _Line:
    """An annotation line cut at its first two tabs."""

    number: int
    kind: str
    id: str
    body: str
    surface: str | None


@dataclass(frozen=True, slots=True)
class _Mention:
    """A T line that is well formed; its offsets are as they were written."""

    line: _Line
    type: str
    spans: Spans


class BratParser:
    """Reads the lines of one file; lives for one call of parse_brat."""

    def __init__(self, note: Note, file: str) -> None:
        self.note = note
        self.file = file
        self.entities: dict[str, Entity] = {}
        self.attributes: dict[str, dict[str, str]] = {}
        self.triggers: dict[str, str] = {}
        self.relations: list[Relation] = []
        self.problems: list[Problem] = []
        self.remarks: list[Problem] = []
        self.allowance = Allowance()
        self.most = ANNOTATIONS.value
        self.counts: Counter[str] = Counter(dict.fromkeys(_COUNTED.values(), 0))

    def parse(self, annotations: str) -> tuple[Document, Report]:
        if annotations.count("\n") > self.most:
            raise TooLarge(ANNOTATIONS)
        lines = list(self.split(annotations))
        # Arguments may name later lines: mentions first, then triggers, then links.
        self.add_entities([line for line in lines if line.kind == "T"])
        events = {line.id: self.parse_event(line) for line in lines if line.kind == "E"}
        for line in lines:
            if line.kind == "R":
                self.add_relation(line)
            elif line.kind == "E":
                for role, argument in events[line.id]:
                    self.link(line, role, self.triggers[line.id], argument)
            elif line.kind in "AM":
                self.add_attribute(line)
        entities = tuple(
            replace(entity, attributes=self.attributes.get(id, {}))
            for id, entity in self.entities.items()
        )
        document = Document(self.note, entities, tuple(self.relations))
        if len(self.relations) > self.most:
            raise TooLarge(ANNOTATIONS)
        counts = {**count_document(document), **self.counts}
        return document, Report(counts, _by_line(self.problems), _by_line(self.remarks))

    def report(self, number: int, id: str, reason: str) -> None:
        """Add something that is not used."""
        self.problems.append(Problem(self.file, number, shown_id(id), reason))

    def remark(self, line: _Line, reason: str) -> None:
        """Add something that is used all the same."""
        self.remarks.append(Problem(self.file, line.number, shown_id(line.id), reason))

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

    def add_entities(self, lines: Sequence[_Line]) -> None:
        """Add the mentions, moved where all offsets of the file were counted in another way."""
        mentions = [mention for line in lines if (mention := self.parse_mention(line))]
        counting = choose_counting(
            self.note.text,
            [(m.spans, m.line.surface) for m in mentions if m.line.surface],
        )
        for mention in mentions:
            self.add_entity(mention, counting)

    def parse_mention(self, line: _Line) -> _Mention | None:
        match = _MENTION.fullmatch(line.body)
        if match is None:
            self.report(line.number, line.id, reasons.MALFORMED)
            return None
        pairs = (pair.split(" ") for pair in match[2].split(";"))
        return _Mention(line, match[1], tuple((int(start), int(end)) for start, end in pairs))

    def add_entity(self, mention: _Mention, counting: Counting) -> None:
        """Add a mention where its surface stands, or report why there is no such place."""
        line, text = mention.line, self.note.text
        places = [counting.move(mention.spans), mention.spans]
        usable = [spans for spans in places if check_spans(spans, len(text)) is None]
        reason = None if usable else check_spans(mention.spans, len(text))
        if usable and not self.allowance.take(usable[0]):
            reason = reasons.LONG_MENTIONS
        if reason is None and line.surface:
            usable = [spans for spans in usable if fits(text, spans, line.surface)]
            reason = None if usable else reasons.SURFACE_DIFFERS
        if reason is not None:
            self.report(line.number, line.id, reason)
            return
        if not line.surface:
            self.remark(line, reasons.NO_SURFACE)
        if usable[0] != mention.spans:
            self.remark(line, counting.reason)
        self.entities[line.id] = Entity.annotate(self.note, line.id, mention.type, usable[0])

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
            self.remark(line, reasons.EVENT_TYPE_DIFFERS)
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

    def add_attribute(self, line: _Line) -> None:
        """Attach a value, or the empty string for a flag, to a mention or an event's trigger."""
        name, _, rest = line.body.partition(" ")
        target, _, value = rest.partition(" ")
        id = self.triggers.get(target, target)
        if not name or not target:
            self.report(line.number, line.id, reasons.MALFORMED)
        elif id in self.entities:
            held = self.attributes.setdefault(id, {})
            if held.setdefault(name, value) != value:
                self.report(line.number, line.id, reasons.REPEATED_ATTRIBUTE)
        elif _RELATION_ID.fullmatch(target):
            self.report(line.number, line.id, reasons.RELATION_ATTRIBUTE)
        else:
            self.report(line.number, line.id, reasons.NO_ATTRIBUTE_TARGET)

    def link(self, line: _Line, type: str, head: str, tail: str) -> None:
        """Add a relation between mentions, or between the triggers of events."""
        head, tail = self.triggers.get(head, head), self.triggers.get(tail, tail)
        if head in self.entities and tail in self.entities:
            self.relations.append(Relation(type, head, tail))
        else:
            self.report(line.number, line.id, reasons.NO_ARGUMENT)


def _by_line(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.line))
