"""JSON lines: the ``documents`` format, triples, and the training mixture.

A line that is not a JSON object of the right shape ends the reading with a DataError:
such files are written by programs, and a broken line means a broken file. A single
entity or relation that cannot be used is reported, and the rest is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emlb_runtime.errors import DataError
from emlb_runtime.formats.files.limits import TooLarge, read_lines
from emlb_runtime.records import Document

from ._json_lines import parse_line
from ._values import parse_document, parse_mixture, shape_error
from .files.compressed import open_unzipped
from .report import Report


def document_from_json(value: Mapping[str, Any], *, text: str | None = None) -> Document:
    """The document that document_to_json wrote.

    Args:
        value: the parsed JSON object.
        text: the note's text where the object leaves it out. Without it the document's
            note is empty and its entities carry the only text there is.

    Raises:
        DataError: if any part of it cannot be used; read_documents reports instead.
    """
    document, report = parse_document(value, "document", 1, {} if text is None else text)
    for problem in report.problems:
        raise DataError(f"{problem}; write the object with document_to_json")
    return document


def read_documents(
    path: Path, *, texts: Mapping[str, str] | None = None
) -> Iterator[tuple[Document, Report]]:
    """Read a file in the ``documents`` format, one line at a time.

    Args:
        path: the JSON-lines file, plain or compressed (gzip; Zstandard from Python 3.14
            on). An error record reads as a document without entities, and is reported.
        texts: the notes' texts by name, to check the offsets against and to give the
            documents; notes that it lacks have the text in their line, or none.

    Raises:
        DataError: if the file is unreadable, expands too far or a line is no document.
    """
    for number, value in _read_objects(path):
        yield parse_document(value, str(path), number, texts or {})


def read_mixture(
    path: Path, *, corpora: Sequence[str] | None = None
) -> Iterator[tuple[Document, str, Report]]:
    """Read a training mixture: several corpora in one schema, a document per line.

    A line holds ``corpus``, ``doc``, ``text``, ``entities`` (``[type, [[start, end],
    ...]]``, and behind that, if it has any, its attributes as an object) and ``relations``
    (``[type, head, tail]``, indices of entities).

    Args:
        path: the JSON-lines file, plain or compressed.
        corpora: the corpora to keep; all if None.

    Yields:
        The document, named ``corpus/doc`` because corpora share document names, with
        entities ``T1``, ``T2``, … in the line's order; its corpus; its report.

    Raises:
        DataError: if the file is unreadable, a line is malformed, or no line is of
            the corpora asked for.
    """
    found: set[str] = set()
    for number, value in _read_objects(path):
        corpus = value.get("corpus")
        if not isinstance(corpus, str):
            raise shape_error(path, number, '"corpus", "doc", "text", "entities", "relations"')
        found.add(corpus)
        if corpora is None or corpus in corpora:
            document, report = parse_mixture(value, corpus, path, number)
            yield document, corpus, report
    if corpora is not None and not found.intersection(corpora):
        raise DataError(
            f"{path}: no document of {', '.join(corpora) or 'no corpus'}; "
            f"the file holds {', '.join(sorted(found)) or 'nothing'}: choose from these"
        )


def _read_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with their line numbers; skips blank lines."""
    number = 0
    try:
        with open_unzipped(path) as file:  # binary: only "\n" ends a line
            for number, line in enumerate(read_lines(file), start=1):
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if line.strip():
                    yield number, _parse_object(line, path, number)
    except TooLarge as error:
        raise DataError(f"{path}:{number + 1}: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _parse_object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        value = parse_line(line)
    except DataError as error:
        raise DataError(f"{path}:{number}: {error}") from None
    if value is None:
        raise shape_error(path, number, "the members of its format")
    return value
