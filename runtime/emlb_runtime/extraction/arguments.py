"""What callers give an extractor, checked before any of it is extracted.

The messages name positions and types only: a value of a wrong type may be a note all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from emlb_runtime.records import ErrorRecord, Note


@dataclass(frozen=True)
class Unusable:
    """An item that is no note.

    Attributes:
        position: from 0.
        name: the note's, or the position.
        reason: what it is instead.
    """

    position: int
    name: str
    reason: str

    def to_record(self) -> ErrorRecord:
        """The record that stands in the output in place of the note."""
        return ErrorRecord(self.name, f"not extracted: {self.reason}")

    def to_error(self) -> TypeError:
        """The error of a caller that wants documents alone."""
        return TypeError(
            f"item {self.position} (counted from 0): {self.reason}; leave it out, or call "
            "extract_each, which gives an error record for it and goes on"
        )


def check_text(text: object) -> str:
    """The text of one note.

    Raises:
        TypeError: if it is no ``str``.
    """
    if isinstance(text, str):
        return text
    hint = "; extract_many takes Notes" if isinstance(text, Note) else _hint(text)
    raise TypeError(f"extract takes the text of one note as a str, not {describe(text)}{hint}")


def check_many(notes: object, caller: str) -> Iterable[object]:
    """Several notes, not looked at yet.

    Args:
        notes: what was given.
        caller: the method's name, for messages.

    Raises:
        TypeError: if it is a single note, a table, or nothing to iterate over.
    """
    if isinstance(notes, (str, bytes, bytearray, Note)):
        raise TypeError(
            f"{caller} takes many notes, and this is a single {type(notes).__name__}: put it into "
            "a list, or call extract"
        )
    if isinstance(notes, Mapping) or hasattr(notes, "columns"):
        raise TypeError(
            f"{caller} takes an iterable of texts or Notes, not {describe(notes)}: give the "
            "column or the values that hold the texts"
        )
    if not isinstance(notes, Iterable):
        raise TypeError(f"{caller} takes an iterable of texts or Notes, not {describe(notes)}")
    return notes


def name_notes(
    items: Iterable[object], *, records: bool = True
) -> Iterator[Note | ErrorRecord | Unusable]:
    """Texts as notes named by their position; what is no note as ``Unusable``.

    Args:
        items: looked at as they are needed.
        records: whether error records are taken; else they are unusable too.
    """
    for position, item in enumerate(items):
        if isinstance(item, ErrorRecord) and records:
            yield item
        elif isinstance(item, str):
            yield Note(str(position), item)
        elif not isinstance(item, Note):
            reason = f"{describe(item)} is neither a str nor a Note{_hint(item)}"
            yield Unusable(position, str(position), reason)
        elif not isinstance(item.text, str):
            name = item.name if isinstance(item.name, str) else str(position)
            reason = f"the Note's text is {describe(item.text)}, not a str{_hint(item.text)}"
            yield Unusable(position, name, reason)
        else:
            yield item


def describe(value: object) -> str:
    """What something is, without its value."""
    if value is None:
        return "None"
    if isinstance(value, float) and value != value:
        return "NaN"
    return f"a value of type {type(value).__name__}"


def _hint(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return " (an empty cell of a table?)"
    if isinstance(value, (bytes, bytearray)):
        return " (decode it first)"
    return ""
