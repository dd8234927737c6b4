"""Notes in the rows of tables and JSON lines of any tool."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.errors import ConfigError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats._note_rows import SeenIds
from emlb_runtime.formats.finding import TABLE_SUFFIXES
from emlb_runtime.formats.noteevents import NoteEvents, RowCounts
from emlb_runtime.formats.notes import NoteFile, find_notes, read_notes
from emlb_runtime.formats.tables import NoteColumns, read_table
from emlb_runtime.records import ErrorRecord, Note

MARKER = "Zebedee"
COLUMNS = NoteColumns("text", "note_id")

# The files of a report from the field: an id and a text; MIMIC's columns in other separators.
FIRST = (
    'Admission Date:  [**2101-3-4**]\r\n\r\nHPI: He said "it burns".\n'
    "No fever, chills.\n\tOn warfarin 5 mg daily.\n"
)
SECOND = "wq~\x01\x03\x05 \x07\x0b=;%&M-oM?M-=\x1b[1m bleeding after heparin"
THIRD = 'tabs\tand,commas,"quotes" and a rash after penicillin'
TEXTS = {"901": FIRST, "902": SECOND, "903": THIRD}


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def write_field_files(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    rows = [f"{id},{quoted(text)}\r\n" for id, text in TEXTS.items()]
    (folder / "id-text.csv").write_bytes(("note_id,text\r\n" + "".join(rows)).encode())
    header = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CATEGORY,ISERROR,TEXT"
    for name, mark in (("semicolons.csv", ";"), ("tabs.tsv", "\t")):
        rows = [
            mark.join((id, "5501", "7702", "2101-03-04", "Report", "", quoted(text))) + "\r\n"
            for id, text in TEXTS.items()
        ]
        content = header.replace(",", mark) + "\r\n" + "".join(rows)
        (folder / name).write_bytes(content.encode())
    values = [{"note_id": int(id), "text": text} for id, text in TEXTS.items()]
    (folder / "notes.jsonl").write_text("".join(json.dumps(v) + "\n" for v in values), "utf-8")


def read(path: Path, columns: NoteColumns = COLUMNS, **options: object) -> dict[str, str]:
    items = list(read_table(path, columns, **options))  # type: ignore[arg-type]
    assert all(isinstance(item, Note) for item in items)
    return {item.name: item.text for item in items if isinstance(item, Note)}


def told(path: Path, columns: NoteColumns = COLUMNS, **options: object) -> list[tuple[str, str]]:
    """Names of notes with their texts, and records with what they say."""
    found = []
    for item in read_table(path, columns, **options):  # type: ignore[arg-type]
        if isinstance(item, ErrorRecord):
            assert MARKER not in item.note + item.error
            found.append((item.note, item.error))
        else:
            found.append((item.name, item.text))
    return found


def refusal(path: str, columns: NoteColumns | None = None) -> str:
    (record,) = find_notes([path], columns=columns)
    assert isinstance(record, ErrorRecord)
    assert MARKER not in record.error
    return record.error


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_tables_of_the_field(folder: Path) -> None:
    write_field_files(Path())
    mimic = NoteColumns("TEXT", "ROW_ID")
    for name, columns in (
        ("id-text.csv", COLUMNS),
        ("semicolons.csv", mimic),
        ("tabs.tsv", mimic),
        ("notes.jsonl", COLUMNS),
    ):
        assert find_notes([name], columns=columns) == [NoteFile(name, is_table=True)]
        assert read(Path(name), columns) == TEXTS
        assert "not a note: its columns are " in refusal(name)
        assert f"such as --id-column {columns.id} --text-column {columns.text}" in refusal(name)


fields = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)


@given(
    st.lists(fields, min_size=1, max_size=6, unique_by=str.strip),
    st.lists(fields.filter(bool), min_size=6, max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["", "\ufeff"]),
    st.booleans(),
)
def test_any_field_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    ids: list[str],
    texts: list[str],
    mark: str,
    bom: str,
    zipped: bool,
) -> None:
    rows = list(zip(ids, texts, strict=False))
    folder = tmp_path_factory.mktemp("any")
    table = f"{bom}note_id{mark}text\n" + "".join(
        f"{quoted(id)}{mark}{quoted(text)}\n" for id, text in rows
    )
    lines = "".join(json.dumps({"text": text, "note_id": id}) + "\n" for id, text in rows)
    for name, content in (("t.csv", table), ("t.jsonl", bom + lines)):
        data = content.encode()
        (folder / name).write_bytes(gzip.compress(data) if zipped else data)
        found = told(folder / name)
        assert len(found) == len(rows)
        for (id, text), (name, said) in zip(rows, found, strict=True):
            usable = id.strip().isprintable() and id.strip()
            assert (name, said) == (id.strip(), text) if usable else "no usable id" in said


def test_ids_of_any_scalar_type(folder: Path) -> None:
    ids = ["a/b", 7, -3, 1.5, 174.0, True, None, [1], {}, "", " x ", 2**70, "7"]
    Path("n.jsonl").write_text(
        "".join(json.dumps({"note_id": id, "text": "Rash"}) + "\n" for id in ids), "utf-8"
    )
    assert [name for name, text in told(Path("n.jsonl")) if text == "Rash"] == [
        *("a/b", "7", "-3", "1.5", "174.0", "true", "x", str(2**70)),
    ]
    assert [said for said in told(Path("n.jsonl")) if said[1] != "Rash"] == [
        *((f"n.jsonl:{n}", f"line {n}: row has no usable id") for n in (7, 8, 9, 10)),
        ("n.jsonl:13", "line 13: row has the id of an earlier row"),
    ]


def test_what_is_wrong_with_rows_costs_themselves(folder: Path) -> None:
    Path("t.csv").write_text(
        f'note_id,text\n1,Rash\n2,{MARKER},x\n3\n4,\n1,{MARKER}\n,{MARKER}\n\n5,"a\nb"\n',
        encoding="utf-8",
    )
    counts = RowCounts()
    assert told(Path("t.csv"), counts=counts) == [
        ("1", "Rash"),
        ("t.csv:3", f"line 3: {reasons.WRONG_COLUMNS}"),
        ("t.csv:4", f"line 4: {reasons.WRONG_COLUMNS}"),
        ("4", f"t.csv, line 5: {reasons.EMPTY_TEXT}"),
        ("t.csv:6", f"line 6: {reasons.REPEATED_ROW_ID}"),
        ("t.csv:7", f"line 7: {reasons.NO_ROW_ID}"),
        ("5", "a\nb"),
    ]
    assert counts == RowCounts(notes=2)
    Path("q.csv").write_text(f'note_id,text\n1,Rash\n2,"{MARKER}\n3,Cough\n', encoding="utf-8")
    assert told(Path("q.csv")) == [
        ("1", "Rash"),
        ("q.csv:3", f"line 3 to the end: {reasons.BROKEN_QUOTES}"),
    ]


def test_what_is_wrong_with_lines_costs_themselves(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        b'{"note_id": 1, "text": "Rash"}',
        MARKER.encode(),
        b'["%s"]' % MARKER.encode(),
        b'{"note_id": 2, "text": null}',
        b'{"note_id": 3, "text": 7}',
        b'{"note_id": 4}',
        b"",
        b'{"note_id": 5, "text": "37 \xb0C"}',
        b'{"note_id": 6, "text": "\\ud800"}',
        b'{"note_id": 7, "text": "' + b"x" * 2**20 + b'"}',
        b'{"note_id": 8, "x": ' + b"[" * 99 + b"]" * 99 + b"}",
        b'{"note_id": 9, "text": "Cough", "more": [1, {}]}',
    ]
    Path("n.jsonl").write_bytes(b"\n".join(lines))
    monkeypatch.setenv("EMLB_MAX_LINE", "1")
    found = told(Path("n.jsonl"))
    assert (found[0], found[-1]) == (("1", "Rash"), ("9", "Cough"))
    assert [error.rpartition(": ")[2] for _, error in found[1:-1]] == [
        reasons.NO_OBJECT,
        reasons.NO_OBJECT,
        reasons.EMPTY_TEXT,
        reasons.NO_STRING,
        reasons.EMPTY_TEXT,
        reasons.NOT_DECODED,
        reasons.NOT_DECODED,
        "split it, or set EMLB_MAX_LINE higher",
        reasons.DEEP_JSON,
    ]
    assert [name for name, _ in told(Path("n.jsonl"), errors="replace")].count("5") == 1
    assert dict(told(Path("n.jsonl"), encoding="latin-1"))["5"] == "37 °C"


def test_without_ids_notes_are_named_by_their_lines(folder: Path) -> None:
    Path("t.csv").write_text('text\nRash\n"a\nb"\nRash\n""\n', encoding="utf-8")
    assert told(Path("t.csv"), NoteColumns("text")) == [
        ("t.csv:2", "Rash"),
        ("t.csv:3", "a\nb"),
        ("t.csv:5", "Rash"),
        ("t.csv:6", f"line 6: {reasons.EMPTY_TEXT}"),
    ]
    Path("n.ndjson").write_text('\n{"text": "Rash"}\n{"text": "Rash"}\n', encoding="utf-8")
    assert list(read(Path("n.ndjson"), NoteColumns("Text"))) == ["n.ndjson:2", "n.ndjson:3"]


def test_columns_differ_in_capitals(folder: Path) -> None:
    Path("t.csv").write_text("NOTE_ID,Text,text\n1,A,b\n", encoding="utf-8")
    assert read(Path("t.csv")) == {"1": "b"}
    assert read(Path("t.csv"), NoteColumns("Text", "Note_Id")) == {"1": "A"}
    assert "it has no single column TEXT; its columns" in refusal("t.csv", NoteColumns("TEXT"))
    Path("u.csv").write_text("note_id,text,text\n1,a,b\n", encoding="utf-8")
    assert "it has no single column text" in refusal("u.csv", COLUMNS)


def test_rows_are_chosen_by_mimics_columns(folder: Path) -> None:
    write_field_files(Path())
    mimic = NoteColumns("text", "row_id")
    table = Path("semicolons.csv")
    content = table.read_bytes().replace(b"903;5501", b"903;5502")
    table.write_bytes(content.replace(b"Report;;", b"Report;1;", 1))
    counts = RowCounts()
    assert list(read(table, mimic, counts=counts)) == ["902", "903"]
    assert counts == RowCounts(notes=2, marked_as_errors=1)
    assert list(read(table, mimic, wanted=NoteEvents(subjects=["5502"]))) == ["903"]
    assert list(read(table, mimic, wanted=NoteEvents(categories=["report "]))) == ["902", "903"]
    assert told(Path("id-text.csv"), wanted=NoteEvents(categories=["x"])) == [
        ("id-text.csv:1", f"line 1 to the end: {reasons.NO_FILTER_COLUMN}")
    ]
    Path("n.jsonl").write_text(
        '{"note_id": 1, "text": "a", "Subject_ID": 7}\n{"note_id": 2, "text": "b"}\n', "utf-8"
    )
    assert list(read(Path("n.jsonl"), wanted=NoteEvents(subjects=["7"]))) == ["1"]


def test_mimics_own_tables_need_no_columns(folder: Path) -> None:
    Path("N.csv").write_text("ROW_ID,SUBJECT_ID,TEXT\n5,7,Rash\n", encoding="utf-8")
    Path("t.csv").write_text("note_id,text\n1,Cough\n", encoding="utf-8")
    files = find_notes(["N.csv", "t.csv"], columns=COLUMNS)
    assert [item.name for item in read_notes(files, columns=COLUMNS) if isinstance(item, Note)] == [
        *("5", "1")
    ]
    assert read(Path("N.csv"), NoteColumns("text", "subject_id")) == {"7": "Rash"}


@pytest.mark.parametrize("suffix", TABLE_SUFFIXES)
def test_a_table_by_its_name_is_never_a_note(folder: Path, suffix: str) -> None:
    pack = gzip.compress if suffix.endswith(".gz") else bytes
    for content in (f"{MARKER},rash\n1,2\n", "", "a\n", f"A note on {MARKER}.\n", '{\n "a": 1\n}'):
        Path(f"n{suffix}").write_bytes(pack(content.encode()))
        assert refusal(f"n{suffix}").startswith("it is ")
        assert find_notes([f"*{suffix}"]) == find_notes([f"n{suffix}"])
        assert refusal(f"n{suffix}", COLUMNS).startswith("it is ")


def test_other_names_are_tables_if_they_have_the_columns(folder: Path) -> None:
    Path("export.dat").write_text("note_id|text\n1|Rash\n", encoding="utf-8")
    Path("note.txt").write_text("Rash, text and note_id\n", encoding="utf-8")
    Path("sub").mkdir()
    Path("sub/a.txt").write_text("note_id,text\n1,Rash\n", encoding="utf-8")
    files = find_notes(["export.dat", "note.txt", "sub"], columns=COLUMNS)
    assert files == [
        NoteFile("export.dat", is_table=True),
        NoteFile("note.txt"),
        NoteFile("sub/a.txt"),
    ]
    first, note, record = read_notes(files, columns=COLUMNS)
    assert (first, note) == (Note("1", "Rash"), Note("note.txt", "Rash, text and note_id\n"))
    assert isinstance(record, ErrorRecord)
    (record,) = read_notes(find_notes(["export.dat"]))
    assert isinstance(record, ErrorRecord)
    assert "a table separated by pipes" in record.error


def test_missing_files_are_left_to_the_reader(folder: Path) -> None:
    (record,) = find_notes(["gone.csv"], columns=COLUMNS)
    assert isinstance(record, ErrorRecord)


def test_a_damaged_end_and_a_bomb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"{n},{os.urandom(300).hex()}\n" for n in range(400))
    whole = gzip.compress(("note_id,text\n" + rows).encode())
    Path("t.csv.gz").write_bytes(whole[:-9])
    assert find_notes(["t.csv.gz"], columns=COLUMNS) == [NoteFile("t.csv.gz", is_table=True)]
    *read_notes, (name, said) = told(Path("t.csv.gz"))
    assert len(read_notes) > 300
    assert reasons.DAMAGED_GZIP in said
    line = json.dumps({"note_id": 1, "text": "x" * 60_000_000})
    Path("b.jsonl.gz").write_bytes(gzip.compress(line.encode()))
    assert "EMLB_MAX_EXPANSION" in told(Path("b.jsonl.gz"))[-1][1]
    assert "EMLB_MAX_EXPANSION" in refusal("b.jsonl.gz", COLUMNS)
    Path("d.jsonl.gz").write_bytes(whole[:20])
    assert refusal("d.jsonl.gz", COLUMNS) == f"it cannot be read: {reasons.DAMAGED_GZIP}"


def test_encodings(folder: Path) -> None:
    Path("t.csv").write_bytes("note_id,text\n1,37 °C\n2,Rash\n".encode("latin-1"))
    assert told(Path("t.csv")) == [("1", f"t.csv, line 2: {reasons.NOT_DECODED}"), ("2", "Rash")]
    assert read(Path("t.csv"), encoding="latin-1")["1"] == "37 °C"
    Path("u.csv").write_text("note_id;text\n1;37 °C\n", encoding="utf-16")
    assert find_notes(["u.csv"], columns=COLUMNS) == [NoteFile("u.csv", is_table=True)]
    assert read(Path("u.csv"), encoding="utf-16") == {"1": "37 °C"}
    with pytest.raises(ConfigError, match="unknown text encoding"):
        read(Path("t.csv"), encoding="utf-9")


def test_the_choice_of_columns() -> None:
    assert NoteColumns.choose(None, None) is None
    assert NoteColumns.choose(None, "t") == NoteColumns("t")
    with pytest.raises(ConfigError, match="--id-column needs --text-column"):
        NoteColumns.choose("id", None)


def peak(items: Iterable[object]) -> int:
    """Bytes held at the most while going through the items."""
    tracemalloc.start()
    try:
        for _ in items:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_memory_is_flat(folder: Path, name: str) -> None:
    text = "a line of a note " * 60
    with open(name, "w", encoding="utf-8") as file:
        if name == "t.csv":
            file.write("note_id,text\n")
        for n in range(2000):
            line = json.dumps({"note_id": n, "text": text}) if name != "t.csv" else f"{n},{text}"
            file.write(f"{line}\n")
    assert Path(name).stat().st_size > 2_000_000
    assert peak(read_table(Path(name), COLUMNS)) < 400_000
    assert peak(read_table(Path(name), NoteColumns("text"))) < 400_000


def test_ids_are_kept_small_and_apart() -> None:
    tracemalloc.start()
    seen = SeenIds()
    assert all(seen.add(f"visit {n}") for n in range(20_000))
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size < 33 * 20_000
    assert not any(seen.add(f"visit {n}") for n in range(0, 20_000, 7))
    assert seen.add("visit 20000")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_with_a_tables_name_is_no_note(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "notes.csv")
    (record,) = find_notes([str(tmp_path / "notes.csv")])
    assert isinstance(record, ErrorRecord)
    assert "save it as a file first" in record.error
