"""The main job on the bundled model: notes in, triples out, through the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from emlb_runtime import Extractor
from emlb_runtime.bundle.loader import DEFAULT_MODEL, Bundle
from emlb_runtime.formats.brat import read_brat_folder

MARKER = "Zyxxqolimab"

# No module of the run may open a socket.
OFFLINE = """
import socket, sys
def refuse(*args, **kwargs):
    raise RuntimeError("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = ["emlb-run", *sys.argv[1:]]
from emlb_cli.run import main
main()
"""


def emlb_run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", OFFLINE, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
        check=False,
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def texts(example_notes: tuple[Path, ...]) -> dict[str, str]:
    """The example notes as they are, by file name."""
    return {path.name: path.read_bytes().decode("utf-8") for path in example_notes}


@pytest.fixture(scope="module")
def triples(
    example_notes: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What ``emlb-run examples/notes/*.txt --out triples.jsonl`` writes."""
    out = tmp_path_factory.mktemp("run") / "triples.jsonl"
    result = emlb_run(*example_notes, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "10 notes" in result.stderr
    return read_lines(out)


def test_the_bundled_model_is_whole_and_small() -> None:
    bundle = Bundle.load()
    bundle.verify()
    assert bundle.config.default_precision == "int8"
    size = sum(path.stat().st_size for path in DEFAULT_MODEL.iterdir())
    assert size < 30_000_000


def test_every_triple_lies_on_its_text(
    triples: list[dict[str, Any]], texts: dict[str, str]
) -> None:
    assert len(triples) > 100
    for triple in triples:
        text = texts[Path(triple["note"]).name]
        for side in ("head", "tail"):
            mention = triple[side]
            assert text[mention["start"] : mention["end"]] == mention["text"]
            assert 0.0 < mention["score"] <= 1.0
        assert 0.0 < triple["score"] <= 1.0
    assert {Path(triple["note"]).name for triple in triples} == set(texts)


def test_the_api_gives_the_same(triples: list[dict[str, Any]], texts: dict[str, str]) -> None:
    extractor = Extractor.load(provider="cpu")
    for name, text in texts.items():
        ours = [
            (t.head.start, t.head.end, t.relation.type, t.tail.start, t.tail.end)
            for t in extractor.extract(text, name=name).triples()
        ]
        written = [
            (
                t["head"]["start"],
                t["head"]["end"],
                t["relation"],
                t["tail"]["start"],
                t["tail"]["end"],
            )
            for t in triples
            if Path(t["note"]).name == name
        ]
        assert ours == written


def test_what_any_reader_of_the_sentence_sees() -> None:
    """A sentence that leaves no doubt; the model may miss others."""
    extractor = Extractor.load(provider="cpu")
    document = extractor.extract(
        "The patient developed a severe rash after taking amoxicillin 500 mg."
    )
    found = {(t.head.text, t.relation.type, t.tail.text) for t in document.triples()}
    assert ("rash", "ADE-Drug", "amoxicillin") in {
        (head.removeprefix("severe "), relation, tail) for head, relation, tail in found
    }


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_no_mention_runs_over_a_line_of_a_list_or_a_pipe(end: str) -> None:
    drugs = ["Warfarin", "Digoxin", "Furosemide", "Ramipril"]
    rows = ["Test | Result | Unit", "Sodium | 129 | mmol/L", "Urea | 14 | mmol/L"]
    text = end.join(["Regular medications", *drugs, "", *rows])
    entities = Extractor.load(provider="cpu").extract(text).entities
    assert {entity.text for entity in entities} >= {*drugs, "Sodium", "129"}
    assert not [entity for entity in entities if set(entity.text) & set("|\r\n")]


def test_documents_hold_every_entity(
    example_notes: tuple[Path, ...],
    triples: list[dict[str, Any]],
    texts: dict[str, str],
    tmp_path: Path,
) -> None:
    out = tmp_path / "documents.jsonl"
    assert emlb_run(*example_notes, "--format", "documents", "--out", out).returncode == 0
    documents = read_lines(out)
    assert [Path(d["note"]).name for d in documents] == sorted(texts)
    assert sum(len(d["relations"]) for d in documents) == len(triples)
    for document in documents:
        text = texts[Path(document["note"]).name]
        assert document["status"]["characters"] == len(text)
        assert document["status"]["precision"] == "int8"
        for entity in document["entities"]:
            assert text[entity["start"] : entity["end"]] == entity["text"]


def test_brat_reads_back(
    example_notes: tuple[Path, ...], triples: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "brat"
    assert emlb_run(*example_notes, "--format", "brat", "--out", out).returncode == 0
    read = list(read_brat_folder(out))
    assert len(read) == 10
    assert not any(report.problems for _, report in read)
    assert sum(len(document.relations) for document, _ in read) == len(triples)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_and_order_change_no_byte(
    example_notes: tuple[Path, ...], triples: list[dict[str, Any]], tmp_path: Path, workers: int
) -> None:
    out = tmp_path / "triples.jsonl"
    result = emlb_run(*reversed(example_notes), "--workers", workers, "--out", out)
    assert result.returncode == 0
    by_note = sorted(read_lines(out), key=lambda triple: str(triple["note"]))
    assert by_note == sorted(triples, key=lambda triple: str(triple["note"]))


def test_bad_notes_cost_themselves_only(tmp_path: Path) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a-good.txt").write_text("Rash after amoxicillin.\n", encoding="utf-8")
    (folder / "b-latin.txt").write_bytes(f"{MARKER} caf\xe9".encode("latin-1"))
    (folder / "c-empty.txt").write_bytes(b"")
    (folder / "d-spaces.txt").write_text(" \n\t\r\n")
    (folder / "e-nul.txt").write_bytes(b"Rash\x00 after amoxicillin.\x00")
    (folder / "f-line.txt").write_text("x" * 1_000_000)
    (folder / "g-folder.txt").mkdir()
    out = tmp_path / "out.jsonl"
    inputs = sorted(folder.iterdir(), key=lambda path: path.name)
    result = emlb_run(*inputs, tmp_path / "gone.txt", "--format", "documents", "--out", out)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert MARKER not in result.stderr + out.read_text(encoding="utf-8")
    lines = {Path(line["note"]).name: line for line in read_lines(out)}
    assert "error" in lines["b-latin.txt"]
    assert "error" in lines["gone.txt"]
    assert lines["a-good.txt"]["entities"]
    assert lines["e-nul.txt"]["status"]["warnings"] == ["2 NUL characters"]
    for name in ("c-empty.txt", "d-spaces.txt"):
        assert lines[name]["entities"] == []
        assert lines[name]["status"]["warnings"]


@pytest.mark.parametrize("size", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_huge_note(tmp_path: Path, texts: dict[str, str], size: int) -> None:
    text = texts["long-history.txt"]
    note = tmp_path / "huge.txt"
    note.write_text(text * (size // len(text) + 1), encoding="utf-8", newline="")
    out = tmp_path / "out.jsonl"
    assert emlb_run(note, "--out", out).returncode == 0
    whole = note.read_text(encoding="utf-8")
    found = read_lines(out)
    assert max(triple["tail"]["end"] for triple in found) > 0.95 * len(whole)
    for triple in found[:: max(1, len(found) // 500)]:
        mention = triple["head"]
        assert whole[mention["start"] : mention["end"]] == mention["text"]
