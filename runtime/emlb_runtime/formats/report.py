"""What a reader could not use, and how much it read.

Reasons are fixed sentences and ids are shown only when they look like ids, so that
no report can carry text of a note.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emlb_runtime.formats.files.limits import NOTE, Limit, TooLarge, read_file
from emlb_runtime.records import Document, Entity, Fragment

MALFORMED = "line is not a well-formed annotation"
REPEATED_ID = "id was used before in this document"
ZERO_LENGTH = "span is empty or runs backwards"
PAST_THE_END = "span goes past the end of the text"
DISORDERED = "fragments overlap or are out of order"
SURFACE_DIFFERS = "surface differs from the text at its offsets"
NO_SURFACE = "surface is missing, so that its offsets could not be checked"
NO_ARGUMENT = "relation argument is not a usable mention"
NO_TRIGGER = "event trigger is not a usable mention"
EVENT_TYPE_DIFFERS = "event type differs from the type of its trigger"
LENGTH_DIFFERS = "text differs in length from its offsets"
BAD_STATUS = "status is malformed"
FAILED_NOTE = "note has an error record instead of a document"
ERROR_TOO = "document has annotations and an error record"
RELATION_ATTRIBUTE = "attribute of a relation, which has no place for one"
NO_ATTRIBUTE_TARGET = "attribute belongs to no usable mention"
REPEATED_ATTRIBUTE = "attribute is given twice, with different values"
ARGUMENTS = "relation does not have exactly two arguments"
UNKNOWN_TYPE = "type is not one that the format defines"
UNKNOWN_SIGNATURE = "relation joins types that the format does not join by it"
CRLF_COUNTED_ONCE = "mention moved: offsets counted CRLF as one character"
CRLF_COUNTED_TWICE = "mention moved: offsets counted each line end as two characters"
UTF16_COUNTED = "mention moved: offsets counted in UTF-16 units"
BROKEN_XML = "not well-formed XML"
FORBIDDEN_XML = "XML with a document type or entity declaration, which is refused"
WRONG_COLUMNS = "line has the wrong number of columns"
NOT_UTF8 = "file is not UTF-8"
UNREADABLE = "file cannot be read"
NO_TEXT = "annotations without their text"
NO_ANNOTATIONS = "text without its annotations"
REPEATED_DOCUMENT = "document was read before under this name"
BROKEN_QUOTES = "row whose quotes are not paired, or not doubled inside a field"
ROW_TOO_LONG = "row is longer than EMLB_MAX_ROW allows, or a quote in it is never closed"
NO_ROW_ID = "row has no usable id"
REPEATED_ROW_ID = "row has the id of an earlier row"
EMPTY_TEXT = "row has no text"
NO_OBJECT = "line is not a JSON object"
NO_STRING = "text of the row is not a string"
NOT_DECODED = "text is not valid in the encoding asked for"
DAMAGED_GZIP = "compressed file ends early or is damaged: what follows could not be read"
NO_NOTE_COLUMNS = "header lacks ROW_ID (or note_id), SUBJECT_ID or TEXT in the encoding asked for"
NO_CHOSEN_COLUMN = "header lacks the column that holds the ids or the texts"
NO_FILTER_COLUMN = "header lacks the column that the rows are to be chosen by"
NO_ROWS = "table has a header and no rows"
NOT_READ_ON = "file was not read from here on"
UNFINISHED = "file of a run that has not finished was passed over"
DEEP_FOLDER = "folders are nested deeper than is looked into"
DEEP_JSON = "JSON nested deeper than is read"
DEEP_XML = "XML nested deeper than is read"
LONG_MENTIONS = "mentions of the document are longer in all than EMLB_MAX_MENTIONS allows"
WRONG_ROOT = "XML whose root element is not the format's"
LINKING_ATTRIBUTE = "attribute names another annotation: kept as the id only"
NOT_COMPLETED = "annotation file is not marked completed and was passed over"
OTHER_FILE = "another annotation file of the document was read, being first by name"
MISPLACED = "annotation file lies in no folder of its document's name"

_ID = re.compile(r"(?:[A-Z#]?[0-9]{1,9}(?:@[er])?|\*)")


@dataclass(frozen=True, slots=True)
class Problem:
    """One annotation that is not used, or is used with a remark.

    Attributes:
        file: the annotation file, as the caller named it.
        line: its line, from 1; 0 for the file as a whole.
        id: the annotation's id; empty if it has none that is safe to show.
        reason: one of this module's fixed sentences.
    """

    file: str
    line: int
    id: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        id = f" {self.id}:" if self.id else ""
        return f"{where}:{id} {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was read from one or more documents.

    Attributes:
        counts: how many documents, usable ``entities`` and ``relations``; how many
            ``discontinuous`` mentions and ``same_type_overlaps`` a sequence labeller
            cannot represent; ``attributes`` that entities hold; ``documents_lost``, of
            which nothing could be used; of brat also the lines of ``events``,
            ``normalisations``, ``comments`` and ``equivalences``.
        problems: what is not used, in file order. No document holds any of it.
        remarks: what is used although something about it is odd, or was changed, in file
            order.
    """

    counts: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    remarks: tuple[Problem, ...] = ()

    def summary(self) -> Counter[str]:
        """How often each reason occurs among the problems."""
        return Counter(problem.reason for problem in self.problems)

    def remarked(self) -> Counter[str]:
        """How often each reason occurs among the remarks."""
        return Counter(remark.reason for remark in self.remarks)

    def __add__(self, other: Report) -> Report:
        return Report.merge((self, other))

    @classmethod
    def merge(cls, reports: Iterable[Report]) -> Report:
        """One report for many documents, in the order given."""
        counts: Counter[str] = Counter()
        problems: list[Problem] = []
        remarks: list[Problem] = []
        for report in reports:
            counts.update(report.counts)
            problems.extend(report.problems)
            remarks.extend(report.remarks)
        return cls(counts=dict(counts), problems=tuple(problems), remarks=tuple(remarks))


