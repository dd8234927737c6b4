"""Every format is recognised by what it holds, and read through one door."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest

from emlb.data.convert import convert
from emlb.data.formats.detect import FORMATS, detect, scan
from emlb.data.formats.n2c2 import scan_n2c2
from emlb.data.inspect import inspect, render
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import report as reasons
from emlb_runtime.records import Document

TEXT = "Rash after amoxicillin. No fever.\n"
BRAT = "T1\tADE 0 4\tRash\nT2\tDrug 11 22\tamoxicillin\nR1\tADE-Drug Arg1:T1 Arg2:T2\n"
MARKER = "Zebedee"

STAND_INS = {
    "ade": "n2c2",
    "ade_dose": "n2c2",
    "aci_bench": "text",
    "bc5cdr": "brat",
    "biored": "brat",
    "chia": "brat",
    "ddi2013": "brat",
    "e3c": "brat",
    "e3c_anafora": "anafora",
    "e3c_shareclef": "share2014",
    "maccrobat2020": "brat",
    "mixture": "mixture",
    "mtsamples": "text",
}


def brat(folder: Path, *names: str, text: str = TEXT, annotations: str = BRAT) -> Path:
    for name in names:
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.with_suffix(".ann").write_bytes(annotations.encode())
    return folder


def noteevents(path: Path, *rows: tuple[str, str]) -> Path:
    header = "ROW_ID SUBJECT_ID HADM_ID CHARTDATE CHARTTIME STORETIME CATEGORY DESCRIPTION CGID"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header.split(), "ISERROR", "TEXT"])
        for row_id, text in rows:
            writer.writerow([row_id, "1", "2", "2101-01-01", "", "", "Nursing", "R", "", "", text])
    return path


def read(path: Path, **options: object) -> list[Document]:
    return [d for d, _ in scan(path, **options) if d is not None]  # type: ignore[arg-type]


@pytest.mark.parametrize(("folder", "format"), STAND_INS.items())
def test_stand_ins_are_recognised(corpora: Path, folder: str, format: str) -> None:
    assert detect(corpora / folder).format == format


def test_what_is_passed_over_is_named(corpora: Path) -> None:
    assert any("ADE-NEG.jsonl" in other for other in detect(corpora / "ade").passed_over)


def test_kinds_of_folders(tmp_path: Path) -> None:
    assert detect(brat(tmp_path / "n", "train/1")).format == "n2c2"
    other = brat(tmp_path / "b", "1", annotations="T1\tRash 0 4\tRash\n")
    assert detect(other).format == "brat"
    mimic = brat(tmp_path / "m", "1")
    noteevents(mimic / "NOTEEVENTS.csv", ("1", TEXT))
    assert detect(mimic).format == "mimic"
    raw = tmp_path / "raw"
    raw.mkdir()
    noteevents(raw / "NOTEEVENTS.csv", ("1", TEXT), ("2", "Two\r\nlines"))
    assert detect(raw).format == detect(raw / "NOTEEVENTS.csv").format == "noteevents"
    assert [d.note.text for d in read(raw)] == [TEXT, "Two\r\nlines"]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no annotated documents and no notes"):
        detect(empty)
    with pytest.raises(DataError, match="no such file or folder"):
        detect(tmp_path / "nothing")
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="neither JSON lines"):
        detect(tmp_path / "x.bin")


def test_mimic_names_documents_by_row(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    (folder / "ann").mkdir(parents=True)
    (folder / "ann" / "7.ann").write_text(BRAT, encoding="utf-8")
    table = noteevents(folder / "NOTEEVENTS.csv", ("6", "other"), ("7", TEXT))
    with gzip.open(folder / "NOTEEVENTS.csv.gz", "wb") as packed:
        packed.write(table.read_bytes())
    table.unlink()
    (document,) = read(folder)
    assert (document.note.name, document.note.text) == ("7", TEXT)
    assert [entity.text for entity in document.entities] == ["Rash", "amoxicillin"]


def test_compressed_lines_are_found_and_read(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in (1, 2):
        line = {"note": f"{number}.txt", "text": TEXT, "entities": []}
        packed = gzip.compress(json.dumps(line).encode())
        (folder / f"part-0000{number}.jsonl.gz").write_bytes(packed)
    plain = folder / "part-00002.jsonl"  # the second again, unzipped
    plain.write_bytes(gzip.decompress((folder / "part-00002.jsonl.gz").read_bytes()))
    for given in ("auto", "documents"):
        documents = [document for document, _ in scan(folder, format=given)]
        assert [d.note.name for d in documents if d] == ["1.txt", "2.txt"]
    assert detect(folder).files == (folder / "part-00001.jsonl.gz", plain)
    (document,) = read(folder / "part-00001.jsonl.gz")
    assert document.note.text == TEXT
    raw = tmp_path / "notes.jsonl.gz"
    raw.write_bytes(gzip.compress(b'{"text": "Rash"}\n'))
    (document,) = read(raw)
    assert (document.note.name, document.note.text) == ("notes:1", "Rash")


@pytest.mark.parametrize("name", ["part-00002.jsonl.part", "part-00002.jsonl.gz.part"])
def test_shards_of_an_unfinished_run_are_told(tmp_path: Path, name: str) -> None:
    line = {"note": "a", "text": TEXT, "entities": [], "relations": []}
    (tmp_path / "part-00001.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (tmp_path / name).write_bytes(b"")
    (document, _), (none, report) = scan(tmp_path)
    assert document is not None and document.note.name == "a" and none is None
    (problem,) = report.problems
    assert str(problem) == f"{tmp_path / name}: {reasons.UNFINISHED}"
    with pytest.raises(DataError, match="has not finished"):
        list(scan(tmp_path, strict=True))


@pytest.mark.parametrize("name", ["d.jsonl.gz", "folder"])
def test_damaged_compressed_lines_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d.jsonl.gz"
    if name == "folder":
        path = tmp_path / name / path.name
        path.parent.mkdir()
    path.write_bytes(gzip.compress(b'{"note": "a", "entities": []}\n')[:-9])
    with pytest.raises(DataError, match=r"d\.jsonl\.gz: cannot be read .*ends early or is damag"):
        list(scan(tmp_path / name))


def test_raw_lines_and_texts(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "a", "text": "Rash"}\n{"id": "b"}\n', encoding="utf-8")
    found = list(scan(path))
    assert [document and document.note.text for document, _ in found] == ["Rash", None]
    assert [str(p).rpartition("/")[2] for p in found[1][1].problems] == [
        f"notes.jsonl:2: {reasons.MALFORMED}"
    ]


def test_texts_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "found.jsonl"
    value = {"note": "v/1", "entities": [], "relations": []}
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    (tmp_path / "texts" / "v").mkdir(parents=True)
    (tmp_path / "texts" / "v" / "1.txt").write_text(TEXT, encoding="utf-8")
    assert [d.note.text for d in read(path, texts=tmp_path / "texts")] == [TEXT]


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown format 'brta'; choose auto, brat, n2c2"):
        list(scan(tmp_path, format="brta"))


def test_names_used_twice_are_reported(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    line = json.dumps({"note": "a", "text": TEXT, "entities": [], "relations": []})
    for name in ("1.jsonl", "2.jsonl"):
        (folder / name).write_text(line + "\n", encoding="utf-8")
    found = list(scan(folder))
    assert [document is None for document, _ in found] == [False, True]
    assert found[1][1].summary() == {reasons.REPEATED_DOCUMENT: 1}


def test_strict_ends_at_the_first_problem(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", "1", annotations=f"{BRAT}T3\tDrug 5 99\t{MARKER}\n")
    assert len(read(folder)) == 1
    with pytest.raises(DataError, match=r"1\.ann:4: T3: span goes past the end") as caught:
        read(folder, strict=True)
    assert MARKER not in str(caught.value)


def test_n2c2_names_what_the_task_does_not_define(tmp_path: Path) -> None:
    more = "T3\tFever 27 32\tfever\nR2\tDosage-Drug Arg1:T1 Arg2:T2\nR3\tCauses Arg1:T2 Arg2:T1\n"
    folder = brat(tmp_path / "n", "1", annotations=BRAT + more)
    ((document, report),) = scan_n2c2(folder)
    assert document is not None
    assert (len(document.entities), len(document.relations)) == (3, 3)
    assert report.problems == ()
    assert [(p.line, p.id, p.reason) for p in report.remarks] == [
        (4, "T3", reasons.UNKNOWN_TYPE),
        (1, "T1", reasons.UNKNOWN_SIGNATURE),
        (2, "T2", reasons.UNKNOWN_TYPE),
    ]


def test_inspection(tmp_path: Path) -> None:
    folder = brat(tmp_path / "c", "train/1", "train/2", "test/3")
    brat(
        folder,
        "test/4",
        annotations="T1\tADE 0 4\tRash\nA1\tNegated T1\nT2\tDrug 0 3\tRas\n"
        f"A2\tSaid T1 by {MARKER}\n",
    )
    more = "T3\tDrug 27 32\tfever\nR2\tADE-Drug Arg1:T3 Arg2:T1\nT4\tDrug 0 2;3 4\tRa h\nT5\n"
    brat(folder, "dev/5", text=f"{TEXT}{MARKER}", annotations=BRAT + more)
    (folder / "dev" / "6.txt").write_text(MARKER, encoding="utf-8")
    found = inspect(folder)
    assert found.source.format == "n2c2"
    assert found.parts == {"train": 2, "test": 2, "dev": 1}
    assert (found.documents, found.lost) == (5, 1)
    assert found.entities == {"ADE": 5, "Drug": 7}
    assert found.relations == {("ADE-Drug", "ADE", "Drug"): 4, ("ADE-Drug", "Drug", "ADE"): 1}
    assert found.attributes == {("Negated", ""): 1, ("Said", "(text)"): 1}
    assert (found.discontinuous, found.cross_sentence) == (1, 1)
    assert found.leaks["test"].same_text == 2
    text = render(found, title="c")
    assert "ADE-Drug (ADE -> Drug) 4" in text
    assert "warning: test: 2 of 2 documents also stand in training" in text
    assert "1 documents lost whole" in text
    assert f"6.txt: {reasons.NO_ANNOTATIONS}" in text
    assert "dev/5.ann:7: T5: line is not a well-formed annotation" in text
    assert MARKER not in text + json.dumps(found.to_json())
    assert "… and 1 more" in render(found, title="c", listed=1)
    assert "used, with a remark: 1\n  1 × relation joins types that" in text


def counts(corpora: Path, folder: str) -> dict[str, object]:
    found = inspect(corpora / folder)
    assert found.problems == []
    return {**found.parts, **found.entities}


def test_counts_equal_the_published_tables(corpora: Path) -> None:
    assert counts(corpora, "e3c") == {
        "silver_layer2": 171,
        "test": 48,
        "train": 36,
        "EVENT": 4885,
        "CLINENTITY": 3163,
        "BODYPART": 968,
        "ACTOR": 682,
        "RML": 480,
        "TIMEX3": 380,
    }
    anafora = inspect(corpora / "e3c_anafora")
    assert anafora.problems == []
    assert (anafora.documents, anafora.entities) == (84, {"EVENT": 4885, "TIMEX3": 380})
    by_type: dict[str, int] = {}
    for (type, _, _), count in anafora.relations.items():
        by_type[type] = by_type.get(type, 0) + count
    assert by_type == {
        "ALINK-CONTINUES": 24,
        "ALINK-INITIATES": 60,
        "ALINK-REINITIATES": 7,
        "ALINK-TERMINATES": 23,
        "TLINK-BEFORE": 1260,
        "TLINK-BEGINS-ON": 216,
        "TLINK-CONTAINS": 1972,
        "TLINK-ENDS-ON": 175,
        "TLINK-OVERLAP": 1152,
    }
    for year in (2013, 2014):
        share = inspect(corpora / "e3c_shareclef", format=f"share{year}")
        assert share.problems == []
        assert (share.documents, share.entities["Disease_Disorder"]) == (84, 1023)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [name for name, kind in STAND_INS.items() if kind != "text"])
def test_whole_corpora_without_unexplained_losses(corpora: Path, folder: str) -> None:
    found = inspect(corpora / folder)
    assert found.problems == []
    assert found.lost == 0


@pytest.mark.parametrize("to", ["brat", "jsonl", "anafora"])
@pytest.mark.parametrize("folder", ["e3c/test", "maccrobat2020", "chia/test"])
def test_round_trips_of_corpora(corpora: Path, tmp_path: Path, folder: str, to: str) -> None:
    some = tmp_path / "some"
    for file in sorted((corpora / folder).rglob("*.txt"))[:15]:
        brat(
            some,
            f"test/{file.stem}",
            text=file.read_bytes().decode(),
            annotations=file.with_suffix(".ann").read_bytes().decode(),
        )
    lines, out, back = tmp_path / "d.jsonl", tmp_path / f"out-{to}", tmp_path / "back"
    assert not convert(some, lines, to="jsonl").losses
    assert not convert(lines, out, to=to).losses
    assert not convert(out, back, to="brat").losses
    assert read(some) == read(lines) == read(out) == read(back)


def test_what_the_target_cannot_hold_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    mention = {"id": "T1", "type": "Rash", "start": 0, "end": 4, "text": "Rash", "score": 0.5}
    wide = {**mention, "id": "T2", "type": "Skin rash", "score": 1.0}
    noted = {**mention, "id": "T3", "task": "x", "attributes": {"a b": MARKER, "c": "d"}}
    value = {
        "note": "v/1",
        "text": TEXT,
        "entities": [mention, wide, noted],
        "relations": [{"type": "of", "head": "T1", "tail": "T2"}],
    }
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    done = convert(path, tmp_path / "b", to="brat")
    assert done.documents == 1
    assert sorted(done.losses.values()) == [1, 1, 1, 1, 2]
    assert MARKER not in str(done)
    (document,) = read(tmp_path / "b")
    assert document.note.name == "v/1"
    assert [(e.id, dict(e.attributes)) for e in document.entities] == [
        ("T1", {}),
        ("T3", {"c": "d"}),
    ]
    shared = convert(path, tmp_path / "s", to="share")
    assert shared.losses


def test_conversion_refuses_what_would_overwrite(tmp_path: Path) -> None:
    folder = brat(tmp_path / "b", "1")
    with pytest.raises(ConfigError, match="is there already"):
        convert(folder, folder, to="anafora")
    with pytest.raises(ConfigError, match="unknown target 'xml'"):
        convert(folder, tmp_path / "o", to="xml")


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\b", "", "a/./b"])
@pytest.mark.parametrize("to", ["brat", "anafora", "share"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str, to: str) -> None:
    path = tmp_path / "d.jsonl"
    value = {"note": name, "text": TEXT, "entities": [], "relations": []}
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    with pytest.raises(DataError):
        convert(path, tmp_path / "in" / "out", to=to)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.jsonl", "in"]


def test_every_format_has_a_reader() -> None:
    from emlb.data.formats.detect import _READERS

    assert set(_READERS) == set(FORMATS)


def test_a_few_foreign_types_leave_n2c2_what_it_is(tmp_path: Path) -> None:
    folder = brat(tmp_path, *map(str, range(20)))
    (folder / "3.ann").write_text("T1\tRash 0 4\tRash\n", encoding="utf-8")
    assert detect(folder).format == "n2c2"
    reports = [report for _, report in scan(folder)]
    assert [p.reason for r in reports for p in r.remarks] == [reasons.UNKNOWN_TYPE]


def test_a_link_to_nowhere_is_a_problem(tmp_path: Path) -> None:
    folder = brat(tmp_path, "1", "2")
    (folder / "1.ann").unlink()
    (folder / "1.ann").symlink_to(tmp_path / "nowhere")
    found = inspect(folder)
    assert (found.documents, [p.reason for p in found.problems]) == (1, [reasons.UNREADABLE])


def test_annotations_of_mimic_apart_from_the_table(tmp_path: Path) -> None:
    folder = brat(tmp_path / "a", "7", "8")
    for text in folder.glob("*.txt"):
        text.unlink()
    (tmp_path / "m").mkdir()
    table = noteevents(tmp_path / "m" / "NOTEEVENTS.csv", ("7", TEXT))
    noteevents(tmp_path / "m" / "MORE.csv", ("8", TEXT))
    assert "--texts" in render(inspect(folder), title="a")
    for texts, names in ((table, ["7"]), (tmp_path / "m", ["8", "7"])):
        assert detect(folder, texts=texts).format == "mimic"
        assert [d.note.name for d in read(folder, texts=texts)] == names
        assert [d.note.name for d in read(folder, texts=texts, format="mimic")] == names
    with pytest.raises(DataError, match="no table of notes beside the annotations"):
        read(folder, format="mimic")


@pytest.mark.parametrize("format", ["noteevents", "documents", "mixture"])
def test_a_format_that_is_not_there(tmp_path: Path, format: str) -> None:
    with pytest.raises(DataError, match="nothing there is"):
        read(brat(tmp_path, "1"), format=format)


def test_a_table_zipped_and_unzipped_is_one(tmp_path: Path) -> None:
    table = noteevents(tmp_path / "NOTEEVENTS.csv", ("7", TEXT))
    (tmp_path / "NOTEEVENTS.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    assert [d.note.name for d in read(tmp_path)] == ["7"]


def test_documents_without_their_texts_are_not_converted(tmp_path: Path) -> None:
    mention = {"id": "T1", "type": "Rash", "start": 0, "end": 4, "text": "Rash"}
    lines: list[dict[str, object]] = [
        {"note": "in/1.txt", "entities": [mention], "relations": []},
        {"note": "in/2.txt", "entities": [], "relations": []},
    ]
    path = tmp_path / "d.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    done = convert(path, tmp_path / "x", to="brat")
    assert (done.documents, done.lost) == (1, 1)
    assert [p.reason for p in done.problems] == [reasons.NO_TEXT]
    with pytest.raises(DataError, match="without their text"):
        convert(path, tmp_path / "y.jsonl", to="jsonl", strict=True)
    assert not (tmp_path / "y.jsonl").exists()
    texts = brat(tmp_path / "elsewhere", "1", "2")
    assert convert(path, tmp_path / "z", to="brat", texts=texts).documents == 2
    assert (tmp_path / "z" / "in" / "1.ann").read_text(encoding="utf-8").startswith("T1\tRash 0 4")


def test_two_documents_never_become_one_file(tmp_path: Path) -> None:
    line = {"text": "", "entities": [], "relations": []}
    path = tmp_path / "d.jsonl"
    lines = (json.dumps({"note": name, **line}) for name in ("1", "1.txt"))
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match="two documents would be this file"):
        convert(path, tmp_path / "x", to="brat")
