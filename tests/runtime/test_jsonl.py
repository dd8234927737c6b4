"""The readers of JSON lines, and the values that the writers write."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.errors import DataError
from emlb_runtime.formats import (
    document_from_json,
    document_to_json,
    read_documents,
    read_mixture,
    triple_to_json,
)
from emlb_runtime.formats import report as reasons
from emlb_runtime.records import Document, Entity, Note, Relation, Status

TEXT = "Rash after amoxicillin 😀."
MARKER = "Zebedee"

scores = st.integers(0, 10_000).map(lambda n: n / 10_000)
names = st.text(min_size=1, max_size=6)
statuses = st.builds(
    Status,
    st.integers(0, 99),
    st.integers(0, 9),
    names,
    names,
    st.lists(names, max_size=2).map(tuple),
)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A document over any text, as an extractor could have made it."""
    note = Note(draw(names), draw(st.text(min_size=1, max_size=30)))
    cuts = st.lists(st.integers(0, len(note.text)), min_size=2, max_size=6, unique=True).map(sorted)
    entities = []
    for index in range(draw(st.integers(0, 4))):
        bounds = draw(cuts)
        spans = tuple(zip(bounds[::2], bounds[1::2], strict=False))
        attributes = draw(st.dictionaries(names, st.just("") | names, max_size=2))
        sure = {name: draw(scores) for name in attributes if draw(st.booleans())}
        more = {"score": draw(scores), "task": draw(names)}
        more |= {"attributes": attributes, "attribute_scores": sure}
        entities.append(Entity.annotate(note, f"T{index + 1}", draw(names), spans, **more))
    relations = []
    if entities:
        ends = st.sampled_from([entity.id for entity in entities])
        facts = st.none() | st.booleans()
        links = st.lists(st.builds(Relation, names, ends, ends, scores, names, facts), max_size=4)
        relations = draw(links)
    status = draw(st.none() | statuses)
    return Document(note, tuple(entities), tuple(relations), status)


def rash() -> dict[str, Any]:
    return {"id": "T1", "type": "Rash", "start": 0, "end": 4, "text": "Rash"}


