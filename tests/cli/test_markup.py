"""`emlb-run` on files with markup, through the bundled model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.invoking import invoke

RTF = rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\pard Rash after am\b oxi\b0 cillin 500 mg.\par}"
HTML = b"<html><body><p>Nausea&nbsp;after <span>codeine</span> 30 mg.</p></body></html>"


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a plain note, an RTF file and a page."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text("Hives after penicillin.", encoding="utf-8")
    (folder / "b.txt").write_bytes(RTF)
    (folder / "c.txt").write_bytes(HTML)
    return folder


def lines(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def test_each_file_with_markup_has_an_error_record_of_its_own(notes: Path) -> None:
    result = invoke(["notes", "--format", "documents", "--out", "out.jsonl"])
    assert result.exit_code == 1
    plain, rtf, page = lines("out.jsonl")
    assert [entity["text"] for entity in plain["entities"]] == ["Hives", "penicillin"]
    assert rtf["error"].startswith("it is RTF, not plain text: use --markup strip")
    assert page["error"].startswith("it is HTML, not plain text: use --markup strip")


def test_stripped_text_is_extracted_and_kept_on_request(notes: Path) -> None:
    asked = ["notes", "--format", "documents", "--markup", "strip"]
    assert invoke([*asked, "--keep-text", "--out", "kept.jsonl"]).exit_code == 0
    plain, rtf, page = lines("kept.jsonl")
    assert rtf["text"] == "Rash after amoxicillin 500 mg.\n"
    assert plain["text"] == "Hives after penicillin."
    assert {entity["text"] for entity in rtf["entities"]} >= {"Rash", "amoxicillin"}
    assert {entity["text"] for entity in page["entities"]} >= {"Nausea", "codeine"}
    for document in (plain, rtf, page):
        for entity in document["entities"]:
            assert document["text"][entity["start"] : entity["end"]] == entity["text"]
    assert rtf["status"]["warnings"] == ["read from RTF: offsets count the text without its markup"]
    assert plain["status"]["warnings"] == []

    assert invoke([*asked, "--out", "bare.jsonl"]).exit_code == 0
    kept = lines("kept.jsonl")
    assert lines("bare.jsonl") == [
        {key: value for key, value in document.items() if key != "text"} for document in kept
    ]


def test_standard_input_may_be_stripped_too(notes: Path) -> None:
    asked = ["-", "--markup", "strip", "--format", "documents", "--keep-text"]
    result = invoke(asked, RTF)
    assert json.loads(result.stdout)["text"] == "Rash after amoxicillin 500 mg.\n"


@pytest.mark.parametrize(
    "more", [["--format", "triples"], ["--format", "documents", "--redact-text"]]
)
def test_text_is_kept_in_documents_only(notes: Path, more: list[str]) -> None:
    result = invoke(["notes", "--keep-text", "--out", "o.jsonl", *more])
    assert result.exit_code == 2
    assert "--keep-text writes whole notes into documents" in result.stderr


def test_pieces_of_html_in_a_note_are_warned_of(notes: Path) -> None:
    Path("note.txt").write_text("Denies <b>rash</b>.<br>Took aspirin.", encoding="utf-8")
    result = invoke(["note.txt", "--format", "documents"])
    assert json.loads(result.stdout)["status"]["warnings"] == ["3 HTML tags were read as words"]
