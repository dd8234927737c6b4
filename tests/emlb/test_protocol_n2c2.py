from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest

from emlb.evaluation.protocols import n2c2
from emlb.evaluation.protocols.base import Row, add
from emlb.evaluation.protocols.n2c2 import RELATIONS, TAGS, N2c2
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation
from tests.tiny import parse_markup

from .perturb import perturb

Pair = tuple[Document, Document]
Figures = tuple[float, float, float]

MARKUP = (
    "[Drug:d Warfarin] [Strength:s 5 mg] [Route:r po] [Frequency:f once daily] for"
    " [Reason:w atrial fibrillation]. {Strength-Drug s d} {Route-Drug r d}"
    " {Frequency-Drug f d} {Reason-Drug w d}",
    "Took [Dosage:n two] [Form:f tablets] of [Drug:d amoxicillin] for [Duration:u ten days]"
    " and had [ADE:a a rash], [ADE:b nausea]. {Dosage-Drug n d} {Form-Drug f d}"
    " {Duration-Drug u d} {ADE-Drug a d} {ADE-Drug b d}",
    "[ADE:a Bleeding] of the [Reason:w stomach] [ADE:a wall] on [Drug:d aspirin] and"
    " [Drug:e [Drug:g ibuprofen] gel]. {ADE-Drug a d} {ADE-Drug a e} {ADE-Drug a g}"
    " {Reason-Drug w e} {Form-Drug e g}",
    "[Drug:d Insulin] [Dosage:n 6 units] [Frequency:f with meals], [Drug:e insulin]"
    " [Dosage:m 12 units] [Frequency:g at night]. {Dosage-Drug n d} {Frequency-Drug f d}"
    " {Dosage-Drug m e} {Frequency-Drug g e}",
    "No medication; plan unchanged.",
)
NOTES = tuple(parse_markup(markup, name=f"note {i}") for i, markup in enumerate(MARKUP))


def published_rows(pairs: Sequence[Pair]) -> dict[tuple[str, str, str], Figures]:
    """The task's rules once more, item by item against every other and type by type."""
    rows = {}
    sections: tuple[tuple[str, Sequence[str], Callable[[Document], list[Item]]], ...] = (
        ("entities", TAGS, mentions),
        ("relations", RELATIONS, links),
    )
    for section, types, items in sections:
        for mode in ("strict", "lenient"):
            for type in (*types, None):
                counts = [
                    count(
                        [item for item in items(gold) if type in (None, item[0])],
                        [item for item in items(predicted) if type in (None, item[0])],
                        mode,
                    )
                    for gold, predicted in pairs
                ]
                hits, kept, wanted = (sum(column) for column in zip(*counts, strict=True))
                rows[section, type or "micro", mode] = figures(hits, kept, wanted)
            each = [figures(*document) for document in counts]
            first, second, third = (sum(column) / len(pairs) for column in zip(*each, strict=True))
            rows[section, "macro", mode] = (first, second, third)
    return rows


Item = tuple[str, list[tuple[str, int, int]]]
"""Type, and the type, start and end of each mention that belongs to it."""


def mentions(document: Document) -> list[Item]:
    return [(e.type, [(e.type, e.start, e.end)]) for e in document.entities]


def links(document: Document) -> list[Item]:
    found = []
    for relation in document.relations:
        ends = [document.entity(relation.head), document.entity(relation.tail)]
        found.append((relation.type, [(e.type, e.start, e.end) for e in ends]))
    return found


def agree(one: Item, other: Item, mode: str) -> bool:
    if one[0] != other[0]:
        return False
    for (type, start, end), (other_type, other_start, other_end) in zip(
        one[1], other[1], strict=True
    ):
        if type != other_type:
            return False
        if mode == "strict" and (start, end) != (other_start, other_end):
            return False
        if mode == "lenient" and not set(range(start, end)) & set(range(other_start, other_end)):
            return False
    return True


