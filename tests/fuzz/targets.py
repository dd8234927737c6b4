"""One function of bytes for each reader: it returns, or something is wrong.

An input of two files is cut at the first ``SPLIT``, which no UTF-8 holds. The only failures
allowed are those that the readers promise; see ``checks``.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable
from pathlib import Path

from emlb.data.formats.anafora.parser import AnaforaParser
from emlb.data.formats.anafora.xml import RefusedXml, parse_annotations
from emlb.data.formats.detect import scan
from emlb.data.formats.n2c2 import scan_n2c2
from emlb.data.formats.share.lines import is_annotation, parse_rows, split_rows, year_of
from emlb_runtime.formats import format_brat, parse_brat, read_documents, read_mixture
from emlb_runtime.formats.brat import scan_brat_folder
from emlb_runtime.formats.noteevents import is_noteevents, read_noteevents
from emlb_runtime.formats.notes import DECODING_ERRORS, read_note
from emlb_runtime.formats.tables import NoteColumns, judge_table, read_table
from emlb_runtime.records import Note

from .checks import MARKER, check_document, check_record, check_report, collect

SPLIT = b"\xff\xff"
ENCODINGS = ("utf-8", "utf-16", "cp1252", "latin-1", "utf-7", "shift_jis", "ascii", "utf-32")

# Memory, where the system has a folder in it: a million files need no disk.
_MEMORY = Path("/dev/shm")
_folder = tempfile.TemporaryDirectory(
    prefix="emlb-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None
)
atexit.register(_folder.cleanup)
FOLDER = Path(_folder.name)


def _put(name: str, data: bytes) -> Path:
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _parts(data: bytes) -> tuple[bytes, bytes]:
    text, _, annotations = data.partition(SPLIT)
    return MARKER.encode() + text, annotations


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass" if len(data) % 2 else "replace")


def _decoded(data: bytes) -> tuple[str, str] | None:
    try:
        text, annotations = map(_text, _parts(data))
    except UnicodeDecodeError:
        return None
    return text, annotations


def fuzz_brat(data: bytes) -> None:
    """Annotations in memory; what was read is written and read back unchanged."""
    decoded = _decoded(data)
    if decoded is None:
        return
    text, annotations = decoded
    for document, report in collect(lambda: [parse_brat(text, annotations, name="n")]):
        check_document(document)
        check_report(report)
        assert parse_brat(text, annotations, name="n") == (document, report)
        for written in collect(lambda document=document: [format_brat(document)]):  # type: ignore[misc]
            again, _ = parse_brat(text, written, name="n")
            assert again.entities == document.entities
            assert again.relations == document.relations


def fuzz_brat_folder(data: bytes) -> None:
    """Two files side by side, in any bytes, as brat and as n2c2."""
    text, annotations = _parts(data)
    folder = _put("brat/n.txt", text).parent
    _put("brat/n.ann", annotations)
    for read in (scan_brat_folder, scan_n2c2):
        for document, report in collect(lambda read=read: read(folder)):  # type: ignore[misc]
            check_report(report)
            if document is not None:
                check_document(document)


def fuzz_documents(data: bytes) -> None:
    """The documents format, with and without the text at hand."""
    path = _put("documents.jsonl", data)
    texts = {"n": MARKER + " rash 😀 after amoxicillin"}
    for known in (texts, None):
        found = collect(lambda known=known: read_documents(path, texts=known))  # type: ignore[misc]
        for document, report in found:
            check_document(document, has_text=bool(document.note.text))
            check_report(report)


def fuzz_mixture(data: bytes) -> None:
    """The training mixture."""
    for document, _, report in collect(lambda: read_mixture(_put("mixture.jsonl", data))):
        check_document(document)
        check_report(report)


def fuzz_detect(data: bytes) -> None:
    """A file of which only the first byte of the input says how it is named."""
    ending = (".jsonl", ".csv", ".csv.gz", ".json")[data[0] % 4 if data else 0]
    for document, report in collect(lambda: scan(_put(f"any{ending}", data[1:]))):
        check_report(report)
        if document is not None:
            check_document(document, has_text=bool(document.note.text))


def fuzz_noteevents(data: bytes) -> None:
    """A table of notes; the first byte chooses how it is decoded."""
    first, rest = (data[0], data[1:]) if data else (0, b"")
    encoding = ENCODINGS[first % len(ENCODINGS)]
    errors = DECODING_ERRORS[first // 8 % len(DECODING_ERRORS)]
    path = _put("table.csv", rest)
    is_noteevents(path)
    rows = list(read_noteevents(path, encoding=encoding, errors=errors, name="table"))
    for item in rows:
        check_record(item)
    assert list(read_noteevents(path, encoding=encoding, errors=errors, name="table")) == rows


def fuzz_tables(data: bytes) -> None:
    """A table or JSON lines of any tool; the first byte chooses columns, name and decoding."""
    first, rest = (data[0], data[1:]) if data else (0, b"")
    encoding = ENCODINGS[first % len(ENCODINGS)]
    errors = DECODING_ERRORS[first // 8 % len(DECODING_ERRORS)]
    columns = NoteColumns("text", ("note_id", "")[first // 4 % 2])
    path = _put(f"other{('.csv', '.jsonl', '.dat')[first % 3]}", rest)
    for asked in (columns, None):
        verdict = judge_table(path, asked, by_name=path.suffix != ".dat")
        assert MARKER not in str(verdict)
    rows = list(read_table(path, columns, encoding=encoding, errors=errors, name="table"))
    for item in rows:  # what names a note is the column that the user chose
        assert isinstance(item, Note) or MARKER not in item.error
    ids = [item.name for item in rows if isinstance(item, Note)]
    assert len(ids) == len(set(ids)) or judge_table(path, columns, by_name=False) is not True
    assert list(read_table(path, columns, encoding=encoding, errors=errors, name="table")) == rows


def fuzz_anafora(data: bytes) -> None:
    """Anafora's XML over a text."""
    first, annotations = _parts(data)
    note = Note("n", first.decode("utf-8", "replace"))
    try:
        parsed = parse_annotations(annotations)
    except RefusedXml as refused:
        assert MARKER not in f"{refused} {refused.reason}"
        return
    assert MARKER not in repr(parsed)
    document, report = AnaforaParser(note, "n.xml").parse(parsed)
    check_document(document)
    check_report(report)


