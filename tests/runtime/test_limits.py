"""What is too large is refused by name, before it is read whole."""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import parse_brat, read_brat, read_documents, read_mixture
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats._json_lines import parse_line
from emlb_runtime.formats.brat import scan_brat_folder
from emlb_runtime.formats.files import limits
from emlb_runtime.formats.files.limits import (
    MIB,
    NOTE,
    TooLarge,
    read_file,
    read_lines,
    read_stream,
)
from emlb_runtime.formats.noteevents import read_noteevents
from emlb_runtime.formats.notes import find_notes, read_note, read_notes
from emlb_runtime.records import ErrorRecord, Note
from tests.memory import peak_below

MARKER = "Zebedee"


def monster(path: Path, *, size: int = 10 * 2**30, start: bytes = b"") -> Path:
    """A file of that size that takes no place on the disk."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


def test_limits_by_default() -> None:
    assert NOTE.value == 64 * MIB > 50_000_000
    assert limits.ROW.value == 8_000_000
    assert len({limit.name for limit in limits.LIMITS}) == len(limits.LIMITS)


@pytest.mark.parametrize("value", ["", "0", "-1", "64MB", "1e3", "9999999999", "٣", " 5"])
def test_a_limit_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("EMLB_MAX_NOTE", value)
    with pytest.raises(ConfigError, match=r"EMLB_MAX_NOTE must be a whole number .* 64"):
        _ = NOTE.value


def test_a_limit_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "note.txt"
    path.write_bytes(b"x" * (MIB + 1))
    monkeypatch.setenv("EMLB_MAX_NOTE", "1")
    with pytest.raises(TooLarge, match=r"more than 1 MiB, .* split it, or set EMLB_MAX_NOTE high"):
        read_file(path, NOTE)
    monkeypatch.setenv("EMLB_MAX_NOTE", "2")
    assert len(read_file(path, NOTE)) == MIB + 1


def test_exactly_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMLB_MAX_NOTE", "1")
    data = b"ab" * (MIB // 2)
    path = tmp_path / "note.txt"
    path.write_bytes(data)
    assert read_file(path, NOTE) == read_stream(io.BytesIO(data), NOTE) == data
    with pytest.raises(TooLarge):
        read_stream(io.BytesIO(data + b"c"), NOTE)


class Endless(io.RawIOBase):
    """A stream of one byte that never ends; counts what is asked of it."""

    given = 0

    def read(self, size: int = -1) -> bytes:
        assert 0 <= size < 2**28
        self.given += size
        return b"x" * size

    def readline(self, size: int | None = -1) -> bytes:
        return self.read(-1 if size is None else size)


def test_a_stream_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMLB_MAX_NOTE", "3")
    monkeypatch.setenv("EMLB_MAX_LINE", "3")
    stream = Endless()
    with peak_below(8 * MIB), pytest.raises(TooLarge):
        read_stream(stream, NOTE)  # type: ignore[arg-type]
    assert stream.given < 4 * MIB
    with peak_below(8 * MIB), pytest.raises(TooLarge):
        list(read_lines(stream))  # type: ignore[arg-type]


def test_ten_gigabytes_of_note(tmp_path: Path) -> None:
    path = monster(tmp_path / "note.txt")
    with peak_below(MIB):
        record = read_note(path, name="note.txt")
    assert isinstance(record, ErrorRecord)
    assert record.error == (
        "it has more than 64 MiB, the most that is read: split it, or set EMLB_MAX_NOTE higher"
    )


def test_the_other_notes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monster(tmp_path / "b.txt")
    for name in ("a.txt", "c.txt"):
        (tmp_path / name).write_text("rash", encoding="utf-8")
    found = list(read_notes(find_notes([str(tmp_path)])))
    assert [isinstance(item, Note) for item in found] == [True, False, True]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x" * (MIB + 1))))
    monkeypatch.setenv("EMLB_MAX_NOTE", "1")
    (record,) = read_notes(find_notes(["-"]))
    assert isinstance(record, ErrorRecord) and "EMLB_MAX_NOTE" in record.error


def test_folders_without_end(tmp_path: Path) -> None:
    """A thousand levels would be more than Python has calls; the notes above are read."""
    (tmp_path / "/".join("d" * 300)).mkdir(parents=True)
    (tmp_path / "a.txt").write_text("rash", encoding="utf-8")
    note, record = read_notes(find_notes([str(tmp_path)]))
    assert isinstance(note, Note) and isinstance(record, ErrorRecord)
    assert record.error == "it lies deeper than 200 folders"


@pytest.mark.parametrize(
    ("large", "limit"), [("b.txt", NOTE), ("b.ann", limits.ANNOTATION_FILE)], ids=["txt", "ann"]
)
def test_brat(tmp_path: Path, large: str, limit: limits.Limit) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text(f"{MARKER} rash", encoding="utf-8")
        (tmp_path / f"{name}.ann").write_text("T1\tDisorder 8 12\trash\n", encoding="utf-8")
    monster(tmp_path / large)
    with peak_below(2 * MIB):
        found = list(scan_brat_folder(tmp_path))
    assert [document is not None for document, _ in found] == [True, False, True]
    (problem,) = found[1][1].problems
    assert problem.file == str(tmp_path / large)
    assert problem.reason == f"larger than is read: split it, or set {limit.name} higher"
    with pytest.raises(DataError, match=rf"{large}: it has more than 64 MiB, .*{limit.name}"):
        read_brat(tmp_path / "b.txt")


def test_too_many_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMLB_MAX_ANNOTATIONS", "3")
    lines = "".join(f"T{n}\tD 0 1\tx\n" for n in range(1, 5))
    with pytest.raises(TooLarge, match="more than 3 annotations, .* set EMLB_MAX_ANNOTATIONS"):
        parse_brat("x", lines, name="n")
    document, _ = parse_brat("x", lines.partition("T4")[0], name="n")
    assert len(document.entities) == 3
    event = "T1\tD 0 1\tx\nE1\tD:T1" + " Role:T1" * 4 + "\n"
    with pytest.raises(TooLarge):
        parse_brat("x", event, name="n")
    entity = {"id": "T1", "type": "D", "start": 0, "end": 1, "text": "x"}
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"note": "n", "entities": [entity] * 4}), encoding="utf-8")
    with pytest.raises(DataError, match=r"d\.jsonl:1: it has more than 3 annotations"):
        list(read_documents(path))
    mixed = {"corpus": "c", "doc": "d", "text": "x", "entities": [], "relations": [0] * 4}
    path.write_text(json.dumps(mixed), encoding="utf-8")
    with pytest.raises(DataError, match=r"d\.jsonl:1: it has more than 3 annotations"):
        list(read_mixture(path))


def test_mentions_of_the_whole_note_many_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mention is a copy of its text: a few bytes of offsets could ask for gigabytes."""
    monkeypatch.setenv("EMLB_MAX_MENTIONS", "250000")
    text = "x" * 100_000
    lines = "".join(f"T{n}\tD 0 100000\n" for n in range(1, 301))
    with peak_below(2_000_000):
        document, report = parse_brat(text, lines, name="n")
    assert len(document.entities) == 2
    assert report.summary()[reasons.LONG_MENTIONS] == 298
    spans = [["D", [[0, 100_000]]]] * 300
    mixed = {"corpus": "c", "doc": "d", "text": text, "entities": spans, "relations": []}
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(mixed), encoding="utf-8")
    ((document, _, report),) = read_mixture(path)
    assert len(document.entities) == 2
    assert report.summary() == {reasons.LONG_MENTIONS: 298}
    entities = [
        {"id": f"T{n}", "type": "D", "start": 0, "end": 100_000, "text": ""} for n in range(300)
    ]
    path.write_text(json.dumps({"note": "n", "text": text, "entities": entities}), encoding="utf-8")
    ((document, report),) = read_documents(path)
    assert len(document.entities) == 0  # their own texts are not the note's
    assert report.summary() == {reasons.SURFACE_DIFFERS: 2, reasons.LONG_MENTIONS: 298}