def count(gold: list[Item], predicted: list[Item], mode: str) -> tuple[int, int, int]:
    taken = [False] * len(gold)
    kept = []
    for item in predicted:
        partners = [place for place, other in enumerate(gold) if agree(other, item, mode)]
        if not any(taken[place] for place in partners):
            kept.append(item)
        for place in partners:
            taken[place] = True
    hits = [item for item in kept if any(agree(other, item, mode) for other in gold)]
    return len(hits), len(kept), len(gold)


def figures(hits: int, kept: int, wanted: int) -> Figures:
    precision = hits / kept if kept else 0.0
    recall = hits / wanted if wanted else 0.0
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return precision, recall, f1


def scored(*pairs: Pair) -> dict[tuple[str, str, str], Row]:
    protocol = N2c2()
    return {row.key: row for row in protocol.rows(add(protocol.tally(*pair) for pair in pairs))}


def shown(row: Row) -> Figures:
    return row.values["precision"], row.values["recall"], row.values["f1"]


def check(pairs: Sequence[Pair]) -> None:
    rows, expected = scored(*pairs), published_rows(pairs)
    assert list(rows) != [] and rows.keys() == expected.keys()
    for key, row in rows.items():
        assert shown(row) == pytest.approx(expected[key], abs=1e-12), key


def drugs(*spans: Fragment | tuple[Fragment, ...], type: str = "Drug") -> Document:
    """Mentions of one type in that order, as spans or as tuples of fragments."""
    note = Note("note", "x" * 100)
    entities = []
    for number, span in enumerate(spans, start=1):
        fragments = (span,) if isinstance(span[0], int) else span
        entities.append(Entity.annotate(note, f"T{number}", type, fragments))
    return Document(note, tuple(entities))


def counts(gold: Document, predicted: Document, mode: str) -> tuple[int, int, int]:
    row = scored((gold, predicted))["entities", "micro", mode]
    assert row.gold is not None and row.predicted is not None
    return round(row.values["precision"] * row.predicted), row.predicted, row.gold


def test_perturbed_predictions_score_as_published() -> None:
    random = Random(20)
    types, relation_types = (*TAGS, "Other"), (*RELATIONS, "Odd-Drug")
    changed = 0
    for _ in range(600):
        pairs = []
        for note in random.sample(NOTES, random.randint(1, 3)):
            gold = perturb(note, random, edits=random.choice((0, 0, 4)))
            pairs.append((gold, perturb(gold, random, types=types, relation_types=relation_types)))
        changed += any(gold != predicted for gold, predicted in pairs)
        check(pairs)
    assert changed > 400


def test_perturbed_documents_are_sound() -> None:
    random = Random(3)
    for _ in range(200):
        note = random.choice(NOTES)
        before = repr(note)
        document = perturb(note, random, edits=30)
        assert repr(note) == before
        ids = [entity.id for entity in document.entities]
        assert len(ids) == len(set(ids))
        assert all({relation.head, relation.tail} <= {*ids} for relation in document.relations)
        for entity in document.entities:
            assert entity.text == note.note.text[entity.start : entity.end] != ""
            again = Entity.annotate(note.note, entity.id, entity.type, entity.spans)
            assert (again.start, again.end) == (entity.start, entity.end)
    assert perturb(NOTES[0], Random(4)) == perturb(NOTES[0], Random(4))


def test_gold_against_itself() -> None:
    rows = scored(*((note, note) for note in NOTES[:4]))
    assert {shown(row) for key, row in rows.items() if key[2] == "strict"} == {(1.0, 1.0, 1.0)}
    assert rows["entities", "Drug", "strict"].gold == 7
    assert rows["relations", "ADE-Drug", "lenient"].predicted == 4
    rows = scored(*((note, note) for note in (*NOTES[:2], NOTES[3])))
    assert {shown(row) for row in rows.values()} == {(1.0, 1.0, 1.0)}


