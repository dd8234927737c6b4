"""Annotations named by ROW_ID are joined with their rows of NOTEEVENTS."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from emlb.data.formats.mimic import scan_mimic
from emlb_runtime.errors import DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.report import Problem, Report
from emlb_runtime.records import Document, Relation

MARKER = "Zebedee"
TEXT = 'Rash after "amoxicillin".\r\n'
ANN = "T1\tADE 0 4\tRash\nT2\tDrug 12 23\tamoxicillin\nR1\tADE-Drug Arg1:T1 Arg2:T2\n"
HEADER = (
    '"ROW_ID","SUBJECT_ID","HADM_ID","CHARTDATE","CHARTTIME","STORETIME",'
    '"CATEGORY","DESCRIPTION","CGID","ISERROR","TEXT"\n'
)


def row(id: int | str, text: str = TEXT, error: str = "") -> str:
    quoted = text.replace('"', '""')
    return f'{id},7,1,2150-01-02,,,"Nursing","Report",15,{error},"{quoted}"\n'


@pytest.fixture
def ann_folder(tmp_path: Path) -> Path:
    """A folder with annotations of the rows 9 and 3."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    for id in (3, 9):
        (folder / f"{id}.ann").write_bytes(ANN.encode())
    return folder


def table(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "NOTEEVENTS.csv.gz"
    path.write_bytes(gzip.compress((header + "".join(rows)).encode("utf-8", "surrogateescape")))
    return path


def scan(noteevents: Path, ann_folder: Path) -> tuple[list[Document], Report, list[str]]:
    """The documents, all reports as one, and the order of what came: a name or a reason."""
    documents, reports, order = [], [], []
    for document, report in scan_mimic([noteevents], ann_folder):
        reports.append(report)
        assert not any(MARKER in str(problem) for problem in report.problems)
        if document is not None:
            documents.append(document)
            order.append(document.note.name)
        else:
            order.extend(problem.reason for problem in report.problems)
    return documents, Report.merge(reports), order


def test_documents_come_in_the_order_of_the_rows(tmp_path: Path, ann_folder: Path) -> None:
    path = table(tmp_path, row(9), row(1), row(3), row(33), row(4, error="1"))
    (first, second), report, _ = scan(path, ann_folder)
    assert (first.note.name, second.note.name) == ("9", "3")
    assert first.note.text == TEXT
    assert [entity.text for entity in second.entities] == ["Rash", "amoxicillin"]
    assert second.relations == (Relation("ADE-Drug", "T1", "T2"),)
    assert report.problems == ()
    assert report.counts["documents"] == 2
    assert report.counts["rows_without_annotations"] == 3
    assert "documents_lost" not in report.counts


def test_mimic_iv(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/100-DS-1.ann").write_bytes(ANN.encode())
    header = "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"
    path = table(tmp_path, '100-DS-1,100,5,DS,1,,,"Rash after ""amoxicillin""."\n', header=header)
    (document,), report, _ = scan(path, tmp_path)
    assert document.note.name == "100-DS-1"
    assert (len(document.entities), report.problems) == (2, ())


def test_a_note_marked_as_wrong_keeps_its_annotations(tmp_path: Path, ann_folder: Path) -> None:
    assert scan(table(tmp_path, row(3), row(9, error="1")), ann_folder)[2] == ["3", "9"]


def test_a_note_without_mentions_is_a_document(tmp_path: Path, ann_folder: Path) -> None:
    (ann_folder / "3.ann").write_bytes(b"")
    documents, report, _ = scan(table(tmp_path, row(3), row(9)), ann_folder)
    assert [len(document.entities) for document in documents] == [0, 2]
    assert report.problems == ()


def test_what_cannot_be_used_is_reported_in_its_place(tmp_path: Path, ann_folder: Path) -> None:
    for id in (4, 5, 6, 7, 8):
        (ann_folder / f"{id}.ann").write_bytes(ANN.encode())
    (ann_folder / "4.ann").write_bytes(MARKER.encode() + b"\xff")
    (ann_folder / "6.ann").unlink()
    (ann_folder / "6.ann").mkdir()
    (ann_folder / "10.ann").write_bytes(f"T1\tX 900 907\t{MARKER}\n".encode())
    path = table(
        tmp_path,
        row(10, MARKER),
        row(4, MARKER),
        row(5, ""),
        row(MARKER, MARKER),
        row(6),
        row(9)[:19] + "\n",
        row(7, f"{MARKER}\udcff"),
        row(3),
        row(3),
        row(11, ""),
    )
    _, report, order = scan(path, ann_folder)
    assert order == [
        "10",
        reasons.NOT_UTF8,
        reasons.EMPTY_TEXT,
        reasons.NO_ROW_ID,
        reasons.UNREADABLE,
        reasons.WRONG_COLUMNS,
        reasons.NOT_DECODED,
        "3",
        reasons.REPEATED_DOCUMENT,
        reasons.NO_TEXT,
        reasons.NO_TEXT,
    ]
    assert Problem(str(ann_folder / "9.ann"), 0, "", reasons.NO_TEXT) in report.problems
    assert Problem(str(ann_folder / "10.ann"), 1, "T1", reasons.PAST_THE_END) in report.problems
    assert Problem(str(path), 4, "5", reasons.EMPTY_TEXT) in report.problems
    # Broken rows without an id may be nobody's: the files without a row are counted.
    assert report.counts["documents_lost"] == 7
    assert report.counts["rows_without_annotations"] == 1


def test_a_damaged_table_is_read_as_far_as_it_goes(tmp_path: Path, ann_folder: Path) -> None:
    path = table(tmp_path, row(3), *(row(100 + n, f"{n**9:x}" * 99) for n in range(500)), row(9))
    path.write_bytes(path.read_bytes()[:-2000])
    documents, report, order = scan(path, ann_folder)
    assert [document.note.name for document in documents] == ["3"]
    assert order[-2:] == [reasons.DAMAGED_GZIP, reasons.NO_TEXT]
    assert report.counts["documents_lost"] == 1


def test_one_id_in_two_files(tmp_path: Path, ann_folder: Path) -> None:
    (ann_folder / "more").mkdir()
    (ann_folder / "more/3.ann").write_bytes(b"")
    documents, report, _ = scan(table(tmp_path, row(3), row(9)), ann_folder)
    assert [len(document.entities) for document in documents] == [2, 2]
    (problem,) = report.problems
    assert (problem.file, problem.reason) == (
        str(ann_folder / "more/3.ann"),
        reasons.REPEATED_DOCUMENT,
    )


def test_what_is_not_there_is_an_error(tmp_path: Path, ann_folder: Path) -> None:
    path = table(tmp_path, row(3))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no annotations found; expected files named ROW_ID\.ann"):
        next(scan_mimic([path], tmp_path / "empty"))
    for other in (tmp_path / "gone.csv", ann_folder / "3.ann"):
        with pytest.raises(DataError, match="not a table of notes; expected NOTEEVENTS"):
            next(scan_mimic([other], ann_folder))


def test_memory_does_not_grow_with_the_table(tmp_path: Path, ann_folder: Path) -> None:
    path = table(tmp_path, *(row(number, "a line\n" * 150) for number in range(1000)))
    tracemalloc.start()
    try:
        assert sum(document is not None for document, _ in scan_mimic([path], ann_folder)) == 2
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()
