"""MIMIC's tables of notes are streamed exactly, and a broken row costs itself."""

from __future__ import annotations

import csv
import gzip
import io
import os
import random
import re
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.errors import ConfigError
from emlb_runtime.formats import _csv_rows
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats._csv_rows import BrokenRow
from emlb_runtime.formats.noteevents import (
    NoteEvents,
    RowCounts,
    is_noteevents,
    read_noteevents,
    scan_noteevents,
)
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.records import ErrorRecord, Note

MARKER = "Zebedee"
MIMIC_III = (
    '"ROW_ID","SUBJECT_ID","HADM_ID","CHARTDATE","CHARTTIME","STORETIME",'
    '"CATEGORY","DESCRIPTION","CGID","ISERROR","TEXT"\n'
)
MIMIC_IV = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"


def row(
    id: int, text: str = "text", *, category: str = "Nursing", subject: int = 7, error: str = ""
) -> str:
    """A row as PhysioNet writes it: strings quoted, numbers and dates not."""
    quoted = text.replace('"', '""')
    times = "2150-01-02,2150-01-02 10:30:00,2150-01-02 10:31:00"
    return f'{id},{subject},100001,{times},"{category}","Report",15,{error},"{quoted}"\n'


def write(folder: Path, *rows: str, header: str = MIMIC_III, name: str = "NOTEEVENTS.csv") -> Path:
    """A table in a file, with its line ends as they are."""
    path = folder / name
    path.write_bytes((header + "".join(rows)).encode("utf-8", "surrogateescape"))
    return path


def read(path: Path, **options: object) -> dict[str, str]:
    """The notes of a table without a broken row, texts by name."""
    items = list(read_noteevents(path, **options))  # type: ignore[arg-type]
    assert all(isinstance(item, Note) for item in items)
    return {item.name: item.text for item in items if isinstance(item, Note)}


def found(path: Path, **options: object) -> list[str | tuple[int, int, str, str]]:
    """Names of notes and what there is of broken rows; no message may show a note's text."""
    found: list[str | tuple[int, int, str, str]] = []
    for item in scan_noteevents(path, **options):  # type: ignore[arg-type]
        if isinstance(item, Note):
            found.append(item.name)
        else:
            found.append((item.first, item.last, item.id, item.reason))
    for record in read_noteevents(path, **options):  # type: ignore[arg-type]
        if isinstance(record, ErrorRecord):
            assert MARKER not in record.note + record.error
            assert "NOTEEVENTS.csv" in record.note + record.error
            assert "line" in record.error
    return found


def test_a_text_is_exactly_its_field(tmp_path: Path) -> None:
    texts = ['He said "no".\r\n\r\n  BP 120/80,\n', '""', "\n", "a\rb\0c\u2028\x85", "𝒳 é", " "]
    path = write(tmp_path, *(row(number, text) for number, text in enumerate(texts)))
    assert list(read(path).values()) == texts


def test_mimic_iv(tmp_path: Path) -> None:
    rows = (
        '10000032-DS-21,10000032,22595853,DS,21,2180-05-07 00:00:00,,"\xa0\nName"\n',
        "10000032-RR-14,10000032,,RR,14,2180-05-06 21:19:00,,one line\n",
    )
    path = write(tmp_path, *rows, header=MIMIC_IV)
    assert read(path) == {"10000032-DS-21": "\xa0\nName", "10000032-RR-14": "one line"}
    assert list(read(path, categories=["rr"])) == ["10000032-RR-14"]


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("text,Subject_Id,row_id\n", '"a\nb",7,5\n'),
        ("\ufeffROW_ID,SUBJECT_ID,TEXT\r\n", '5,7,"a\nb"\r\n'),
        ('\ufeff"ROW_ID","SUBJECT_ID","TEXT"\n', '"5","7","a\nb"'),
        (",ROW_ID,SUBJECT_ID,HADM_ID,TEXT\n", '0,5,7,1.0,"a\nb"\n'),
        ("Unnamed: 0,SUBJECT_ID,ROW_ID,TEXT\n", '0,7.0,5.0,"a\nb"\n\n'),
        ("ROW_ID, SUBJECT_ID , TEXT\r", '5,7,"a\nb"\r'),
    ],
)
def test_headers_differ(tmp_path: Path, header: str, line: str) -> None:
    path = write(tmp_path, line, header=header)
    assert is_noteevents(path)
    assert read(path, subjects=["7"]) == {"5": "a\nb"}