def test_fragments_of_a_broken_line_are_not_put_together_for_ever() -> None:
    """The surfaces of refused lines are compared too, to explain the offsets."""
    text = "é\r\n" + "x" * 300_000
    spans = ";".join(["0 300000"] * 5_000)
    with peak_below(20_000_000):
        _, report = parse_brat(text, f"T1\tD {spans}\tx\nT2\tD 3 4\ty\n", name="n")
    assert report.summary() == {reasons.DISORDERED: 1, reasons.SURFACE_DIFFERS: 1}


def test_a_line_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.jsonl"
    good = b'{"note": "n", "entities": []}\n'
    path.write_bytes(good + b'{"note": "' + MARKER.encode() + b"x" * MIB)
    monkeypatch.setenv("EMLB_MAX_LINE", "1")
    found = read_documents(path)
    next(found)
    with pytest.raises(
        DataError, match=r"d\.jsonl:2: it has more than 1 MiB, .*EMLB_MAX_LINE"
    ) as e:
        next(found)
    assert MARKER not in str(e.value)
    monster(path, start=good)
    found = read_documents(path)
    with peak_below(8 * MIB):
        next(found)
        with pytest.raises(DataError, match=r"d\.jsonl:2: it has more than 1 MiB"):
            next(found)


@pytest.mark.parametrize("depth", [1, 63])
def test_nesting_that_is_read(depth: int) -> None:
    assert parse_line(b'{"a": ' + b"[" * depth + b"]" * depth + b"}") is not None


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a":' * 65 + b"0" + b"}" * 65,
        b"[" * 1_000_000,
        b'{"a":[' * 500_000,
    ],
    ids=["lists", "objects", "unclosed", "mixed"],
)
def test_nesting_that_is_refused(line: bytes) -> None:
    with pytest.raises(DataError, match="nested deeper than 64, the most that is read"):
        parse_line(line)


