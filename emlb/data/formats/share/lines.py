"""The lines of ShARe/CLEF pipe files, and what of a document they become."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.limits import Allowance
from emlb_runtime.formats.report import Problem, Report, check_spans, count_document
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation

Year = Literal[2013, 2014]

DISORDER = "Disease_Disorder"
"""The one type of mention that the lines are about."""

CUI = "CUI"
"""The attribute that holds a concept of UMLS: of disorders, and of body locations."""

CUI_LESS = "CUI-less"
NO_CUE = "null"


@dataclass(frozen=True, slots=True)
class Slot:
    """An attribute slot of a disorder in the lines of 2014.

    Attributes:
        name: its two letters; the disorder's attribute that holds the normalised value.
        default: the value that says nothing.
        cue: type of the mentions that give the value away; empty for a slot without.
        relation: type of the relation from the disorder to such a mention.
    """

    name: str
    default: str
    cue: str = ""
    relation: str = ""

    @property
    def placeholder(self) -> str:
        """The disorder's attribute that holds a word standing where a cue's spans should."""
        return f"Cue_{self.name}"


SLOTS = (
    Slot("NI", "no", "Negation_Cue", "Disorder-Negation"),
    Slot("SC", "patient", "Subject_Cue", "Disorder-Subject"),
    Slot("UI", "no", "Uncertainty_Cue", "Disorder-Uncertainty"),
    Slot("CC", "false", "Course_Cue", "Disorder-Course"),
    Slot("SV", "unmarked", "Severity_Cue", "Disorder-Severity"),
    Slot("CO", "false", "Conditional_Cue", "Disorder-Conditional"),
    Slot("GC", "false", "Generic_Cue", "Disorder-Generic"),
    Slot("BL", "NULL", "Body_Location", "Disorder-Body_Location"),
    Slot("DT", "unknown"),
    Slot("TE", "none", "Temporal_Expression", "Disorder-Temporal_Expression"),
)
"""The slots in the order of the columns: a value, and a cue where the slot has one."""

BODY_LOCATION = next(slot for slot in SLOTS if slot.name == "BL")

_N_FIRST = 3
_N_2014 = _N_FIRST + sum(2 if slot.cue else 1 for slot in SLOTS)
_N_2015 = _N_2014 - 3  # SemEval-2015 task 14: the same columns without time
_SPAN = r"[0-9]{1,12}\s*-\s*[0-9]{1,12}"
_SPANS = re.compile(rf"\s*{_SPAN}(?:\s*,\s*{_SPAN})*\s*")
_PLACEHOLDER = re.compile(r"\*?[A-Za-z_]{0,32}\*?")
_OFFSET = re.compile(r"[0-9]{1,12}")
_HEADER = "DD_DocName"


@dataclass(frozen=True, slots=True)
class Row:
    """A line that is not blank.

    Attributes:
        number: its number, from 1.
        line: the line without its end.
    """

    number: int
    line: str = field(repr=False)

    @property
    def document(self) -> str:
        """What stands where the document's name should."""
        return self.line.partition("|")[0].strip()


def split_rows(text: str) -> list[Row]:
    """The lines of a file, with LF or CRLF ends, without blank ones and the header."""
    lines = text.removeprefix("\ufeff").split("\n")
    rows = (Row(number, line.removesuffix("\r")) for number, line in enumerate(lines, start=1))
    return [row for row in rows if row.line.strip() and row.document != _HEADER]


def year_of(line: str) -> Year | None:
    """Which year's format a line looks like; None for neither."""
    if re.match(r"[^|]+\|\|[^|]*\|\|", line):
        return 2013
    return 2014 if re.match(r"[^|]+\|[^|]", line) else None


def is_annotation(line: str) -> bool:
    """Whether a line can be nothing but an annotation: for files whose name does not tell."""
    if re.fullmatch(r"[^|]+\|\|[^|]+\|\|[^|]*(\|\|[0-9]+\|\|[0-9]+)+\s*", line):
        return True
    match = re.match(rf"[^|]+\|{_SPANS.pattern}\|", line)
    return match is not None and line.count("|") >= _N_2015 - 1


def is_placeholder(word: str) -> bool:
    """Whether a word may stand in a cue's column and is kept (``slot_default``, ``*``)."""
    return _PLACEHOLDER.fullmatch(word) is not None and not _is_no_cue(word)


def _is_no_cue(word: str) -> bool:
    return word.strip("*").casefold() in ("nul", NO_CUE) or not word


def parse_rows(note: Note, rows: list[Row], *, year: Year, file: str) -> tuple[Document, Report]:
    """Read the lines that belong to one note.

    Disorders come first, in file order, then cues in the order in which they are first named.
    """
    return _Parser(note, file).parse(rows, year)


