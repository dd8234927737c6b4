"""The writers: what lies on disk after every note, and what reads back."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats import (
    FORMATS,
    brat_stem,
    open_writer,
    read_brat,
    read_brat_folder,
    read_documents,
)
from emlb_runtime.records import Document, Entity, ErrorRecord, Note, Relation, Status

MARKER = "Zebedee"


def make(name: str, text: str = "\ufeffRash\r\nafter amoxicillin 😀.") -> Document:
    note = Note(name, text)
    entities = (
        Entity.annotate(note, "T1", "Rash", ((1, 5),), score=0.87654321, task="clinical"),
        Entity.annotate(note, "T2", "Drug", ((13, 24),), score=0.5, task="clinical"),
    )
    relations = (Relation("ADE-Drug", "T1", "T2", 0.33333333, "clinical"),)
    return Document(note, entities, relations, Status(len(text), 1, "CPU", "fp32"))


def test_triples(tmp_path: Path) -> None:
    out = tmp_path / "triples.jsonl"
    with open_writer("triples", out) as writer:
        writer.write(make("a.txt"))
        writer.write(Document(Note("empty", "nothing here")))
        writer.write_error(ErrorRecord("b.txt", "not UTF-8"))
    assert out.read_bytes().decode() == (
        '{"note": "a.txt", "head": {"type": "Rash", "start": 1, "end": 5, "text": "Rash", '
        '"score": 0.8765}, "relation": "ADE-Drug", "tail": {"type": "Drug", "start": 13, '
        '"end": 24, "text": "amoxicillin", "score": 0.5}, "score": 0.3333, '
        '"task": "clinical"}\n'
        '{"note": "b.txt", "error": "not UTF-8"}\n'
    )


def test_documents_read_back(tmp_path: Path) -> None:
    out = tmp_path / "documents.jsonl"
    first, second = make("a"), make("é😀")
    with open_writer("documents", out) as writer:
        writer.write(first)
        writer.write(second)
    assert "é😀" in out.read_text(encoding="utf-8")
    texts = {document.note.name: document.note.text for document in (first, second)}
    read = list(read_documents(out, texts=texts))
    assert [document.to_json() for document, _ in read] == [first.to_json(), second.to_json()]
    assert all(report.problems == () for _, report in read)


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
def test_one_line_per_note_whatever_the_text(names: list[str]) -> None:
    out = io.StringIO()
    with open_writer("documents", out) as writer:
        for name in names:
            note = Note(name, name)
            mention = Entity.annotate(note, "T1", "X", ((0, len(name)),))
            writer.write(Document(note, (mention,)))
    lines = out.getvalue().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line)["note"] for line in lines] == names
    assert [json.loads(line)["entities"][0]["text"] for line in lines] == names


@pytest.mark.parametrize("format", ["triples", "documents"])
def test_every_line_is_on_disk_once_written(tmp_path: Path, format: str) -> None:
    out = tmp_path / "out.jsonl"
    with open_writer(format, out) as writer:
        for number in range(1, 4):
            writer.write(make("a"))
            data = out.read_bytes()
            assert data.endswith(b"\n") and data.count(b"\n") == number
            assert b"\r" not in data


@pytest.mark.parametrize("format", ["triples", "documents"])
def test_append_continues_a_file(tmp_path: Path, format: str) -> None:
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    parts.write_text("of an earlier run\n", encoding="utf-8")
    with open_writer(format, whole) as writer:
        writer.write(make("a"))
        writer.write(make("b"))
    for name, append in (("a", False), ("b", True)):
        with open_writer(format, parts, append=append) as writer:
            writer.write(make(name))
    assert parts.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("format", ["triples", "documents"])
def test_lone_surrogates(tmp_path: Path, format: str) -> None:
    out = tmp_path / "out.jsonl"
    with open_writer(format, out) as writer:
        writer.write(make("a\ud800"))
        writer.write(make("é"))
    first, second = out.read_bytes().decode("utf-8").splitlines()
    assert json.loads(first)["note"] == "a\ud800"
    assert '"é"' in second


def test_stream_of_a_narrow_encoding_stays_open() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="")
    with open_writer("documents", stream) as writer:
        writer.write(make("é😀"))
    assert not stream.closed
    assert json.loads(raw.getvalue())["note"] == "é😀"


def test_brat_reads_back(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    documents = [make("a.txt"), make("b/c.txt"), make("d\ud800", "\ud800Rash  and  amoxicillin.")]
    with open_writer("brat", out) as writer:
        for document in documents:
            writer.write(document)
        writer.write_error(ErrorRecord("bad.txt", "not UTF-8"))
    for document in documents:
        stem = brat_stem(document.note.name)
        again, report = read_brat(out / f"{stem}.txt", name=document.note.name)
        assert report.problems == ()
        assert again.note == document.note
        assert [(entity.id, entity.type, entity.text) for entity in again.entities] == [
            (entity.id, entity.type, entity.text) for entity in document.entities
        ]
        assert [relation.type for relation in again.relations] == ["ADE-Drug"]
    assert len(list(read_brat_folder(out))) == 3
    errors = (out / "errors.jsonl").read_text(encoding="utf-8")
    assert errors == '{"note": "bad.txt", "error": "not UTF-8"}\n'
    assert not list(out.glob("*.partial"))


def test_brat_resumed_ends_with_the_same_files(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    with open_writer("brat", whole) as writer:
        for name in "abc":
            writer.write(make(name))
    with open_writer("brat", parts) as writer:
        writer.write(make("a"))
        writer.write(make("b"))
    (parts / "b.ann").unlink()
    (parts / ".b.ann.partial").write_bytes(b"T1\tRa")
    with open_writer("brat", parts, append=True) as writer:
        writer.write(make("b"))
        writer.write(make("c"))
    files = [{path.name: path.read_bytes() for path in out.iterdir()} for out in (whole, parts)]
    assert files[0] == files[1]


def test_brat_beside_the_notes_themselves(tmp_path: Path) -> None:
    document = make("a.txt")
    data = document.note.text.encode("utf-8")
    (tmp_path / "a.txt").write_bytes(data)
    with open_writer("brat", tmp_path) as writer:
        writer.write(document)
    assert (tmp_path / "a.txt").read_bytes() == data
    assert (tmp_path / "a.ann").stat().st_size > 0


def test_brat_never_overwrites_another_note(tmp_path: Path) -> None:
    with open_writer("brat", tmp_path) as writer:
        writer.write(make("a.txt"))
        before = (tmp_path / "a.ann").read_bytes()
        with pytest.raises(DataError, match=r"a: .*a\.txt already holds another note; give") as e:
            writer.write(Document(Note("a", MARKER)))
        assert MARKER not in str(e.value)
        assert (tmp_path / "a.ann").read_bytes() == before
        writer.write(make("b.txt"))
    with pytest.raises(ConfigError, match=r"already holds \.ann files, .* choose an empty"):
        open_writer("brat", tmp_path)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("visit-17.txt", "visit-17"),
        ("visit 17", "visit 17"),
        ("a.b.txt", "a.b"),
        ("ward/2/visit.txt", "ward__2__visit"),
        ("Ärztin/Ü.txt", "Ärztin__Ü"),
    ],
)
def test_plain_names_keep_their_form(name: str, stem: str) -> None:
    assert brat_stem(name) == stem


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-",
        ".",
        "..",
        "../x",
        "/etc/x",
        "a//b",
        "a__b",
        ".hidden",
        "C:\\x",
        "x" * 999,
        "a.",
        "\0",
    ],
)
def test_other_names_get_a_hash(name: str) -> None:
    assert brat_stem(name)[-13] == "-"


@given(st.text(alphabet=st.characters(), max_size=300))
def test_every_name_is_one_safe_file_name(name: str) -> None:
    stem = brat_stem(name)
    assert stem and not stem.startswith(".") and len(stem.encode()) < 240
    assert not set(stem) & set('/\\\0:*?"<>|\r\n')


@given(st.lists(st.text(alphabet="ab/._\\", min_size=1, max_size=6), min_size=2, unique=True))
def test_names_stay_apart(names: list[str]) -> None:
    bases = {name.removesuffix(".txt").replace("\\", "/") for name in names}
    assert len({brat_stem(name) for name in names}) >= len(bases)


def test_wrong_outputs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'csv'; choose triples, documents, brat"):
        open_writer("csv", tmp_path / "x")
    with pytest.raises(ConfigError, match="brat format needs a folder"):
        open_writer("brat", io.StringIO())
    with pytest.raises(ConfigError, match="cannot be written .* choose another output"):
        open_writer("triples", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made .* choose another folder"):
        open_writer("brat", tmp_path / "file")
    assert set(FORMATS) == {"triples", "documents", "brat"}
