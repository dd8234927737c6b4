from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from emlb.evaluation.protocols.base import Key, Row, add
from emlb.evaluation.protocols.paper import Paper
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation

from .perturb import perturb

Pair = tuple[Document, Document]


def restated(pairs: Sequence[Pair]) -> dict[Key, dict[str, float]]:
    """The rules once more: items crossed off one by one, characters looked at one by one."""
    rows: dict[Key, dict[str, float]] = {}
    for section in ("entities", "relations"):
        right: list[str] = []
        n_predicted: list[str] = []
        n_gold: list[str] = []
        for gold, predicted in pairs:
            left = items(gold, section)
            n_gold += [item[0] for item in left]
            for item in items(predicted, section):
                n_predicted.append(item[0])
                if item in left:
                    left.remove(item)
                    right.append(item[0])
        for name in sorted({*n_predicted, *n_gold}):
            counts = [names.count(name) for names in (right, n_predicted, n_gold)]
            rows[section, name, "strict"] = measures(*counts)
        rows[section, "micro", "strict"] = measures(len(right), len(n_predicted), len(n_gold))
    types = sorted({e.type for pair in pairs for document in pair for e in document.entities})
    dice = {}
    for type in types:
        marks = [
            (covers(gold, type, place), covers(predicted, type, place))
            for gold, predicted in pairs
            for place in range(len(gold.note.text))
        ]
        shared, either = sum(all(mark) for mark in marks), sum(sum(mark) for mark in marks)
        dice[type] = 2 * shared / either
        rows["entities", type, "characters"] = {"dice": dice[type]}
    mean = sum(dice.values()) / len(dice) if dice else 0.0
    rows["entities", "macro", "characters"] = {"mdice": mean}
    return rows


def items(document: Document, section: str) -> list[tuple[str, object]]:
    if section == "entities":
        return [(e.type, e.spans) for e in document.entities]
    ends = [(r.type, document.entity(r.head), document.entity(r.tail)) for r in document.relations]
    return [(type, (h.type, h.spans, t.type, t.spans)) for type, h, t in ends]


def covers(document: Document, type: str, place: int) -> bool:
    return any(
        start <= place < end
        for entity in document.entities
        if entity.type == type
        for start, end in entity.spans
    )


def measures(right: int, predicted: int, gold: int) -> dict[str, float]:
    return {
        "precision": right / predicted if predicted else 0.0,
        "recall": right / gold if gold else 0.0,
        "f1": 2 * right / (predicted + gold) if right else 0.0,
    }


def scored(*pairs: Pair) -> dict[Key, Row]:
    protocol = Paper()
    return {row.key: row for row in protocol.rows(add(protocol.tally(*pair) for pair in pairs))}


def check(pairs: Sequence[Pair]) -> None:
    rows, expected = scored(*pairs), restated(pairs)
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert dict(row.values) == pytest.approx(expected[key], abs=1e-12), key


def document(*mentions: tuple[str, Fragment | tuple[Fragment, ...]]) -> Document:
    note = Note("note", "x" * 100)
    entities = []
    for number, (type, span) in enumerate(mentions, start=1):
        spans = (span,) if isinstance(span[0], int) else span
        entities.append(Entity.annotate(note, f"T{number}", type, spans))
    return Document(note, tuple(entities))


def test_perturbed_predictions_score_as_restated(tiny_documents: tuple[Document, ...]) -> None:
    random = Random(22)
    notes = [note for note in tiny_documents if len(note.note.text) < 150]
    for _ in range(500):
        chosen = random.sample(notes, random.randint(1, 3))
        golds = [perturb(note, random, edits=random.choice((0, 3))) for note in chosen]
        check([(gold, perturb(gold, random, types=("Dose",))) for gold in golds])


def test_dice_is_over_characters() -> None:
    gold = document(("Drug", (0, 10)), ("Drug", (20, 30)), ("ADE", (40, 50)))
    predicted = document(("Drug", (5, 10)), ("Drug", (20, 35)), ("Dose", (60, 64)))
    rows = scored((gold, predicted))
    drug = rows["entities", "Drug", "characters"]
    assert (drug.gold, drug.predicted, drug.values["dice"]) == (20, 20, 0.75)
    assert rows["entities", "macro", "characters"].values == {"mdice": 0.25}
    assert rows["entities", "micro", "strict"].values["f1"] == 0.0


def test_dice_pools_documents_and_counts_a_character_once() -> None:
    first = document(("Drug", (0, 10))), document(("Drug", (0, 10)), ("Drug", (0, 10)))
    second = document(("Drug", (0, 2))), document()
    drug = scored(first, second)["entities", "Drug", "characters"]
    assert (drug.gold, drug.predicted) == (12, 10)
    assert drug.values["dice"] == pytest.approx(20 / 22)


def test_a_gap_is_not_covered() -> None:
    gapped, whole = document(("ADE", ((0, 4), (6, 10)))), document(("ADE", (0, 10)))
    rows = scored((gapped, whole))
    assert rows["entities", "ADE", "characters"].values["dice"] == pytest.approx(16 / 18)
    assert rows["entities", "ADE", "strict"].values["f1"] == 0.0


def test_a_duplicate_needs_a_partner() -> None:
    once, twice = document(("ADE", (0, 4))), document(("ADE", (0, 4)), ("ADE", (0, 4)))
    values = scored((once, twice))["entities", "micro", "strict"].values
    assert (values["precision"], values["recall"]) == (0.5, 1.0)
    assert scored((twice, twice))["entities", "micro", "strict"].values["f1"] == 1.0


def test_relations_have_no_dice(tiny_documents: tuple[Document, ...]) -> None:
    gold = tiny_documents[0]
    relation = gold.relations[0]
    turned = Document(
        gold.note, gold.entities, (Relation(relation.type, relation.tail, relation.head),)
    )
    rows = scored((gold, turned))
    assert rows["relations", relation.type, "strict"].values["f1"] == 0.0
    assert rows["entities", "micro", "strict"].values["f1"] == 1.0
    assert {mode for section, _, mode in rows if section == "relations"} == {"strict"}


def test_rows_keep_their_order() -> None:
    protocol = Paper()
    gold = document(("Drug", (0, 4)), ("ADE", (5, 9)))
    assert [row.key for row in protocol.rows(protocol.tally(gold, gold))] == [
        *(("entities", name, "strict") for name in ("ADE", "Drug", "micro")),
        *(("entities", name, "characters") for name in ("ADE", "Drug", "macro")),
        ("relations", "micro", "strict"),
    ]


def test_nothing_to_divide_by() -> None:
    empty, full = document(), document(("Drug", (0, 4)))
    for pair in ((empty, empty), (full, empty), (empty, full)):
        values = [value for row in scored(pair).values() for value in row.values.values()]
        assert set(values) == {0.0}
        check([pair])
    assert len(scored((empty, empty))) == len(scored()) == 3
    # Of records made by hand: no reader lets a mention without characters pass.
    bare = Document(Note("note", "x"), (Entity("T1", "Drug", 0, 0, ""),))
    assert scored((bare, bare))["entities", "macro", "characters"].values == {"mdice": 0.0}


def test_tallies_add_up_in_any_grouping(tiny_documents: tuple[Document, ...]) -> None:
    random, protocol = Random(10), Paper()
    pairs = [(note, perturb(note, random, edits=5)) for note in tiny_documents for _ in range(2)]
    tallies = [protocol.tally(*pair) for pair in pairs]
    parts = add([add(tallies[5:]), add([]), add(tallies[:5])])
    assert protocol.rows(add(tallies)) == protocol.rows(parts)
    check(pairs)