@pytest.mark.parametrize("text", ["[" * 500, '{"' * 500, "\\[" * 500, '\\"[' * 500, "\\\\", '\\"'])
def test_brackets_in_strings_do_not_count(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"a": [text, text], "b": "," * 50}).encode()
    monkeypatch.setenv("EMLB_MAX_VALUES", "20")
    assert parse_line(line) == {"a": [text, text], "b": "," * 50}


def test_a_line_of_many_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMLB_MAX_VALUES", "1000")
    assert parse_line(b'{"a": [' + b"0," * 900 + b"0]}") is not None
    path = tmp_path / "d.jsonl"
    path.write_bytes(b'{"a": [' + b"[]," * 1_000_000 + b"0]}")
    with (
        peak_below(40_000_000),
        pytest.raises(DataError, match=r"d\.jsonl:1: it has more than 1,000 JSON values"),
    ):
        list(read_documents(path))


def test_a_zipped_bomb_costs_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMLB_MAX_ROW", "100000")
    path = tmp_path / "NOTEEVENTS.csv.gz"
    with gzip.open(path, "wb") as file:
        file.write(b'ROW_ID,SUBJECT_ID,TEXT\n1,2,a\n2,2,"')
        for _ in range(30):
            file.write(b"x" * MIB)
        file.write(b'"\n3,2,b\n')
    with peak_below(12 * MIB):
        found = [
            item.name if isinstance(item, Note) else item.error for item in read_noteevents(path)
        ]
    assert found == ["1", f"line 3: {reasons.ROW_TOO_LONG}", "3"]


def test_digits_without_end_are_no_row_start(tmp_path: Path) -> None:
    """Each digit of a broken row used to be tried as the first of an id."""
    header = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,TEXT\n"
    path = tmp_path / "NOTEEVENTS.csv"
    path.write_text(header + "1,2\n" + "1" * 400_000 + "\n3,2,3,x,rash\n", encoding="utf-8")
    started = time.process_time()
    names = [item.name for item in read_noteevents(path) if isinstance(item, Note)]
    assert time.process_time() - started < 5.0  # quadratic: more than a quarter of an hour
    assert names == []
    path.write_text(header + "1,2\n" + "1" * 400_000 + "\n3,2,3,2100,rash\n", encoding="utf-8")
    assert [item.name for item in read_noteevents(path) if isinstance(item, Note)] == ["3"]


def _brat(n: int) -> None:
    lines = (f"T{k}\tD {k} {k + 1}\tx\nE{k}\tD:T{k} R:T1\nA{k}\tN T{k} v\n" for k in range(1, n))
    document, report = parse_brat("x" * n, "".join(lines), name="n")
    assert (len(document.relations), report.problems) == (n - 1, ())


def _explained(n: int) -> None:
    lines = "".join(f"T{k + 1}\tD {3 * k} {3 * k + 1}\tx\n" for k in range(n))
    _, report = parse_brat("y\r\n" * n + "x", lines, name="n")
    assert len(report.problems) + len(report.remarks) == n


def _json(n: int) -> None:
    assert parse_line(b'{"a": [' + b'[{"b": "[,"}, 1e5], ' * n + b"0]}") is not None
    assert parse_line(b'{"a": "' + b'\\\\\\"' * n) is None


@pytest.mark.parametrize("work", [_brat, _explained, _json])
def test_time_is_linear(work: Callable[[int], None]) -> None:
    spent = []
    for n in (1_500, 12_000):
        taken = []
        for _ in range(3):
            started = time.process_time()
            work(n)
            taken.append(time.process_time() - started)
        spent.append(min(taken))
    assert spent[1] < 28 * spent[0] + 0.05


@pytest.mark.parametrize(("start", "end"), [(0.0, 1), (0, 1.0), (False, True), ("0", 1)])
def test_offsets_are_whole_numbers(tmp_path: Path, start: object, end: object) -> None:
    """Python takes 1.0 and true for 1, where whole numbers stand in the fragments beside them."""
    entity = {"id": "T1", "type": "D", "start": start, "end": end, "text": "x"}
    path = tmp_path / "d.jsonl"
    for more in ({}, {"text": "xy"}):
        value = {"note": "n", "entities": [{**entity, "fragments": [[0, 1]]}], **more}
        path.write_text(json.dumps(value), encoding="utf-8")
        ((document, report),) = read_documents(path)
        assert document.entities == ()
        assert report.summary() == {reasons.MALFORMED: 1}