def shown_id(id: object) -> str:
    """The id if it looks like one (``T12``, ``12@e``), else nothing: it might be note text."""
    return id if isinstance(id, str) and _ID.fullmatch(id) else ""


def unusable(file: object, reason: str, *, line: int = 0) -> Report:
    """The report of a document of which nothing can be used.

    Args:
        file: the file, as the caller named it.
        reason: one of this module's reasons.
        line: where in it, from 1; 0 for the file as a whole.
    """
    return Report({"documents_lost": 1}, (Problem(str(file), line, "", reason),))


def why_unreadable(path: Path, limit: Limit = NOTE) -> str | None:
    """Why a file cannot be read as UTF-8 within its limit; None if it can."""
    try:
        read_file(path, limit).decode("utf-8", "surrogatepass")
    except TooLarge as error:
        return error.reason
    except OSError:
        return UNREADABLE
    except UnicodeDecodeError:
        return NOT_UTF8
    return None


def check_spans(spans: Sequence[Fragment], length: int | None) -> str | None:
    """Why a mention's fragments cannot be used; None if they can.

    Args:
        spans: ``[start, end)`` pairs in code points.
        length: the length of the note; None where the text is not at hand.

    Returns:
        One of the reasons of this module.
    """
    last = 0
    reason = None if spans else MALFORMED
    for start, end in spans:
        if start >= end:
            return ZERO_LENGTH
        if length is not None and end > length:
            return PAST_THE_END
        if start < last:
            reason = DISORDERED
        last = end
    return reason


def count_document(document: Document) -> dict[str, int]:
    """The counts that every reader reports for a document it has read."""
    return {
        "documents": 1,
        "entities": len(document.entities),
        "relations": len(document.relations),
        "discontinuous": sum(bool(entity.fragments) for entity in document.entities),
        "same_type_overlaps": _count_overlaps(document.entities),
        "attributes": sum(len(entity.attributes) for entity in document.entities),
    }


def _count_overlaps(entities: Sequence[Entity]) -> int:
    """Mentions that share a character with an earlier one of their type."""
    reached: dict[str, int] = {}
    overlapping = set()
    fragments = sorted(
        (*span, index) for index, entity in enumerate(entities) for span in entity.spans
    )
    for start, end, index in fragments:
        type = entities[index].type
        if start < reached.get(type, 0):
            overlapping.add(index)
        reached[type] = max(end, reached.get(type, 0))
    return len(overlapping)