class _Parser:
    """Reads the lines of one note; lives for one call of parse_rows."""

    def __init__(self, note: Note, file: str) -> None:
        self.note = note
        self.file = file
        self.disorders: list[Entity] = []
        self.links: list[tuple[int, Slot, tuple[Fragment, ...]]] = []
        self.problems: list[Problem] = []
        self.allowance = Allowance()

    def parse(self, rows: list[Row], year: Year) -> tuple[Document, Report]:
        for row in rows:
            if year == 2013:
                self.add_2013(row)
            else:
                self.add_2014(row)
        document = self.assemble()
        return document, Report(count_document(document), tuple(self.problems))

    def report(self, row: Row, reason: str) -> None:
        self.problems.append(Problem(self.file, row.number, "", reason))

    def add_2013(self, row: Row) -> None:
        columns = row.line.split("||")
        if not columns[-1].strip():
            columns.pop()
        if len(columns) < _N_FIRST + 2 or (len(columns) - _N_FIRST) % 2:
            self.report(row, reasons.WRONG_COLUMNS)
            return
        offsets = [offset.strip() for offset in columns[_N_FIRST:]]
        if not all(map(_OFFSET.fullmatch, offsets)):
            self.report(row, reasons.MALFORMED)
        elif columns[1].strip() != DISORDER:
            self.report(row, reasons.UNKNOWN_TYPE)
        else:
            numbers = list(map(int, offsets))
            spans = tuple(zip(numbers[::2], numbers[1::2], strict=True))
            self.add_disorder(row, spans, {CUI: columns[2]})

    def add_2014(self, row: Row) -> None:
        columns = row.line.split("|")
        if len(columns) in (_N_2014 + 1, _N_2015 + 1) and not columns[-1].strip():
            columns.pop()
        if len(columns) not in (_N_2014, _N_2015):
            self.report(row, reasons.WRONG_COLUMNS)
            return
        spans = parse_spans(columns[1])
        if spans is None:
            self.report(row, reasons.MALFORMED)
            return
        attributes = {CUI: columns[2]}
        cues: list[tuple[Slot, str]] = []
        rest = iter(columns[_N_FIRST:])
        for slot, value in zip(SLOTS, rest, strict=False):
            attributes[slot.name] = value
            if slot.cue:
                cues.append((slot, next(rest).strip()))
        for slot, cue in cues:
            if is_placeholder(cue):
                attributes[slot.placeholder] = cue
        if self.add_disorder(row, spans, attributes):
            for slot, cue in cues:
                self.add_cue(row, slot, cue)

    def add_disorder(
        self, row: Row, spans: tuple[Fragment, ...], attributes: dict[str, str]
    ) -> bool:
        reason = check_spans(spans, len(self.note.text))
        if reason is None and not self.allowance.take(spans):
            reason = reasons.LONG_MENTIONS
        if reason is not None:
            self.report(row, reason)
            return False
        id = f"T{len(self.disorders) + 1}"
        self.disorders.append(
            Entity.annotate(self.note, id, DISORDER, spans, attributes=attributes)
        )
        return True

    def add_cue(self, row: Row, slot: Slot, cue: str) -> None:
        if _PLACEHOLDER.fullmatch(cue):
            return
        spans = parse_spans(cue)
        reason = reasons.MALFORMED if spans is None else check_spans(spans, len(self.note.text))
        if spans and reason is None and not self.allowance.take(spans):
            reason = reasons.LONG_MENTIONS
        if spans is None or reason:
            self.report(row, reason or reasons.MALFORMED)
        else:
            self.links.append((len(self.disorders) - 1, slot, spans))

    def assemble(self) -> Document:
        """The document: one mention for all cues of one type and place."""
        cues: dict[tuple[str, tuple[Fragment, ...]], Entity] = {}
        concepts: dict[str, list[str]] = {}
        relations = []
        for index, slot, spans in self.links:
            cue = cues.get((slot.cue, spans))
            if cue is None:
                id = f"T{len(self.disorders) + len(cues) + 1}"
                cue = cues[slot.cue, spans] = Entity.annotate(self.note, id, slot.cue, spans)
            disorder = self.disorders[index]
            relations.append(Relation(slot.relation, disorder.id, cue.id))
            if slot is BODY_LOCATION:
                concepts.setdefault(cue.id, []).append(disorder.attributes[slot.name])
        located = (
            replace(cue, attributes=body_concept(concepts[cue.id])) if cue.id in concepts else cue
            for cue in cues.values()
        )
        return Document(self.note, (*self.disorders, *located), tuple(relations))


def body_concept(values: list[str]) -> dict[str, str]:
    """The attribute of a body location whose disorders have these values in their slot.

    It has their concept where all agree on one; a default is no concept.
    """
    value = values[0]
    placeholders = (BODY_LOCATION.default.casefold(), NO_CUE, "")
    if set(values) != {value} or value.strip(" *").casefold() in placeholders:
        return {}
    return {CUI: value}


def parse_spans(column: str) -> tuple[Fragment, ...] | None:
    """The spans of ``12-14,20-25``; None if it does not look like that."""
    if not _SPANS.fullmatch(column):
        return None
    numbers = list(map(int, _OFFSET.findall(column)))
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))
