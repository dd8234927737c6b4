"""The markup in which test notes are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emlb_runtime.formats.brat import read_brat_folder
from emlb_runtime.records import Document, Relation

from .tiny import MarkupError, parse_markup


def test_mentions_relations_and_fragments() -> None:
    document = parse_markup(
        "[Drug:d1 amoxicillin] caused [Disorder:e1 severe [Disorder:e2 rash]] or "
        "[Disorder:e3 dry] or [Disorder:e3 itchy] skin. {ADE-Drug e1 d1} {ADE-Drug e3 d1}"
    )
    assert document.note.text == "amoxicillin caused severe rash or dry or itchy skin."
    assert [(entity.id, entity.type, entity.text) for entity in document.entities] == [
        ("d1", "Drug", "amoxicillin"),
        ("e1", "Disorder", "severe rash"),
        ("e2", "Disorder", "rash"),
        ("e3", "Disorder", "dry or itchy"),
    ]
    assert document.entity("e3").fragments == ((34, 37), (41, 46))
    assert document.relations == (
        Relation("ADE-Drug", "e1", "d1"),
        Relation("ADE-Drug", "e3", "d1"),
    )


@pytest.mark.parametrize(
    ("markup", "problem"),
    [
        ("took [Drug:d1 aspirin", "d1 is not closed"),
        ("took aspirin] today", "stray ']' at character 12"),
        ("took [aspirin] today", "stray '[' at character 5"),
        ("took [Drug: aspirin]", "stray '[' at character 5"),
        ("took [Drug:d1 ]", "d1 is empty or has space at its ends"),
        ("took [Drug:d1 aspirin ]", "d1 is empty or has space at its ends"),
        ("[Drug:d1 aspirin] [Disorder:d1 rash]", "d1 has two types"),
        ("[Drug:d1 aspirin [Drug:d1 again]]", "d1: fragment"),
        ("[Drug:d1 aspirin] } {Treats d1 d1}", "stray '}' at character 18"),
        ("[Drug:d1 aspirin] {Treats d1}", "not a list of {Type head tail}"),
        ("[Drug:d1 aspirin] {Treats d1 e1}", "{Treats d1 e1} does not join two mentions"),
        ("[Drug:d1 aspirin] {Treats d1 d1}", "{Treats d1 d1} does not join two mentions"),
        ("[Drug:d1 a] [Drug:d2 b] {X d1 d2} {X d1 d2}", "a relation is given twice"),
        ("[Drug:d1 a] {X d1 d2} [Drug:d2 b]", "{X d1 d2} does not join two mentions"),
        ("[Drug:d1 a] [Drug:d2 b] {X d1 d2} text", "not a list of {Type head tail}"),
    ],
)
def test_malformed_markup_is_refused(markup: str, problem: str) -> None:
    with pytest.raises(MarkupError, match=re.escape(problem)):
        parse_markup(markup)


def test_notes_survive_the_brat_folder(
    tiny_documents: tuple[Document, ...], tiny_data: Path
) -> None:
    read = {
        document.note.name: (document, report) for document, report in read_brat_folder(tiny_data)
    }
    assert len(read) == len(tiny_documents) == 8
    for written in tiny_documents:
        document, report = read[written.note.name]
        assert not report.summary()
        assert document.note == written.note
        assert [(e.type, e.spans) for e in document.entities] == [
            (e.type, e.spans) for e in written.entities
        ]
        assert [(t.head.spans, t.relation.type, t.tail.spans) for t in document.triples()] == [
            (t.head.spans, t.relation.type, t.tail.spans) for t in written.triples()
        ]