def fuzz_share(data: bytes) -> None:
    """Pipe-delimited lines of either year."""
    decoded = _decoded(data)
    if decoded is None:
        return
    text, annotations = decoded
    rows = split_rows(annotations)
    for row in rows:
        year_of(row.line)
        is_annotation(row.line)
    for year in (2013, 2014):
        document, report = parse_rows(Note("n", text), rows, year=year, file="n.pipe")
        check_document(document)
        check_report(report)


def fuzz_text(data: bytes) -> None:
    """A plain note in one of several encodings."""
    first, rest = (data[0], data[1:]) if data else (0, b"")
    encoding = ENCODINGS[first % len(ENCODINGS)]
    errors = DECODING_ERRORS[first // 8 % len(DECODING_ERRORS)]
    path = _put("note.txt", MARKER.encode(encoding) + rest)
    item = read_note(path, name="n", encoding=encoding, errors=errors)
    check_record(item)
    assert read_note(path, name="n", encoding=encoding, errors=errors) == item
    if encoding == "utf-8" and errors == "strict" and isinstance(item, Note):
        assert item.text.encode() == path.read_bytes()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "brat": fuzz_brat,
    "brat_folder": fuzz_brat_folder,
    "documents": fuzz_documents,
    "mixture": fuzz_mixture,
    "detect": fuzz_detect,
    "noteevents": fuzz_noteevents,
    "tables": fuzz_tables,
    "anafora": fuzz_anafora,
    "share": fuzz_share,
    "text": fuzz_text,
}
"""The readers by name; the extractor's target is made by ``extractor.make_target``."""
