from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from emlb.evaluation.protocols.ade import Ade
from emlb.evaluation.protocols.base import Row, add
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation

from .perturb import perturb

Pair = tuple[Document, Document]
Figures = tuple[float, float, float]
Mention = tuple[int, int, str]
Link = tuple[Mention, Mention, str]

MODES = ("with overlap", "without overlap")
OUTSIDE = ""


def published_rows(pairs: Sequence[Pair]) -> dict[tuple[str, str, str], Figures]:
    """SpERT's rules once more: two lists of labels, compared label by label."""
    rows: dict[tuple[str, str, str], Figures] = {}
    for mode in MODES:
        for number, section in enumerate(("entities", "relations")):
            gold_labels, predicted_labels = [], []
            for gold, predicted in pairs:
                wanted, found = sides(gold, mode)[number], sides(predicted, mode)[number]
                for item in {*wanted, *found}:
                    gold_labels.append(item[2] if item in wanted else OUTSIDE)
                    predicted_labels.append(item[2] if item in found else OUTSIDE)
            labels = sorted({*gold_labels, *predicted_labels} - {OUTSIDE})
            for label in labels:
                rows[section, label, mode] = compare(gold_labels, predicted_labels, [label])
            rows[section, "micro", mode] = compare(gold_labels, predicted_labels, labels)
            each = [rows[section, label, mode] for label in labels] or [(0.0, 0.0, 0.0)]
            first, second, third = (sum(column) / len(each) for column in zip(*each, strict=True))
            rows[section, "macro", mode] = (first, second, third)
    return rows


def sides(document: Document, mode: str) -> tuple[list[Mention], list[Link]]:
    mentions = {e.id: (e.start, e.end, e.type) for e in document.entities}
    entities = list(mentions.values())
    relations = [(mentions[r.head], mentions[r.tail], r.type) for r in document.relations]
    if mode == "without overlap":
        relations = [link for link in relations if not meet(link[0], link[1])]
        entities = [e for e in entities if not any(meet(e, other) for other in entities)]
    return entities, relations


def meet(one: Mention, other: Mention) -> bool:
    return one != other and bool({*range(*one[:2])} & {*range(*other[:2])})


def compare(gold: list[str], predicted: list[str], labels: list[str]) -> Figures:
    pairs = list(zip(gold, predicted, strict=True))
    right = sum(one == other and one in labels for one, other in pairs)
    n_predicted = sum(other in labels for _, other in pairs)
    n_gold = sum(one in labels for one, _ in pairs)
    precision = right / n_predicted if n_predicted else 0.0
    recall = right / n_gold if n_gold else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return precision, recall, f1


def scored(*pairs: Pair) -> dict[tuple[str, str, str], Row]:
    protocol = Ade()
    return {row.key: row for row in protocol.rows(add(protocol.tally(*pair) for pair in pairs))}


def shown(row: Row) -> Figures:
    return row.values["precision"], row.values["recall"], row.values["f1"]


def check(pairs: Sequence[Pair]) -> None:
    rows, expected = scored(*pairs), published_rows(pairs)
    assert rows.keys() == expected.keys()
    for key, row in rows.items():
        assert shown(row) == pytest.approx(expected[key], abs=1e-12), key


def document(
    *mentions: tuple[str, int, int], links: Sequence[tuple[int, int]] = (), name: str = "note"
) -> Document:
    """Mentions with their types, and relations between them by their places."""
    note = Note(name, "x" * 100)
    entities = tuple(
        Entity.annotate(note, f"T{place}", type, ((start, end),))
        for place, (type, start, end) in enumerate(mentions)
    )
    relations = tuple(Relation("ADE", f"T{head}", f"T{tail}") for head, tail in links)
    return Document(note, entities, relations)


def test_perturbed_predictions_score_as_published(tiny_documents: tuple[Document, ...]) -> None:
    random = Random(21)
    dropped = 0
    for _ in range(500):
        pairs = []
        for note in random.sample(tiny_documents, random.randint(1, 4)):
            gold = perturb(note, random, edits=random.choice((0, 3, 6)))
            pairs.append((gold, perturb(gold, random, types=("Dose",), relation_types=("Odd",))))
        check(pairs)
        dropped += any(sides(gold, MODES[0]) != sides(gold, MODES[1]) for gold, _ in pairs)
    assert dropped > 100


def test_overlapping_entities_are_all_dropped_on_their_side() -> None:
    gold = document(("Drug", 0, 4), ("ADE", 0, 9), ("ADE", 8, 12), ("Drug", 12, 20))
    predicted = document(("Drug", 0, 4), ("Drug", 12, 20))
    rows = scored((gold, predicted))
    drug = rows["entities", "Drug", "without overlap"]
    # Only (12, 20) stays in gold; the predicted (0, 4) overlaps nothing predicted.
    assert (drug.gold, drug.predicted, shown(drug)[0]) == (1, 2, 0.5)
    assert ("entities", "ADE", "without overlap") not in rows
    assert rows["entities", "Drug", "with overlap"].gold == 2
    assert rows["entities", "ADE", "with overlap"].gold == 2