def test_gzip_is_known_by_content(tmp_path: Path) -> None:
    plain = write(tmp_path, row(1, "a\r\nb"), row(2))
    for name in ("N.csv.gz", "N.csv"):
        path = tmp_path / name
        data = plain.read_bytes()  # in two members, as some tools write it
        path.write_bytes(gzip.compress(data[:200]) + gzip.compress(data[200:]))
        assert is_noteevents(path)
        assert read(path) == {"1": "a\r\nb", "2": "text"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"A note, with TEXT and SUBJECT_ID.\n",
        b"note_id,subject_id,field_name,field_value,field_ordinal\n",
        b'"ROW_ID","SUBJECT_ID","GENDER","DOB"\n',
        b"ROW_ID,SUBJECT_ID,TEXT,TEXT\n",
        b'ROW_ID,SUBJECT_ID,"TEXT\n',
        b"ROW_ID;SUBJECT_ID;TEXT\n",
        b"\xff\xfe",
        b"\x1f\x8b",
        gzip.compress(MIMIC_III.encode(), mtime=0)[:30],
        gzip.compress(b"x" * 9, mtime=0) + b"\0\1",
        b"x" * 200_000,
    ],
)
def test_other_files_are_no_tables(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "NOTEEVENTS.csv"
    path.write_bytes(content)
    assert not is_noteevents(path)


def test_what_is_no_file_is_no_table(tmp_path: Path) -> None:
    assert not is_noteevents(tmp_path)
    assert not is_noteevents(tmp_path / "gone.csv")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        assert not is_noteevents(tmp_path / "pipe.csv")


def test_rows_are_chosen_and_counted(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        row(1, category="Physician "),
        row(2, category="Nursing/other"),
        row(3, category="physician", subject=8),
        row(4, category="Physician ", error="1"),
        row(5, category="ECG"),
    )
    counts = RowCounts()
    assert list(read(path, categories=["Physician"], subjects=["7"], counts=counts)) == ["1"]
    assert counts == RowCounts(notes=1, not_wanted=3, marked_as_errors=1)
    assert list(read(path, categories=["ecg ", "PHYSICIAN"])) == ["1", "3", "5"]
    assert list(read(path, subjects=[" 8"])) == ["3"]
    assert read(path, subjects=["70"]) == {}
    assert list(read(path, with_errors=True)) == ["1", "2", "3", "4", "5"]


def test_errors_are_what_the_flag_says(tmp_path: Path) -> None:
    flags = ("", "0", "1", "1.0", "0.0")
    path = write(tmp_path, *(row(number, error=flag) for number, flag in enumerate(flags)))
    assert list(read(path)) == ["0", "1", "4"]


def test_a_filter_needs_its_column(tmp_path: Path) -> None:
    path = write(tmp_path, "1,2,a\n", header="ROW_ID,SUBJECT_ID,TEXT\n")
    (item,) = scan_noteevents(path, wanted=NoteEvents(categories=["ECG"]))
    assert item == BrokenRow(1, 0, reasons.NO_FILTER_COLUMN)


def test_what_is_no_table_is_one_record(tmp_path: Path) -> None:
    path = write(tmp_path, f"{MARKER}\n", header="A note.\n")
    assert found(path) == [(1, 0, "", reasons.NO_NOTE_COLUMNS)]
    assert found(write(tmp_path)) == [(1, 1, "", reasons.NO_ROWS)]
    assert found(tmp_path / "NOTEEVENTS.csv.gone") == [(1, 0, "", reasons.UNREADABLE)]


BROKEN = {
    "too few columns": f'2,7,"{MARKER}\nb"\n',
    "too many columns": row(2, MARKER).replace('"Report"', f"{MARKER}, {MARKER}"),
    "never closed": row(2, f"{MARKER}\n2 mg\n").removesuffix('"\n') + "\n",
    "never closed, one line": row(2, MARKER).removesuffix('"\n') + "\n",
    "an inch": row(2, f"{MARKER} 5'10@ tall\nand, so on\n").replace("@", '"'),
    "quotes not doubled": row(2, f"{MARKER} @yes@ no").replace("@", '"'),
    "closed and opened": row(2, f"{MARKER}@, @no\n").replace("@", '"'),
    "opened in front": '"' + row(2, f"{MARKER}\nd"),
    "cut off": row(2, f"{MARKER}\nd")[:-8] + "\n",
    "stray lines": f"{MARKER}\n\n,{MARKER}\n",
    "no row at all": '"\n',
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_row_costs_itself(tmp_path: Path, broken: str, end: str) -> None:
    lines = [row(1, "a\nb\n"), broken, row(3, 'c "d"\n\ne'), row(4)]
    path = write(tmp_path, *(line.replace("\n", end) for line in lines))
    first, problem, *rest = found(path)
    assert (first, rest) == ("1", ["3", "4"])
    assert isinstance(problem, tuple)
    start = 2 + lines[0].count("\n")
    assert problem[:2] == (start, start + broken.count("\n") - 1)
    assert problem[3] in (reasons.WRONG_COLUMNS, reasons.BROKEN_QUOTES)


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_last_row_is_reported(tmp_path: Path, broken: str) -> None:
    for last in (broken, broken.removesuffix("\n")):
        first, *problems = found(write(tmp_path, row(1), last))
        assert first == "1"
        assert problems
        assert not any(isinstance(problem, str) for problem in problems)


def test_a_text_whose_quote_is_never_opened_ends_at_its_line(tmp_path: Path) -> None:
    unopened = row(2, f"a\n{MARKER}\n\nd").replace('"a\n', "a\n")
    path = write(tmp_path, row(1), unopened, row(3))
    # The first line is a whole row; the record says that the lines below are none.
    assert found(path) == ["1", "2", (4, 6, "", reasons.WRONG_COLUMNS), "3"]


def test_a_row_without_id_or_text(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        row(1).replace("1,", ",", 1),
        row(2, ""),
        row(3).replace("3,", f"{MARKER},", 1),
        row(4).replace("4,", f"4 {MARKER},", 1),
        row(5).replace("5,", "..,", 1),
        row(6),
    )
    assert found(path) == [
        (2, 2, "", reasons.NO_ROW_ID),
        (3, 3, "2", reasons.EMPTY_TEXT),
        *((line, line, "", reasons.NO_ROW_ID) for line in (4, 5, 6)),
        "6",
    ]
    first, second, *_ = read_noteevents(path, name="N.csv", counts=(counts := RowCounts()))
    assert first == ErrorRecord("N.csv:2", f"line 2: {reasons.NO_ROW_ID}")
    assert second == ErrorRecord("2", f"N.csv, line 3: {reasons.EMPTY_TEXT}")
    assert counts == RowCounts(notes=1)


def test_a_quote_in_an_unquoted_field_is_a_character(tmp_path: Path) -> None:
    header = "ROW_ID,SUBJECT_ID,DESCRIPTION,TEXT\n"
    path = write(tmp_path, '1,7,5" tube,"a\nb"\n', '2,7,5" tube,c\n', "3,7,,d\n", header=header)
    # The first spans lines, so its end cannot be known; the second does not.
    assert found(path) == [(2, 3, "", reasons.BROKEN_QUOTES), "2", "3"]


def test_a_quote_that_swallows_the_rest_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = "ROW_ID,SUBJECT_ID,TEXT\n"
    rows = [f"{number},7,no quote in here\n" for number in range(3, 40)]
    path = write(tmp_path, "1,7,a\n", f'2,7,"{MARKER}\n', *rows, header=plain)
    expected = [str(number) for number in range(3, 40)]
    assert found(path) == ["1", (3, 3, "", reasons.BROKEN_QUOTES), *expected]
    monkeypatch.setenv("EMLB_MAX_ROW", "100")
    assert found(path) == ["1", (3, 3, "", reasons.ROW_TOO_LONG), *expected]


def test_a_text_over_the_limit_costs_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMLB_MAX_ROW", "1000")
    monkeypatch.setattr(_csv_rows, "_PIECE", 64)
    long = f'{MARKER} ""\n' * 500
    path = write(tmp_path, row(1, "x" * 900), row(2, long), row(3), row(4, "x" * 5000), row(5))
    problems = [(3, 503, "", reasons.ROW_TOO_LONG), (505, 505, "", reasons.ROW_TOO_LONG)]
    assert found(path) == ["1", problems[0], "3", problems[1], "5"]


def test_without_a_known_start_reading_ends_at_an_unclosed_quote(tmp_path: Path) -> None:
    header = "TEXT,ROW_ID,SUBJECT_ID\n"
    path = write(tmp_path, '"a\nb",1,7\n', "c,2\n", "d,3,7\n", '"e,4,7\n', "f,5,7\n", header=header)
    assert found(path) == [
        *("1", (4, 4, "", reasons.WRONG_COLUMNS), "3", (6, 0, "", reasons.BROKEN_QUOTES))
    ]


texts = st.text(
    st.one_of(st.sampled_from('",\r\n a'), st.characters(exclude_categories=["Cs", "Nd"])),
    min_size=1,
    max_size=30,
)


@given(
    texts=st.lists(texts, min_size=1, max_size=5), quoting=st.sampled_from([1, 2]), data=st.data()
)
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    texts: Sequence[str],
    quoting: int,
    data: st.DataObject,
) -> None:
    out = io.StringIO(newline="")
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    writer = csv.writer(out, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    columns = ["ROW_ID", "SUBJECT_ID", "HADM_ID", "CATEGORY", "TEXT"]
    writer.writerow(columns)
    for number, text in enumerate(texts):
        writer.writerow([number, 7, "", "ECG", text])
    path = tmp_path_factory.getbasetemp() / "NOTEEVENTS.csv"
    path.write_bytes(out.getvalue().encode())
    assert list(read(path).values()) == list(texts)


@given(
    texts=st.lists(texts, min_size=3, max_size=5),
    victim=st.integers(0, 4),
    place=st.integers(0, 200),
    added=st.sampled_from(['"', "", ",", "\n", '",', '""']),
)
def test_damage_to_one_row_stays_with_it(
    tmp_path_factory: pytest.TempPathFactory,
    texts: Sequence[str],
    victim: int,
    place: int,
    added: str,
) -> None:
    rows = [row(number, text) for number, text in enumerate(texts)]
    victim %= len(rows)
    hit, place = rows[victim], place % (len(rows[victim]) - 1)
    rows[victim] = hit[:place] + added + hit[place + (added == "") :]
    path = write(tmp_path_factory.getbasetemp(), *rows)
    items = list(scan_noteevents(path))
    others = [(str(number), text) for number, text in enumerate(texts) if number != victim]
    notes = [(item.name, item.text) for item in items if isinstance(item, Note)]
    assert [note for note in notes if note in others] == others
    assert any(isinstance(item, BrokenRow) for item in items) or len(notes) == len(rows)


def test_bytes_of_another_encoding_cost_their_row(tmp_path: Path) -> None:
    path = write(tmp_path, row(1), row(2, f"{MARKER} 37\udcb0C"), row(3, "37 °C"))
    assert found(path) == ["1", (3, 3, "2", reasons.NOT_DECODED), "3"]
    assert read(path, errors="replace") == {"1": "text", "2": f"{MARKER} 37\ufffdC", "3": "37 °C"}
    assert read(path, errors="ignore")["2"] == f"{MARKER} 37C"
    assert read(path, encoding="latin-1")["2"] == f"{MARKER} 37°C"
    assert found(path, encoding="ascii")[1:] == [
        *((line, line, str(line - 1), reasons.NOT_DECODED) for line in (3, 4))
    ]


def test_utf16_is_read_if_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "NOTEEVENTS.csv"
    path.write_bytes((MIMIC_III + row(1, f"{MARKER} é𝒳\r\n") + row(2)).encode("utf-16"))
    assert is_noteevents(path)
    assert found(path) == [(1, 0, "", reasons.NO_NOTE_COLUMNS)]
    assert read(path, encoding="utf-16") == {"1": f"{MARKER} é𝒳\r\n", "2": "text"}
    path.write_bytes(path.read_bytes()[:-1])
    assert found(path, encoding="utf-16")[-1] == (4, 0, "", reasons.NOT_DECODED)


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, row(1))
    for options in ({"encoding": "utf-9"}, {"encoding": "hex"}, {"errors": "panic"}):
        with pytest.raises(ConfigError, match="unknown"):
            next(read_noteevents(path, **options))  # type: ignore[arg-type]


def test_a_damaged_gzip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    rng = random.Random(1)
    texts = ["".join(rng.choices("abcdefgh \n,", k=800)) + MARKER for _ in range(300)]
    whole = gzip.compress(write(tmp_path, *map(row, range(300), texts)).read_bytes())
    path = tmp_path / "NOTEEVENTS.csv.gz"
    for cut in (len(whole) // 3, len(whole) - 9, len(whole) - 4):
        path.write_bytes(whole[:cut])
        *notes, last = found(path)
        names = [name for name in notes if isinstance(name, str)]
        assert names == [str(number) for number in range(len(names))]
        assert len(names) > 80
        assert len(notes) - len(names) <= 1  # the row that was cut
        assert isinstance(last, tuple)
        assert (last[1], last[3]) == (0, reasons.DAMAGED_GZIP)
    for place, byte in ((len(whole) // 2, whole[len(whole) // 2] ^ 255), (len(whole) - 6, 0)):
        path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        last = found(path)[-1]
        assert isinstance(last, tuple)
        assert last[3] == reasons.DAMAGED_GZIP


def test_a_header_in_a_damaged_gzip(tmp_path: Path) -> None:
    path = tmp_path / "NOTEEVENTS.csv.gz"
    path.write_bytes(gzip.compress(MIMIC_III.encode())[:25])
    assert found(path) == [(1, 0, "", reasons.DAMAGED_GZIP)]


def test_the_csv_module_keeps_its_limit(tmp_path: Path) -> None:
    long = "word \n" * 50_000
    path = write(tmp_path, row(1, long), row(2, "x" * 300_000), row(3))
    before = csv.field_size_limit(1000)
    try:
        for item in read_noteevents(path):
            assert isinstance(item, Note)
            assert csv.field_size_limit() == 1000
    finally:
        csv.field_size_limit(before)
    assert read(path)["1"] == long


def test_readers_in_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = write(
        tmp_path, *(row(number, "x" * (400_000 * (number % 2)) + "y") for number in range(20))
    )
    read_by: list[int] = []
    threads = [threading.Thread(target=lambda: read_by.append(len(read(path)))) for _ in range(4)]
    before = csv.field_size_limit()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (read_by, csv.field_size_limit()) == ([20] * 4, before)


def test_rows_are_read_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Sequence[str]] = []
    parse = _csv_rows.parse_row

    def watch(pieces: Sequence[str], delimiter: str) -> list[str] | None:
        parsed.append(pieces)
        return parse(pieces, delimiter)

    monkeypatch.setattr(_csv_rows, "parse_row", watch)
    path = write(tmp_path, *(row(number) for number in range(100)))
    notes = read_noteevents(path)
    assert parsed == []
    next(notes)
    next(notes)
    assert len(parsed) == 2
    notes.close()  # type: ignore[attr-defined]  # and the file with it: else a ResourceWarning


def peak(items: Iterable[object]) -> int:
    """Bytes held at the most while going through the items."""
    tracemalloc.start()
    try:
        for _ in items:
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_flat(tmp_path: Path) -> None:
    text = "a line of a note\n" * 60
    path = write(tmp_path, *(row(number, text) for number in range(1000)))
    assert path.stat().st_size > 1_000_000
    assert peak(read_noteevents(path)) < 200_000
    assert peak(read_notes(find_notes([str(path)]))) < 200_000


def test_memory_is_bounded_when_quotes_are_not_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMLB_MAX_ROW", "200000")
    rows = [f"{number},7,{'x' * 500}\n" for number in range(4_000)]
    rows[10] = '10,7,"never closed\n'
    path = write(tmp_path, *rows, header="ROW_ID,SUBJECT_ID,TEXT\n")
    assert peak(read_noteevents(path)) < 1_600_000


@pytest.mark.slow
def test_memory_of_a_large_table(repo: Path) -> None:
    pytest.importorskip("resource")
    command = [sys.executable, str(repo / "benchmarks/noteevents_memory.py"), "--rows", "300000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    match = re.search(r"300,000 rows, .* peak (\d+) MB\n", done.stdout)
    assert match is not None
    assert int(match[1]) < 100


def test_tables_and_notes_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, row(1), row(2, error="1"), row(3, ""))
    write(tmp_path, "x,y\n", header="", name="other.csv")
    Path("note.txt").write_text("a note", encoding="utf-8")
    files = find_notes(["note.txt", "*.csv", "gone.csv"])
    counts = RowCounts()
    names = [
        item.name if isinstance(item, Note) else item.note
        for item in read_notes(files, counts=counts)
    ]
    assert names == ["note.txt", "1", "3", "other.csv", "gone.csv"]
    assert counts == RowCounts(notes=1, marked_as_errors=1)
    chosen = read_notes(find_notes(["NOTEEVENTS.csv"]), rows=NoteEvents(with_errors=True))
    assert [item.name for item in chosen if isinstance(item, Note)] == ["1", "2"]


def test_the_reader_is_loaded_for_tables_only() -> None:
    code = (
        "import sys\nfrom emlb_runtime.formats.notes import find_notes\n"
        "find_notes(['a.txt', '.'])\n"
        "print(sorted({'csv', 'gzip', 'emlb_runtime.formats.noteevents'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_texts_stay_out_of_representations(tmp_path: Path) -> None:
    for item in scan_noteevents(write(tmp_path, row(1, MARKER), row(2, MARKER)[:-2])):
        assert MARKER not in repr(item)
