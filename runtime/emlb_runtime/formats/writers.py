"""Writing documents: triples and documents as JSON lines, or a folder of brat pairs.

A JSON line goes out whole, in one write that is flushed; a brat file appears under its
name only when it is complete. A run that is killed leaves whole lines and whole files.
Files are readable by their owner only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, TextIO

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.records import Document, ErrorRecord, document_to_json, triple_to_json

from .brat import format_brat
from .files.atomic import make_folder, open_private, replace_file

FORMATS = ("triples", "documents", "brat")
"""The formats that open_writer knows."""

ERRORS_FILE = "errors.jsonl"
"""Where a brat folder keeps the notes that could not be extracted."""

_PLAIN_STEM = re.compile(r"\w(?:[\w ,+@=()-]|\.(?!\.))*(?<![ .])")
_STEM_BYTES = 200


class Writer(Protocol):
    """Takes documents and error records in turn; a context manager that closes itself."""

    def write(self, document: Document) -> None:
        """Write one note's entities and relations.

        Raises:
            DataError: if the format cannot hold the document; the next can be written.
        """

    def write_error(self, record: ErrorRecord) -> None:
        """Write what stands in place of a note that could not be extracted."""

    def close(self) -> None:
        """Close what the writer opened; a stream it was given stays open."""

    def __enter__(self) -> Self:
        """The writer itself."""

    def __exit__(self, *exception: object) -> None:
        """Close the writer."""


def open_writer(
    format: str,
    out: Path | TextIO,
    *,
    append: bool = False,
    redact_text: bool = False,
    keep_text: bool = False,
) -> Writer:
    """Open a writer for one of FORMATS.

    Args:
        format: ``triples`` (a line per relation), ``documents`` (a line per note) or
            ``brat`` (a pair of files per note).
        out: a file or an open stream for JSON lines; a folder for brat, which is made.
        append: continue an earlier output. Otherwise a file is written afresh, and a
            folder that already holds ``.ann`` files is refused.
        redact_text: leave the text of mentions out of JSON lines.
        keep_text: write the text of notes into documents.

    Raises:
        ConfigError: if the format is unknown, cannot be redacted, or the output cannot be
            opened.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown output format {format!r}; choose {', '.join(FORMATS)}")
    if format == "brat":
        if not isinstance(out, Path):
            raise ConfigError("the brat format needs a folder to write to, not a stream")
        if redact_text:
            raise ConfigError(
                "the brat format keeps every note beside its annotations, so that no text can "
                "be left out: choose triples or documents"
            )
        return _BratWriter(out, append)
    return _JsonWriter(_Lines(out, append), format, redact_text, keep_text)


def document_lines(
    format: str, document: Document, *, redact_text: bool = False, keep_text: bool = False
) -> bytes:
    """A document as the lines of a JSON format, in UTF-8; empty if it has no triple.

    Args:
        format: ``triples`` or ``documents``.
        document: the document.
        redact_text: leave the text of mentions out: types, offsets and scores remain.
        keep_text: write the note's own text, of which documents otherwise have the mentions.
    """
    values = _to_values(format, document, redact_text, keep_text)
    return "".join(_json_line(value, "utf-8") for value in values).encode("utf-8")


def error_line(record: ErrorRecord) -> bytes:
    """An error record as a line, in UTF-8."""
    return _json_line(_error_to_json(record), "utf-8").encode("utf-8")


def write_brat_pair(folder: Path, document: Document, *, durable: bool = False) -> tuple[int, int]:
    """Write a document's ``.txt`` and then its ``.ann`` file, each whole or not at all.

    Args:
        folder: an existing one.
        document: the document.
        durable: see ``files.atomic.replace_file``.

    Returns:
        The sizes of the two files in bytes.

    Raises:
        DataError: if the folder holds another note under this name, or brat cannot hold the
            document.
        OSError: if it cannot be written.
    """
    stem = brat_stem(document.note.name)
    annotations = format_brat(document).encode("utf-8", "surrogatepass")
    text = document.note.text.encode("utf-8", "surrogatepass")
    path = folder / f"{stem}.txt"
    # Compared on disk, not in memory: notes may be many, and a run may be resumed.
    if path.exists():
        if path.read_bytes() != text:
            raise DataError(
                f"{document.note.name}: {path} already holds another note; give the notes "
                "names that differ in more than .txt and capitals, or use another folder"
            )
    else:
        replace_file(path, text, durable=durable)
    replace_file(folder / f"{stem}.ann", annotations, durable=durable)
    return len(text), len(annotations)