def write_lines(path: Path, *values: object) -> Path:
    lines = (json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return path


@given(documents())
def test_round_trip(document: Document) -> None:
    value = json.loads(json.dumps(document_to_json(document)))
    assert document_from_json(value, text=document.note.text) == document
    with_text = json.loads(json.dumps(document_to_json(document, with_text=True)))
    assert document_from_json(with_text) == document
    without_text = document_from_json(value)
    assert without_text.entities == document.entities
    assert without_text.note == Note(document.note.name, "")


def test_the_values_are_those_of_the_documentation() -> None:
    note = Note("visit-17.txt", "Took amoxicillin, then a rash.")
    head = Entity.annotate(note, "T2", "Disorder", ((25, 29),), score=0.98123, task="clinical")
    tail = Entity.annotate(note, "T1", "Drug", ((5, 16),), score=0.99999, task="clinical")
    relation = Relation("ADE-Drug", "T2", "T1", 0.96404, "clinical")
    status = Status(30, 1, "CPUExecutionProvider", "int8", ("w",))
    document = Document(note, (tail, head), (relation,), status)
    head_value = {"type": "Disorder", "start": 25, "end": 29, "text": "rash", "score": 0.9812}
    tail_value = {"type": "Drug", "start": 5, "end": 16, "text": "amoxicillin", "score": 1.0}
    assert document.to_json() == {
        "note": "visit-17.txt",
        "entities": [
            {"id": "T1", **tail_value, "task": "clinical"},
            {"id": "T2", **head_value, "task": "clinical"},
        ],
        "relations": [
            {"type": "ADE-Drug", "head": "T2", "tail": "T1", "score": 0.964, "task": "clinical"}
        ],
        "status": {
            "characters": 30,
            "windows": 1,
            "provider": "CPUExecutionProvider",
            "precision": "int8",
            "warnings": ["w"],
        },
    }
    (triple,) = document.triples()
    assert triple_to_json("visit-17.txt", triple) == {
        "note": "visit-17.txt",
        "head": head_value,
        "relation": "ADE-Drug",
        "tail": tail_value,
        "score": 0.964,
        "task": "clinical",
    }


def test_attributes_and_facts() -> None:
    note = Note("visit-17.txt", "Took amoxicillin, denies a rash.")
    said = {"attributes": {"Assertion": "absent"}, "attribute_scores": {"Assertion": 0.97004}}
    head = Entity.annotate(note, "T2", "Disorder", ((27, 31),), task="clinical", **said)
    tail = Entity.annotate(note, "T1", "Drug", ((5, 16),), task="clinical")
    document = Document(
        note, (tail, head), (Relation("ADE-Drug", "T2", "T1", 0.9, "clinical", asserted=False),)
    )
    (_, value), (link,) = document.to_json()["entities"], document.to_json()["relations"]
    assert value["attributes"] == {"Assertion": "absent"}
    assert value["attribute_scores"] == {"Assertion": 0.97}
    assert link["asserted"] is False
    (triple,) = document.triples()
    line = triple_to_json("visit-17.txt", triple)
    assert line["head"]["attributes"] == {"Assertion": "absent"}
    assert line["head"]["attribute_scores"] == {"Assertion": 0.97}
    assert line["asserted"] is False and "attributes" not in line["tail"]


def test_fragments_only_where_there_are_some() -> None:
    note = Note("note", TEXT)
    whole = Entity.annotate(note, "T1", "X", ((0, 4),))
    parts = Entity.annotate(note, "T2", "X", ((0, 4), (5, 10)))
    values = document_to_json(Document(note, (whole, parts)))["entities"]
    assert "fragments" not in values[0]
    assert values[1]["fragments"] == [[0, 4], [5, 10]]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"start": 4}, reasons.ZERO_LENGTH),
        ({"end": 99}, reasons.PAST_THE_END),
        ({"end": True}, reasons.MALFORMED),
        ({"start": -1}, reasons.MALFORMED),
        ({"score": 1.5}, reasons.MALFORMED),
        ({"score": float("nan")}, reasons.MALFORMED),
        ({"type": None}, reasons.MALFORMED),
        ({"fragments": []}, reasons.MALFORMED),
        ({"attributes": {"Assertion": 1}}, reasons.MALFORMED),
        ({"attribute_scores": {"Assertion": 0.5}}, reasons.MALFORMED),
        ({"attributes": {"A": "b"}, "attribute_scores": {"A": 1.5}}, reasons.MALFORMED),
        ({"fragments": [[0, 2]]}, reasons.MALFORMED),
        ({"fragments": [[2, 4], [0, 2]]}, reasons.DISORDERED),
    ],
)
def test_unusable_entities_are_dropped_and_reported(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    value = {
        "note": "a",
        "entities": [rash() | {"id": "T2"} | change, rash()],
        "relations": [{"type": "X", "head": "T1", "tail": "T2"}],
    }
    path = write_lines(tmp_path / "documents.jsonl", value)
    ((document, report),) = read_documents(path, texts={"a": TEXT})
    assert [entity.id for entity in document.entities] == ["T1"]
    assert document.relations == ()
    assert [(problem.line, problem.id, problem.reason) for problem in report.problems] == [
        (1, "T2", reason),
        (1, "R1", reasons.NO_ARGUMENT),
    ]
    with pytest.raises(DataError, match=f"T2: {reason}; write the object with"):
        document_from_json(value, text=TEXT)


def test_other_problems_of_a_document(tmp_path: Path) -> None:
    value = {
        "note": "a",
        "entities": [rash(), rash(), 1, rash() | {"id": "T3", "text": "Ra"}],
        "relations": [1, {"type": "X", "head": "T1"}],
        "status": {"characters": 1},
    }
    path = write_lines(tmp_path / "documents.jsonl", value)
    ((document, report),) = read_documents(path)
    assert len(document.entities) == 1
    assert [(problem.id, problem.reason) for problem in report.problems] == [
        ("T1", reasons.REPEATED_ID),
        ("", reasons.MALFORMED),
        ("T3", reasons.LENGTH_DIFFERS),
        ("R1", reasons.MALFORMED),
        ("R2", reasons.MALFORMED),
        ("", reasons.BAD_STATUS),
    ]
    ((document, report),) = read_documents(path, texts={"a": TEXT})
    assert [entity.text for entity in document.entities] == ["Rash"]
    assert report.summary()[reasons.SURFACE_DIFFERS] == 1


def test_error_records_read_as_documents_without_entities(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "out.jsonl", {"note": "a", "error": "not UTF-8"})
    ((document, report),) = read_documents(path)
    assert document == Document(Note("a", ""))
    assert report.summary() == {reasons.FAILED_NOTE: 1}


def test_files_with_marks_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    lines = json.dumps({"note": "a\u2028b", "entities": []}, ensure_ascii=False)
    path.write_bytes(f"\ufeff{lines}\r\n\r\n{lines}".encode())
    found = [document.note.name for document, _ in read_documents(path)]
    assert found == ["a\u2028b"] * 2


@pytest.mark.parametrize(
    "line",
    [
        f'{{"note": "{MARKER}", "entities": [',
        f'"{MARKER}"',
        f'{{"entities": [], "x": "{MARKER}"}}',
        f'{{"note": "a", "entities": "{MARKER}"}}',
        f'{{"note": "a", "x": "{MARKER}"}}',
        f'{{"note": "a", "x": "{MARKER}", "entities": {"[" * 100_000}',
        f'{{"note": "{MARKER}\xff"}}',
    ],
)
def test_broken_lines_end_the_reading_without_a_word_of_text(tmp_path: Path, line: str) -> None:
    path = tmp_path / "documents.jsonl"
    path.write_bytes(b'{"note": "a", "entities": []}\n' + line.encode("latin-1"))
    found = read_documents(path)
    next(found)
    refused = r"documents\.jsonl:2: (not a JSON object with|its JSON is nested)"
    with pytest.raises(DataError, match=refused) as caught:
        next(found)
    assert MARKER not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_report_holds_note_text(tmp_path: Path) -> None:
    mention = {"id": MARKER, "type": "X", "start": 0, "end": 9, "text": MARKER}
    link = {"type": "X", "head": MARKER, "tail": MARKER}
    value = {"note": "a", "entities": [mention], "relations": [link], "status": MARKER}
    path = write_lines(tmp_path / "documents.jsonl", value)
    ((document, report),) = read_documents(path, texts={"a": MARKER})
    assert len(report.problems) == 3
    assert MARKER not in f"{report!r} {report.summary()} {document!r}"
    with pytest.raises(DataError) as caught:
        document_from_json(value, text=MARKER)
    assert MARKER not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jsonl: cannot be read \(No such file"):
        next(read_documents(tmp_path / "x.jsonl"))


def mixture_line(corpus: str, **change: Any) -> dict[str, Any]:
    entities = [["Rash", [[0, 4]]], ["Drug", [[11, 15], [18, 22]]]]
    value = {"corpus": corpus, "doc": "7", "text": TEXT, "entities": entities}
    return {**value, "relations": [["ADE-Drug", 0, 1]], **change}


def test_mixture(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "mixture.jsonl", mixture_line("ade"), mixture_line("chia"))
    read = list(read_mixture(path))
    assert [(document.note.name, corpus) for document, corpus, _ in read] == [
        ("ade/7", "ade"),
        ("chia/7", "chia"),
    ]
    document, _, report = read[0]
    note = Note("ade/7", TEXT)
    assert document.entities == (
        Entity.annotate(note, "T1", "Rash", ((0, 4),)),
        Entity.annotate(note, "T2", "Drug", ((11, 15), (18, 22))),
    )
    assert document.relations == (Relation("ADE-Drug", "T1", "T2"),)
    assert report.problems == ()
    assert report.counts["discontinuous"] == 1
    assert [corpus for _, corpus, _ in read_mixture(path, corpora=["chia", "e3c"])] == ["chia"]
    with pytest.raises(DataError, match="no document of e3c; the file holds ade, chia: choose"):
        list(read_mixture(path, corpora=["e3c"]))


def test_attributes_of_a_mixture(tmp_path: Path) -> None:
    entities = [["X", [[0, 4]], {"Assertion": "absent"}], ["X", [[0, 4]], {"Assertion": 1}]]
    line = mixture_line("ade", entities=entities, relations=[])
    ((document, _, report),) = read_mixture(write_lines(tmp_path / "mixture.jsonl", line))
    assert [dict(entity.attributes) for entity in document.entities] == [{"Assertion": "absent"}]
    assert [(problem.id, problem.reason) for problem in report.problems] == [
        ("T2", reasons.MALFORMED)
    ]


def test_problems_of_a_mixture(tmp_path: Path) -> None:
    entities = [["X", [[0, 0]]], ["X", [[0, 99]]], ["X", []], ["X"], ["X", [[0, 4]]], MARKER]
    relations = [["A", 4, 4], ["A", 4, 0], ["A", 4, -1], ["A", 4], ["A", True, 4], MARKER]
    path = write_lines(
        tmp_path / "mixture.jsonl", mixture_line("ade", entities=entities, relations=relations)
    )
    ((document, _, report),) = read_mixture(path)
    assert [entity.id for entity in document.entities] == ["T5"]
    assert document.relations == (Relation("A", "T5", "T5"),)
    assert [(problem.id, problem.reason) for problem in report.problems] == [
        ("T1", reasons.ZERO_LENGTH),
        ("T2", reasons.PAST_THE_END),
        ("T3", reasons.MALFORMED),
        ("T4", reasons.MALFORMED),
        ("T6", reasons.MALFORMED),
        ("R2", reasons.NO_ARGUMENT),
        ("R3", reasons.NO_ARGUMENT),
        ("R4", reasons.MALFORMED),
        ("R5", reasons.NO_ARGUMENT),
        ("R6", reasons.MALFORMED),
    ]
    assert MARKER not in repr(report)


@pytest.mark.parametrize("change", [{"corpus": 1}, {"text": None}, {"relations": {}}])
def test_lines_that_are_no_mixture(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_lines(tmp_path / "mixture.jsonl", mixture_line("ade") | change)
    with pytest.raises(DataError, match='jsonl:1: not a JSON object with "corpus", "doc"'):
        list(read_mixture(path))


def test_whole_mixture(corpora: Path) -> None:
    path = corpora / "mixture" / "dev.jsonl"
    if not path.is_file():
        pytest.skip("no mixture among the corpora")
    per_corpus: Counter[str] = Counter()
    seen = set()
    for document, corpus, report in read_mixture(path):
        assert report.problems == ()
        assert len(list(document.triples())) == len(document.relations)
        per_corpus[corpus] += 1
        seen.add(document.note.name)
        value = json.loads(json.dumps(document_to_json(document)))
        assert document_from_json(value, text=document.note.text) == document
    assert len(seen) == per_corpus.total() > 0
