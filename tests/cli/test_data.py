"""`emlb data` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from emlb_cli.app import app

TEXT = "Rash after amoxicillin.\n"
BRAT = "T1\tADE 0 4\tRash\nT2\tDrug 11 22\tamoxicillin\nR1\tADE-Drug Arg1:T1 Arg2:T2\n"


def data(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ("data", *arguments), prog_name="emlb")
    assert "Traceback" not in result.stderr
    return result


def corpus(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT, encoding="utf-8")
        path.with_suffix(".ann").write_text(BRAT, encoding="utf-8")
    return folder


def test_inspect(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c", "train/1", "test/2")
    (folder / "train" / "3.txt").touch()
    result = data("inspect", str(folder), "--json", str(tmp_path / "o.json"))
    assert result.exit_code == 0
    assert "n2c2 (brat with the types of n2c2 2018 track 2)" in result.stdout
    assert "documents 2, " in result.stdout
    value = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert (value["format"], value["documents"], value["documents_lost"]) == ("n2c2", 2, 1)
    assert value["leaks"]["test"]["same_text"] == 1
    strict = data("inspect", str(folder), "--strict")
    assert (strict.exit_code, strict.stdout) == (2, "")
    assert "3.txt: text without its annotations" in strict.stderr


def test_inspect_nothing(tmp_path: Path) -> None:
    result = data("inspect", str(tmp_path))
    assert result.exit_code == 2
    assert "no annotated documents and no notes found" in result.stderr


def test_convert(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c", "1")
    result = data("convert", str(folder), str(tmp_path / "x"), "--to", "share")
    assert result.exit_code == 0
    assert "1 documents written" in result.stdout
    assert "share cannot hold: " in result.stdout
    (folder / "2.ann").touch()
    result = data("convert", str(folder), str(tmp_path / "o.jsonl"), "--to", "jsonl")
    assert result.exit_code == 1
    assert "2.ann: annotations without their text" in result.stdout
    again = data("convert", str(folder), str(tmp_path / "o.jsonl"), "--to", "jsonl")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_moved_mentions_are_told_and_converted_where_they_stand(tmp_path: Path) -> None:
    folder = tmp_path / "gold"
    folder.mkdir()
    (folder / "n.txt").write_bytes(b"Hives.\r\nStop iron.\r\n")
    (folder / "n.ann").write_text("T1\tDrug 12 16\tiron\nT2\tX 0 5\tRash\n", encoding="utf-8")
    seen = data("inspect", str(folder)).stdout
    assert "not used: 1\n  1 × surface differs from the text at its offsets" in seen
    assert "used, with a remark: 1\n  1 × mention moved: offsets counted CRLF as one" in seen
    out = tmp_path / "o.jsonl"
    done = data("convert", str(folder), str(out), "--to", "jsonl").stdout
    assert "not used: 1, with 0 documents lost whole" in done
    assert "used, with a remark: 1 × mention moved: offsets counted CRLF as one" in done
    (entity,) = json.loads(out.read_text(encoding="utf-8"))["entities"]
    assert (entity["text"], entity["start"]) == ("iron", 13)


def test_split(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c", *(f"{number}_{k}" for number in range(10) for k in range(2)))
    out = tmp_path / "parts.json"
    result = data("split", str(folder), "--out", str(out))
    assert result.exit_code == 0
    assert "(drawn, seed 13; " in result.stdout
    assert "warning: test: 4 of 4 documents also stand in training" in result.stdout
    parts = json.loads(out.read_text(encoding="utf-8"))
    assert [len(parts[part]) for part in ("train", "dev", "test")] == [14, 2, 4]
    assert parts["made_by"]["seed"] == 13
    again = tmp_path / "again.json"
    data("split", str(folder), "--out", str(again))
    assert again.read_bytes() == out.read_bytes()


def test_split_as_released(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c", "train/1", "train/2", "test/3", "more/4")
    out = tmp_path / "parts.json"
    result = data("split", str(folder), "--out", str(out), "--dev-share", "0.5")
    assert "train 1, dev 1, test 1" in result.stdout
    assert "(as released)" in result.stdout
    assert "in no part: 1 documents" in result.stdout
    drawn = data("split", str(folder), "--out", str(out), "--random")
    assert "(drawn, seed 13; " in drawn.stdout


def test_split_says_what_it_could_not_read(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c", "train/1", "test/2")
    (folder / "train" / "3.txt").touch()
    result = data("split", str(folder), "--out", str(tmp_path / "p.json"))
    assert result.exit_code == 0
    assert "not used: 1, with 1 documents lost whole" in result.stdout


def test_split_keeps_the_notes_of_a_patient_together(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    folder.mkdir()
    rows = [f"{id},{id // 4},{id},Nursing,{TEXT.strip()}" for id in range(40)]
    header = "ROW_ID,SUBJECT_ID,HADM_ID,CATEGORY,TEXT"
    (folder / "NOTEEVENTS.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    for id in range(40):
        (folder / f"{id}.ann").write_text(BRAT, encoding="utf-8")
    out = tmp_path / "p.json"
    result = data("split", str(folder), "--out", str(out))
    assert "10 groups that stay together" in result.stdout
    parts = json.loads(out.read_text(encoding="utf-8"))
    subjects = [{int(name) // 4 for name in parts[part]} for part in ("train", "dev", "test")]
    assert sum(map(len, subjects)) == 10
    assert all(subjects)


def test_files_that_no_reader_looks_at_are_told(tmp_path: Path) -> None:
    """The field's cases: i2b2 2010, CoNLL, and notes with other suffixes."""
    files = {
        "i2b2/txt/r1.txt": "He has chest pain .\nStarted aspirin .\n",
        "i2b2/concept/r1.con": 'c="aspirin" 2:1 2:1||t="treatment"\n',
        "i2b2/rel/r1.rel": 'c="aspirin" 2:1 2:1||r="TrAP"||c="chest pain" 1:2 1:3\n',
        "conll/train.txt": "He O\nhas O\nchest B-problem\npain I-problem\n. O\n\n",
        "mixed/a.txt": "Rash after penicillin.\n",
        "mixed/b.text": "Hives after codeine.\n",
        "mixed/sub/d.note": "Nausea after iron.\n",
        "mixed/ID907_clinic_921": "Cough on lisinopril.\n",
        "none/1.a1": "T1\n",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    seen = data("inspect", str(tmp_path / "i2b2")).stdout
    other = "2 other files (1 .con, 1 .rel); EMLB does not read i2b2 2010's .con, .rel and .ast"
    assert f"also there, not read: {other}\n" in seen
    assert "documents 1," in seen
    assert "everything that was read was usable" in seen
    seen = data("inspect", str(tmp_path / "conll")).stdout
    assert "documents 0," in seen
    assert "it is a CoNLL file (a token with its label on each line), not a note" in seen
    assert "usable" not in seen
    seen = data("inspect", str(tmp_path / "mixed")).stdout
    assert "not read: 3 other files (1 .note, 1 .text, 1 without a suffix)\n" in seen
    done = data("convert", str(tmp_path / "i2b2"), str(tmp_path / "o.jsonl"), "--to", "jsonl")
    assert "also there, not read: 2 other files (1 .con, 1 .rel)" in done.stdout
    refused = data("inspect", str(tmp_path / "none"))
    assert refused.exit_code == 2
    assert "but 1 other file (1 .a1); EMLB does not read BioNLP's .a1 and .a2" in refused.stderr


def test_what_belongs_to_a_corpus_is_not_told_as_unread(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "c", "train/1", "test/2")
    for to in ("jsonl", "anafora", "share", "brat"):
        out = tmp_path / ("c.jsonl" if to == "jsonl" else to)
        assert data("convert", str(folder), str(out), "--to", to).exit_code == 0
        if out.is_dir():
            assert "not read" not in data("inspect", str(out)).stdout
    (folder / "annotation.conf").touch()
    assert "not read: 1 other file (1 .conf)\n" in data("inspect", str(folder)).stdout


def test_raw_notes_of_a_table(tmp_path: Path) -> None:
    table = tmp_path / "export.csv"
    table.write_text('visit;note\nv1;Rash\nv2;"Hives; cough"\nv1;Zebedee\n', encoding="utf-8")
    refused = data("inspect", str(table))
    assert refused.exit_code == 2
    assert "it is a table separated by semicolons, not a note: its columns are visit, note; to" in (
        refused.stderr
    )
    columns = ("--id-column", "visit", "--text-column", "note")
    seen = data("inspect", str(table), *columns).stdout
    assert "documents 2," in seen
    assert "1 × row has the id of an earlier row" in seen
    assert "Zebedee" not in seen
    out = tmp_path / "o.jsonl"
    done = data("convert", str(tmp_path), str(out), "--to", "jsonl", *columns)
    assert done.exit_code == 1  # a row is lost
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(line["note"], line["text"]) for line in lines] == [
        ("v1", "Rash"),
        ("v2", "Hives; cough"),
    ]
    wrong = data("inspect", str(table), "--text-column", "body")
    assert wrong.exit_code == 2
    assert "it has no single column body; its columns are visit, note" in wrong.stderr
    bare = data("inspect", str(table), "--format", "table")
    assert "name the column of the texts with --text-column" in bare.stderr
