"""`emlb-run` over tables, JSON lines and folders of other files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from emlb_cli import run
from tests.cli.invoking import Result, invoke
from tests.cli.test_running import Model
from tests.runtime.test_tables import TEXTS, quoted, write_field_files

MARKER = "Zebedee"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    made = Model()
    monkeypatch.setattr(run, "load_extractor", lambda folder, **options: made)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Model) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def emlb_run(*arguments: str, input: bytes = b"") -> Result:
    return invoke(arguments, input=input)


def documents(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("name", ["id-text.csv", "semicolons.csv", "tabs.tsv", "notes.jsonl"])
def test_the_tables_of_the_field(folder: Path, model: Model, name: str) -> None:
    write_field_files(Path())
    refused = emlb_run(name, "--out", "o.jsonl")
    assert refused.exit_code == 2
    assert f"no note found: {name}: it is " in refused.stderr
    assert "--id-column" in refused.stderr
    assert not Path("o.jsonl").exists()
    assert (model.read, "warfarin" in refused.stderr) == ([], False)
    named = ("--id-column", "note_id") if name in ("id-text.csv", "notes.jsonl") else (
        "--id-column", "row_id"
    )  # fmt: skip
    done = emlb_run(
        name, *named, "--text-column", "text", "--format", "documents", "--out", "o.jsonl"
    )
    assert done.exit_code == 0
    assert [line["note"] for line in documents("o.jsonl")] == list(TEXTS)


def test_a_table_among_notes_has_an_error_record(folder: Path) -> None:
    write_field_files(Path())
    Path("a.txt").write_text("rash", encoding="utf-8")
    done = emlb_run("a.txt", "id-text.csv", "-", "--format", "documents", "--out", "o.jsonl",
                    input=b"id\ttext\n1\trash\n")  # fmt: skip
    assert done.exit_code == 1
    found = {line["note"]: line.get("error", "") for line in documents("o.jsonl")}
    assert found["a.txt"] == ""
    assert "its columns are note_id, text; to read" in found["id-text.csv"]
    assert "a table separated by tabs, not a note: its columns are id, text" in found["-"]
    assert found["-"].endswith("--text-column text; save it as a file first")


def test_options_that_name_columns(folder: Path) -> None:
    write_field_files(Path())
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("rash", encoding="utf-8")
    for arguments, said in (
        (("id-text.csv", "--id-column", "note_id"), "--id-column needs --text-column"),
        (("notes", "--text-column", "text"), "no input is a table that has them: name the file"),
        (("id-text.csv", "--text-column", "body"), "it has no single column body; its columns are"),
    ):
        refused = emlb_run(*arguments)
        assert refused.exit_code == 2
        assert said in refused.stderr


def write_rows(path: str, number: int = 9, first: str = "rash drug") -> None:
    rows = [f"v{n}|{first if n == 0 else 'rash'} {n}\n" for n in range(number)]
    Path(path).write_bytes(gzip.compress(("visit|note\n" + "".join(rows)).encode(), mtime=0))


@pytest.mark.parametrize("format", ["documents", "brat"])
def test_a_run_over_a_table_is_continued(folder: Path, model: Model, format: str) -> None:
    write_rows("t.psv.gz")
    command = ("t.psv.gz", "--id-column", "visit", "--text-column", "note", "--format", format)
    assert emlb_run(*command, "--out", "whole").exit_code == 0
    model.stop_at = "v5"
    assert emlb_run(*command, "--out", "o").exit_code == 130
    model.stop_at, model.read = "", []
    assert emlb_run(*command, "--out", "o").exit_code == 0
    assert model.read == ["v5", "v6", "v7", "v8"]
    for path in [Path("whole")] if format == "documents" else Path("whole").iterdir():
        other = Path("o") if format == "documents" else Path("o", path.name)
        assert path.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("--text-column", "note"), "--id-column (visit then, not set now)"),
        (
            ("--id-column", "visit", "--text-column", "visit"),
            "--text-column (note then, visit now)",
        ),
    ],
)
def test_other_columns_are_another_run(
    folder: Path, model: Model, changed: tuple[str, ...], said: str
) -> None:
    write_rows("t.psv.gz")
    model.stop_at = "v5"
    emlb_run("t.psv.gz", "--id-column", "visit", "--text-column", "note", "--out", "o.jsonl")
    before = Path("o.jsonl.part").read_bytes()
    refused = emlb_run("t.psv.gz", *changed, "--out", "o.jsonl")
    assert refused.exit_code == 2
    assert said in refused.stderr
    assert Path("o.jsonl.part").read_bytes() == before


def test_rows_that_make_no_note(folder: Path) -> None:
    Path("t.csv").write_text(
        f"id,text\n1,rash\n1,{MARKER}\n2,\n3,{MARKER},\n4,{quoted('drug, rash')}\n", "utf-8"
    )
    done = emlb_run("t.csv", "--id-column", "id", "--text-column", "text", "--format", "documents",
                    "--out", "o.jsonl")  # fmt: skip
    assert done.exit_code == 1
    assert {line["note"]: line.get("error", "") for line in documents("o.jsonl")} == {
        "1": "",
        "t.csv:3": "line 3: row has the id of an earlier row",
        "2": "t.csv, line 4: row has no text",
        "t.csv:5": "line 5: line has the wrong number of columns",
        "4": "",
    }
    assert MARKER not in done.stderr


def test_rows_are_chosen_in_any_table(folder: Path) -> None:
    write_field_files(Path())
    command = ("semicolons.csv", "--id-column", "ROW_ID", "--text-column", "TEXT")
    done = emlb_run(*command, "--subject", "5501", "--category", "report", "--out", "o.jsonl")
    assert done.exit_code == 0
    none = emlb_run(*command, "--subject", "1", "--out", "p.jsonl")
    assert none.exit_code == 1
    assert "no usable row of the tables is what was asked for" in none.stderr


def test_files_of_folders_that_are_not_read_are_told(folder: Path) -> None:
    for name in ("a.txt", "b.text", "sub/d.note", "ID907_clinic_921", "x/1.con", "x/2.con", ".hid"):
        path = Path("mixed", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("rash", encoding="utf-8")
    done = emlb_run("mixed", "--out", "o.jsonl")
    assert done.exit_code == 0
    assert (
        "emlb-run: passed over 5 other files (2 .con, 1 .note, 1 .text, 1 without a suffix): a"
        " folder stands for the .txt files below it"
    ) in done.stderr
    assert "passed over" not in emlb_run("mixed", "--out", "p.jsonl", "--quiet").stderr
    assert "passed over" not in emlb_run("mixed/a.txt", "--out", "q.jsonl").stderr
    refused = emlb_run("mixed/x")
    assert refused.exit_code == 2
    assert "mixed/x: the folder holds no .txt file but 2 other files (2 .con)" in refused.stderr


def test_annotation_files_are_not_extracted(folder: Path, model: Model) -> None:
    for name, content in (
        ("train.txt", "He O\nhas O\nchest B-problem\npain I-problem\n. O\n"),
        ("r1.con", 'c="chest pain" 1:2 1:3||t="problem"\n'),
        ("r1.rel", 'c="aspirin" 2:1 2:1||r="TrAP"||c="chest pain" 1:2 1:3\n'),
        ("n1.ann", "T1\tDrug 5 12\taspirin\n"),
    ):
        Path(name).write_text(content, encoding="utf-8")
    done = emlb_run("train.txt", "r1.con", "r1.rel", "n1.ann", "--format", "documents",
                    "--out", "o.jsonl")  # fmt: skip
    assert done.exit_code == 1
    said = [line["error"].partition(",")[0] for line in documents("o.jsonl")]
    assert said == [
        "it is a CoNLL file (a token with its label on each line)",
        *["it is an annotation file of i2b2 2010"] * 2,
        "it is a brat annotation file",
    ]


@pytest.mark.parametrize(
    "row",
    ["Smith,John,note,Diabetes", "4711,Zebrafish,date,Smith", "Smith;Zebrafish;id;Cough"],
)
def test_a_row_that_looks_like_a_header_is_not_shown(
    row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text(f"{row}\n{row}\n", encoding="utf-8")
    result = invoke(["a.csv", "--out", "o.jsonl"])
    assert result.exit_code == 2
    assert "--text-column" in result.stderr
    for word in ("Smith", "John", "Diabetes", "Zebrafish", "Cough", "4711"):
        assert word not in result.stderr