def test_a_mention_over_many_takes_them_along() -> None:
    gold = document(("Drug", 0, 50), ("ADE", 1, 4), ("ADE", 5, 8), ("ADE", 40, 60), ("ADE", 60, 70))
    rows = scored((gold, gold))
    assert rows["entities", "micro", "without overlap"].gold == 1
    assert rows["entities", "micro", "with overlap"].gold == 5


def test_a_relation_is_dropped_for_its_own_entities_only() -> None:
    # The case that made the option: "lithium" within "lithium intoxication".
    gold = document(("Drug", 0, 7), ("ADE", 0, 20), ("ADE", 30, 40), links=[(1, 0), (2, 0), (2, 2)])
    rows = scored((gold, gold))
    assert rows["relations", "ADE", "with overlap"].gold == 3
    assert rows["relations", "ADE", "without overlap"].gold == 2


def test_types_and_spans_count() -> None:
    gold = document(("Drug", 0, 4), ("ADE", 10, 14), links=[(1, 0)])
    for predicted, entities, relations in (
        (document(("Drug", 0, 4), ("ADE", 10, 15), links=[(1, 0)]), 0.5, 0.0),
        (document(("Drug", 0, 4), ("Drug", 10, 14), links=[(1, 0)]), 0.5, 0.0),
        (document(("Drug", 0, 4), ("ADE", 10, 14), links=[(0, 1)]), 1.0, 0.0),
        (document(("ADE", 10, 14), ("Drug", 0, 4), links=[(0, 1)]), 1.0, 1.0),
    ):
        for mode in MODES:
            rows = scored((gold, predicted))
            assert rows["entities", "micro", mode].values["f1"] == entities
            assert rows["relations", "micro", mode].values["f1"] == relations


def test_duplicates_collapse() -> None:
    gold = document(("Drug", 0, 4), ("ADE", 10, 14), links=[(1, 0)])
    doubled = document(
        *(("Drug", 0, 4), ("ADE", 10, 14), ("Drug", 0, 4)), links=[(1, 0), (1, 2), (1, 0)]
    )
    for row in scored((gold, doubled), (doubled, gold)).values():
        assert shown(row) == (1.0, 1.0, 1.0)
        assert row.gold in (None, 2, 4) and row.gold == row.predicted


def test_a_discontinuous_mention_is_its_hull() -> None:
    note = Note("note", "x" * 30)
    spans: tuple[tuple[Fragment, ...], ...] = (((0, 4), (10, 14)), ((0, 14),))
    gapped, whole = (Document(note, (Entity.annotate(note, "T1", "ADE", s),)) for s in spans)
    assert shown(scored((gapped, whole))["entities", "micro", "with overlap"]) == (1.0, 1.0, 1.0)


def test_macro_averages_the_types_of_either_side() -> None:
    gold = document(("Drug", 0, 4), ("Drug", 5, 9), ("ADE", 10, 14))
    predicted = document(("Drug", 0, 4), ("ADE", 10, 14), ("Dose", 20, 24))
    rows = scored((gold, predicted))
    macro = rows["entities", "macro", "with overlap"]
    assert shown(macro) == pytest.approx((2 / 3, 1.5 / 3, (2 / 3 + 1) / 3))
    assert shown(rows["entities", "micro", "with overlap"]) == pytest.approx((2 / 3,) * 3)
    assert [row.name for row in Ade().rows(Ade().tally(gold, predicted))][:5] == [
        *("ADE", "Dose", "Drug"),
        *("micro", "macro"),
    ]


def test_nothing_to_divide_by() -> None:
    empty, full = document(), document(("Drug", 0, 4), ("ADE", 10, 14), links=[(1, 0)])
    for pair in ((empty, empty), (full, empty), (empty, full)):
        assert {shown(row) for row in scored(pair).values()} == {(0.0, 0.0, 0.0)}
        check([pair])
    assert len(scored((empty, empty))) == len(scored()) == 8


def test_tallies_add_up_in_any_grouping(tiny_documents: tuple[Document, ...]) -> None:
    random, protocol = Random(9), Ade()
    pairs = [(note, perturb(note, random, edits=6)) for note in tiny_documents for _ in range(3)]
    tallies = [protocol.tally(*pair) for pair in pairs]
    parts = add([add(tallies[5:]), add([]), add(tallies[:5])])
    assert protocol.rows(add(tallies)) == protocol.rows(parts)
    check(pairs)
