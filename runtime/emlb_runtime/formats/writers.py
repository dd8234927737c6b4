"""Writing documents: triples and documents as JSON lines, or a folder of brat pairs.

A JSON line goes out whole, in one write that is flushed; a brat file appears under its
name only when it is complete. A run that is killed leaves whole lines and whole files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, TextIO

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.records import Document, ErrorRecord

from .brat import format_brat
from .jsonl import document_to_json, triple_to_json

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


def open_writer(format: str, out: Path | TextIO, *, append: bool = False) -> Writer:
    """Open a writer for one of FORMATS.

    Args:
        format: ``triples`` (a line per relation), ``documents`` (a line per note) or
            ``brat`` (a pair of files per note).
        out: a file or an open stream for JSON lines; a folder for brat, which is made.
        append: continue an earlier output. Otherwise a file is written afresh, and a
            folder that already holds ``.ann`` files is refused.

    Raises:
        ConfigError: if the format is unknown or the output cannot be opened.
    """
    if format not in FORMATS:
        raise ConfigError(f"unknown output format {format!r}; choose {', '.join(FORMATS)}")
    if format == "brat":
        if not isinstance(out, Path):
            raise ConfigError("the brat format needs a folder to write to, not a stream")
        return _BratWriter(out, append)
    lines = _triple_lines if format == "triples" else _document_lines
    return _JsonWriter(_Lines(out, append), lines)


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


def _triple_lines(document: Document) -> Iterable[dict[str, Any]]:
    return (triple_to_json(document.note.name, triple) for triple in document.triples())


def _document_lines(document: Document) -> Iterable[dict[str, Any]]:
    return (document_to_json(document),)


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
            self._file = out.open("ab" if append else "wb")
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
    """Triples or documents: whatever lines it is told to make of a document."""

    def __init__(
        self, lines: _Lines, to_values: Callable[[Document], Iterable[dict[str, Any]]]
    ) -> None:
        self._lines = lines
        self._to_values = to_values

    def write(self, document: Document) -> None:
        self._lines.write(self._to_values(document))

    def write_error(self, record: ErrorRecord) -> None:
        self._lines.write([{"note": record.note, "error": record.error}])

    def close(self) -> None:
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class _BratWriter:
    """A folder with ``.txt`` and ``.ann`` of every note, and the errors beside them."""

    def __init__(self, folder: Path, append: bool) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
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
        stem = brat_stem(document.note.name)
        annotations = format_brat(document).encode("utf-8", "surrogatepass")
        text = document.note.text.encode("utf-8", "surrogatepass")
        path = self._folder / f"{stem}.txt"
        # Compared on disk, not in memory: notes may be many, and a run may be resumed.
        if path.exists():
            if path.read_bytes() != text:
                raise DataError(
                    f"{document.note.name}: {path} already holds another note; give the notes "
                    "names that differ in more than .txt and capitals, or use another folder"
                )
        else:
            _replace(path, text)
        _replace(self._folder / f"{stem}.ann", annotations)

    def write_error(self, record: ErrorRecord) -> None:
        self._errors.write([{"note": record.note, "error": record.error}])

    def close(self) -> None:
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _replace(path: Path, data: bytes) -> None:
    """Put the file in place whole, or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)