def test_overlapping_gold_is_not_lenient_with_itself() -> None:
    gold = drugs((0, 9), (0, 4))
    assert counts(gold, gold, "strict") == (2, 2, 2)
    assert counts(gold, gold, "lenient") == (1, 1, 2)


def test_a_long_prediction_uses_up_both_mentions() -> None:
    gold = drugs((0, 4), (5, 9))
    assert counts(gold, drugs((0, 9)), "lenient") == (1, 1, 2)
    assert counts(gold, drugs((0, 9), (0, 4), (5, 9)), "lenient") == (1, 1, 2)
    assert counts(gold, drugs((0, 4), (5, 9), (0, 9)), "lenient") == (2, 2, 2)
    # (0, 9) is left out for the sake of (5, 9), but (0, 4) comes too late all the same.
    assert counts(gold, drugs((5, 9), (0, 9), (0, 4)), "lenient") == (1, 1, 2)
    assert counts(gold, drugs((0, 9), (0, 4), (5, 9)), "strict") == (2, 3, 2)


def test_repeated_mentions() -> None:
    one, twice = drugs((0, 4)), drugs((0, 4), (0, 4))
    for mode in ("strict", "lenient"):
        assert counts(one, twice, mode) == (1, 1, 1)
        assert counts(twice, one, mode) == (1, 1, 2)
        assert counts(twice, twice, mode) == (1, 1, 2)
        assert counts(one, drugs((0, 4), (10, 14), (10, 14)), mode) == (1, 3, 1)


def test_touching_mentions_do_not_match() -> None:
    assert counts(drugs((0, 4)), drugs((4, 8)), "lenient") == (0, 1, 1)
    assert counts(drugs((0, 4)), drugs((3, 8)), "lenient") == (1, 1, 1)
    assert counts(drugs((4, 8)), drugs((0, 4)), "lenient") == (0, 1, 1)
    gold, apart = drugs((0, 4), (10, 14), (14, 18)), drugs((0, 4), (7, 10), (12, 14))
    linked = (replace(gold, relations=(Relation("ADE-Drug", "T1", tail),)) for tail in ("T2", "T3"))
    for document in linked:
        predicted = replace(apart, relations=(Relation("ADE-Drug", "T1", "T2"),))
        rows = scored((document, predicted))
        assert rows["relations", "micro", "lenient"].values["f1"] == 0.0
    predicted = replace(apart, relations=(Relation("ADE-Drug", "T1", "T3"),))
    rows = scored((replace(gold, relations=(Relation("ADE-Drug", "T1", "T2"),)), predicted))
    assert rows["relations", "micro", "lenient"].values["f1"] == 1.0


def test_a_long_mention_is_found_behind_short_ones() -> None:
    gold = drugs((0, 90), (5, 8), (10, 12), (60, 64))
    assert counts(gold, drugs((40, 44), (60, 61)), "lenient") == (1, 1, 4)
    assert counts(gold, drugs((92, 96)), "lenient") == (0, 1, 4)


def test_a_discontinuous_mention_is_its_hull() -> None:
    gapped = drugs(((0, 4), (10, 14)))
    assert counts(gapped, drugs((0, 14)), "strict") == (1, 1, 1)
    assert counts(gapped, drugs((5, 8)), "lenient") == (1, 1, 1)
    several = drugs(((0, 2), (3, 4), (5, 6), (7, 9)))
    assert counts(several, drugs((0, 9)), "strict") == (1, 1, 1)


def test_types_outside_the_task_count_in_micro_only() -> None:
    rows = scored((drugs((0, 4), type="Device"), drugs((0, 4), type="Drug")))
    micro = rows["entities", "micro", "lenient"]
    assert (micro.gold, micro.predicted, micro.values["f1"]) == (1, 1, 0.0)
    assert not [key for key in rows if key[1] == "Device"]
    assert rows["entities", "Drug", "strict"].predicted == 1