def brat_stem(name: str) -> str:
    """The file name, without ending, that a note gets in a brat folder.

    A ``.txt`` ending is dropped and ``/`` becomes ``__``. A name that is not plain
    after that (an absolute path, ``..``, odd characters, very long) is made plain and
    gets a hash of the whole name, so that two notes do not meet in one file.
    """
    base = name.removesuffix(".txt").replace("\\", "/")
    flat = base.replace("/", "__")
    is_relative = all(part not in ("", ".", "..") for part in base.split("/"))
    if is_relative and "__" not in base and _PLAIN_STEM.fullmatch(flat) and _is_short(flat):
        return flat
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    cleaned = re.sub(r"[^\w-]+", "_", flat).strip("_") or "note"
    while not _is_short(cleaned):
        cleaned = cleaned[: len(cleaned) * 3 // 4]
    return f"{cleaned}-{digest}"


def _is_short(stem: str) -> bool:
    return len(stem.encode("utf-8")) <= _STEM_BYTES


def _to_values(
    format: str, document: Document, redact_text: bool, keep_text: bool
) -> list[dict[str, Any]]:
    """The JSON values of a document's lines."""
    if format == "triples":
        name = document.note.name
        values = [triple_to_json(name, triple) for triple in document.triples()]
        mentions = [value[side] for value in values for side in ("head", "tail")]
    else:
        values = [document_to_json(document, with_text=keep_text)]
        mentions = values[0]["entities"]
    if redact_text:
        for mention in mentions:
            del mention["text"]
    return values


def _error_to_json(record: ErrorRecord) -> dict[str, Any]:
    return {"note": record.note, "error": record.error}


def _json_line(value: dict[str, Any], encoding: str) -> str:
    """The value on one line, escaped if the encoding lacks one of its characters."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        line.encode(encoding)
    except UnicodeEncodeError:
        line = json.dumps(value, allow_nan=False)
    return line + "\n"


class _Lines:
    """JSON lines going to a file of ours or to a stream of the caller's."""

    def __init__(self, out: Path | TextIO, append: bool) -> None:
        self._file: BinaryIO | None = None
        self._stream: TextIO | None = None
        if not isinstance(out, Path):
            self._stream = out
            return
        try:
            descriptor = open_private(out, fresh=not append, follow=True)
            self._file = os.fdopen(descriptor, "ab" if append else "wb")
        except OSError as error:
            raise ConfigError(
                f"{out}: cannot be written ({error.strerror}); choose another output"
            ) from None

    def write(self, values: Iterable[dict[str, Any]]) -> None:
        """Write the values, a line each, all at once."""
        encoding = (self._stream.encoding if self._stream else None) or "utf-8"
        lines = "".join(_json_line(value, encoding) for value in values)
        if not lines:
            return
        if self._file is not None:
            self._file.write(lines.encode("utf-8"))
            self._file.flush()
        elif self._stream is not None:
            self._stream.write(lines)
            self._stream.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class _JsonWriter:
    """Triples or documents."""

    def __init__(self, lines: _Lines, format: str, redact_text: bool, keep_text: bool) -> None:
        self._lines = lines
        self._format = format
        self._redact_text = redact_text
        self._keep_text = keep_text

    def write(self, document: Document) -> None:
        values = _to_values(self._format, document, self._redact_text, self._keep_text)
        self._lines.write(values)

    def write_error(self, record: ErrorRecord) -> None:
        self._lines.write([_error_to_json(record)])

    def close(self) -> None:
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _BratWriter:
    """A folder with ``.txt`` and ``.ann`` of every note, and a file of the errors.

    It removes nothing, so the folder may already hold the notes. ``emlb-run`` has a writer of its
    own, which keeps a journal and may have to remove what it wrote, so it wants an empty folder.
    """

    def __init__(self, folder: Path, append: bool) -> None:
        self._folder = folder
        try:
            make_folder(folder)
            occupied = not append and next(folder.glob("*.ann"), None) is not None
        except OSError as error:
            raise ConfigError(
                f"{folder}: cannot be made ({error.strerror}); choose another folder"
            ) from None
        if occupied:
            raise ConfigError(
                f"{folder}: already holds .ann files, which would be overwritten; "
                "choose an empty folder"
            )
        self._errors = _Lines(folder / ERRORS_FILE, append)

    def write(self, document: Document) -> None:
        write_brat_pair(self._folder, document)

    def write_error(self, record: ErrorRecord) -> None:
        self._errors.write([_error_to_json(record)])

    def close(self) -> None:
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
