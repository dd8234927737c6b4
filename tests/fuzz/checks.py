"""What must hold of every input, whatever it is."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import TypeVar

from emlb_runtime.errors import DataError
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document, ErrorRecord, Note

T = TypeVar("T")

MARKER = "Zyxx qolimab"
"""Stands in every note; has a space, so that no id or label can hold it."""


def check_document(document: Document, *, has_text: bool = True) -> None:
    """Mentions lie on their text, fragments in order, and relations join mentions."""
    text, ids = document.note.text, [entity.id for entity in document.entities]
    assert len(set(ids)) == len(ids)
    for entity in document.entities:
        assert type(entity.start) is type(entity.end) is int
        assert 0 <= entity.start < entity.end
        assert (entity.start, entity.end) == (entity.spans[0][0], entity.spans[-1][1])
        bounds = [place for span in entity.spans for place in span]
        assert bounds == sorted(bounds)
        if has_text:
            assert text[entity.start : entity.end] == entity.text
        else:  # redacted output has offsets only
            assert not entity.text or len(entity.text) == entity.end - entity.start
        assert 0.0 <= entity.score <= 1.0
    for relation in document.relations:
        assert relation.head in ids and relation.tail in ids
        assert 0.0 <= relation.score <= 1.0


def check_report(report: Report) -> None:
    """No problem and no remark holds text of the note."""
    for problem in (*report.problems, *report.remarks):
        assert MARKER not in str(problem)
        assert MARKER not in repr(problem)


def check_record(record: Note | ErrorRecord) -> None:
    """No error record holds text of the note; a note's own repr neither."""
    assert MARKER not in repr(record)


def collect(read: Callable[[], Iterable[T]]) -> list[T]:
    """What a reader yields until it ends, or until it refuses without a word of text."""
    found: list[T] = []
    try:
        for item in read():
            found.append(item)
    except DataError as error:
        assert MARKER not in "".join(traceback.format_exception(error))
    return found