def test_arguments_of_a_relation_keep_their_types_and_direction() -> None:
    gold = NOTES[0]
    relation = gold.relations[0]
    rows = scored((gold, replace(gold, relations=(relation,))))
    assert rows["relations", "Strength-Drug", "strict"].values["f1"] == 1.0
    turned = Relation(relation.type, relation.tail, relation.head)
    rows = scored((gold, replace(gold, relations=(turned,))))
    assert rows["relations", "Strength-Drug", "lenient"].values["f1"] == 0.0
    retyped = tuple(
        replace(entity, type="Dosage") if entity.id == relation.head else entity
        for entity in gold.entities
    )
    rows = scored((gold, replace(gold, entities=retyped)))
    assert rows["relations", "Strength-Drug", "lenient"].values["f1"] == 0.0
    assert rows["relations", "Route-Drug", "strict"].values["f1"] == 1.0


def test_macro_is_the_mean_over_documents() -> None:
    full, empty = (drugs((0, 4)), drugs((0, 4))), (drugs(), drugs())
    half = (drugs((0, 4)), drugs((0, 4), (5, 9)))
    rows = scored(full, half, empty)
    macro = rows["entities", "macro", "strict"]
    assert shown(macro) == pytest.approx(((1 + 1 / 2) / 3, 2 / 3, (1 + 2 / 3) / 3))
    assert (macro.gold, macro.predicted) == (None, None)
    assert shown(rows["entities", "micro", "strict"]) == pytest.approx((2 / 3, 1.0, 0.8))


def test_nothing_to_divide_by() -> None:
    for pair in ((drugs(), drugs()), (drugs((0, 4)), drugs()), (drugs(), drugs((0, 4)))):
        assert {shown(row) for row in scored(pair).values()} == {(0.0, 0.0, 0.0)}
        check([pair])
    assert {shown(row) for row in scored().values()} == {(0.0, 0.0, 0.0)}


def test_rows_are_those_of_the_program_in_its_order() -> None:
    keys = [row.key for row in N2c2().rows({})]
    assert len(keys) == 2 * (9 + 2) + 2 * (8 + 2)
    assert keys[:3] == [("entities", name, "strict") for name in ("Drug", "Strength", "Duration")]
    assert keys[9:12] == [
        ("entities", "micro", "strict"),
        ("entities", "macro", "strict"),
        ("entities", "Drug", "lenient"),
    ]


def test_tallies_add_up_in_any_grouping() -> None:
    random, protocol = Random(8), N2c2()
    pairs = [(note, perturb(note, random, edits=6)) for note in NOTES for _ in range(4)]
    tallies = [protocol.tally(*pair) for pair in pairs]
    whole = protocol.rows(add(tallies))
    parts = protocol.rows(add([add(tallies[7:]), add([]), add(tallies[:7])]))
    assert [row.key for row in whole] == [row.key for row in parts]
    for row, other in zip(whole, parts, strict=True):
        assert (row.gold, row.predicted) == (other.gold, other.predicted)
        assert shown(row) == pytest.approx(shown(other), abs=1e-12)
    check(pairs)


def test_many_mentions_are_not_compared_pairwise(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    touch = n2c2._touch

    def counted(first: Fragment, second: Fragment) -> bool:
        nonlocal compared
        compared += 1
        return touch(first, second)

    monkeypatch.setattr(n2c2, "_touch", counted)
    n_mentions = 3000
    note = Note("note", "x" * 10 * n_mentions)
    entities = tuple(
        Entity.annotate(note, f"T{i}", "Drug", ((10 * i, 10 * i + 7),)) for i in range(n_mentions)
    )
    relations = tuple(Relation("ADE-Drug", f"T{i}", f"T{i + 1}") for i in range(n_mentions - 1))
    document = Document(note, entities, relations)
    rows = scored((document, document))
    assert rows["relations", "micro", "lenient"].values["f1"] == 1.0
    assert compared < 10 * n_mentions
