from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb.evaluation import Counts, Rates, TypeScores, score
from emlb_runtime.errors import DataError
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation

TEXT = "aspirin caused a severe rash and hives, then more aspirin was given."
Mention = tuple[str, tuple[Fragment, ...]]


def document(
    *mentions: Mention, links: list[tuple[str, int, int]] | None = None, name: str = "n1"
) -> Document:
    """A document of these mentions, linked by their positions."""
    note = Note(name, TEXT)
    entities = [
        Entity.annotate(note, f"T{index}", type, spans)
        for index, (type, spans) in enumerate(mentions, 1)
    ]
    relations = [
        Relation(type, entities[head].id, entities[tail].id) for type, head, tail in links or []
    ]
    return Document(note, tuple(entities), tuple(relations))


DRUG: Mention = ("Drug", ((0, 7),))
RASH: Mention = ("Disorder", ((24, 28),))
SEVERE_RASH: Mention = ("Disorder", ((17, 28),))
HIVES: Mention = ("Disorder", ((33, 38),))
SEVERE_HIVES: Mention = ("Disorder", ((17, 23), (33, 38)))


def test_counts_and_rates() -> None:
    counts = Counts(tp=1, predicted=2, gold=4)
    assert (counts.precision, counts.recall) == (0.5, 0.25)
    assert counts.f1 == pytest.approx(1 / 3)
    empty = Counts()
    assert (empty.precision, empty.recall, empty.f1) == (0.0, 0.0, 0.0)
    assert TypeScores({}).macro == Rates(0.0, 0.0, 0.0)


def test_entities_strict_and_lenient() -> None:
    gold = document(DRUG, SEVERE_RASH, HIVES)
    predicted = document(DRUG, RASH, ("Drug", ((33, 38),)), ("Test", ((40, 44),)))
    entities = score([gold], [predicted]).entities
    assert entities.strict.types == {
        "Disorder": Counts(0, 1, 2),
        "Drug": Counts(1, 2, 1),
        "Test": Counts(0, 1, 0),
    }
    assert list(entities.strict.types) == ["Disorder", "Drug", "Test"]
    assert entities.lenient.types == {
        "Disorder": Counts(1, 1, 2),
        "Drug": Counts(1, 2, 1),
        "Test": Counts(0, 1, 0),
    }
    assert entities.strict.micro == Counts(1, 4, 3)
    assert entities.lenient.micro == Counts(2, 4, 3)
    macro = entities.lenient.macro
    assert macro.precision == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert macro.recall == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert macro.f1 == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_discontinuous_mentions() -> None:
    gold = document(SEVERE_HIVES)
    hull = score([gold], [document(("Disorder", ((17, 38),)))]).entities
    assert (hull.strict.micro.tp, hull.lenient.micro.tp) == (0, 1)
    gap = score([gold], [document(("Disorder", ((24, 33),)))]).entities
    assert (gap.strict.micro.tp, gap.lenient.micro.tp) == (0, 0)
    same = score([gold], [gold]).entities
    assert (same.strict.micro.tp, same.lenient.micro.tp) == (1, 1)


def test_one_fragment_given_as_a_fragment_is_contiguous() -> None:
    gold = document(DRUG)
    entity = replace(gold.entities[0], fragments=((0, 7),))
    assert score([gold], [replace(gold, entities=(entity,))]).entities.strict.micro.f1 == 1.0


def test_relations_end_to_end() -> None:
    gold = document(DRUG, SEVERE_RASH, HIVES, links=[("ADE-Drug", 1, 0), ("ADE-Drug", 2, 0)])
    predicted = document(DRUG, RASH, HIVES, links=[("ADE-Drug", 1, 0), ("ADE-Drug", 2, 0)])
    relations = score([gold], [predicted]).relations
    assert relations.strict.micro == Counts(1, 2, 2)
    assert relations.lenient.micro == Counts(2, 2, 2)


@pytest.mark.parametrize(
    "predicted",
    [
        document(DRUG, RASH, links=[("ADE-Drug", 0, 1)]),
        document(DRUG, RASH, links=[("Treats", 1, 0)]),
        document(DRUG, ("Test", RASH[1]), links=[("ADE-Drug", 1, 0)]),
        document(("Drug", ((50, 57),)), RASH, links=[("ADE-Drug", 1, 0)]),
    ],
    ids=["direction", "relation type", "mention type", "other mention"],
)
def test_relations_that_are_wrong_both_ways(predicted: Document) -> None:
    gold = document(DRUG, RASH, links=[("ADE-Drug", 1, 0)])
    relations = score([gold], [predicted]).relations
    assert (relations.strict.micro.tp, relations.lenient.micro.tp) == (0, 0)
    assert (relations.strict.micro.predicted, relations.strict.micro.gold) == (1, 1)


def test_relations_on_gold_mentions() -> None:
    gold = document(DRUG, RASH, HIVES, links=[("ADE-Drug", 1, 0)])
    on_gold = document(DRUG, RASH, HIVES, links=[("ADE-Drug", 1, 0), ("ADE-Drug", 2, 0)])
    scores = score([gold], [document()], predicted_on_gold=[on_gold])
    assert scores.relations.strict.micro == Counts(0, 0, 1)
    assert scores.relations_on_gold is not None
    assert scores.relations_on_gold.strict.micro == Counts(1, 2, 1)
    assert score([gold], [document()]).relations_on_gold is None


def test_only_the_types_a_corpus_annotates() -> None:
    gold = document(DRUG, RASH, links=[("ADE-Drug", 1, 0)])
    predicted = document(
        DRUG,
        RASH,
        ("Test", ((40, 44),)),
        links=[("ADE-Drug", 1, 0), ("Treats", 0, 1), ("ADE-Drug", 2, 0)],
    )
    scores = score(
        [gold],
        [predicted],
        entity_types=["Drug", "Disorder", "Device"],
        relation_types=["ADE-Drug"],
    )
    assert scores.entities.strict.types == {"Disorder": Counts(1, 1, 1), "Drug": Counts(1, 1, 1)}
    assert scores.relations.strict.types == {"ADE-Drug": Counts(1, 1, 1)}
    nothing = score([gold], [predicted], entity_types=[], relation_types=[])
    assert nothing.entities.strict.micro == nothing.relations.lenient.micro == Counts()


def test_duplicates_count_unless_collapsed() -> None:
    gold = document(DRUG, RASH, links=[("ADE-Drug", 1, 0)])
    predicted = document(DRUG, DRUG, RASH, links=[("ADE-Drug", 2, 0), ("ADE-Drug", 2, 1)])
    counted = score([gold], [predicted])
    assert counted.entities.strict.types["Drug"] == Counts(1, 2, 1)
    assert counted.relations.lenient.micro == Counts(1, 2, 1)
    collapsed = score([gold], [predicted], collapse=True)
    assert collapsed.entities.strict.types["Drug"] == Counts(1, 1, 1)
    assert collapsed.relations.strict.micro == Counts(1, 1, 1)


def test_mentions_of_different_notes_do_not_match() -> None:
    gold = [document(DRUG), document(name="n2")]
    predicted = [document(DRUG, name="n2"), document()]
    assert score(gold, predicted).entities.lenient.micro == Counts(0, 1, 1)


def test_scores_of_corpora_add_up() -> None:
    one = [document(DRUG, RASH, links=[("ADE-Drug", 1, 0)])], [document(DRUG)]
    two = [document(HIVES, name="n2")], [document(RASH, name="n2")]
    together = score([*one[0], *two[0]], [*one[1], *two[1]])
    assert score(*one) + score(*two) == together
    assert together.documents == 2
    measured = score(*one, predicted_on_gold=one[0])
    assert measured.relations_on_gold is not None
    assert (measured + measured).relations_on_gold is not None
    assert (measured + score(*two)).relations_on_gold is None


def test_names_that_do_not_pair() -> None:
    gold = [document(name=f"g{index}") for index in range(5)]
    with pytest.raises(
        DataError,
        match=r"5 only gold \(g0, g1, g2, …\), 1 only predicted \(n1\); score the predictions",
    ):
        score(gold, [document()])
    with pytest.raises(DataError, match=r"1 predicted note names used twice \(n1\)"):
        score([document()], [document(), document()])
    with pytest.raises(DataError, match="do not pair"):
        score([document()], [document()], predicted_on_gold=[])


def test_texts_that_differ_are_not_shown() -> None:
    other = Document(Note("n1", TEXT.replace("rash", "zebra")))
    with pytest.raises(
        DataError, match=r"n1: gold and predicted texts differ \(68 and 69"
    ) as error:
        score([document()], [other])
    assert "zebra" not in str(error.value)
    # Predictions from a file may lack the text: only the offsets are compared.
    assert score([document()], [Document(Note("n1", ""))]).documents == 1


def test_unsound_ids() -> None:
    broken = replace(document(DRUG), relations=(Relation("Treats", "T1", "T9"),))
    with pytest.raises(DataError, match=r"n1: relations name .* lacks: T9; add them"):
        score([document()], [broken])
    doubled = document(DRUG)
    doubled = replace(doubled, entities=doubled.entities * 2)
    with pytest.raises(DataError, match="n1: entity ids used twice: T1; give each its own"):
        score([doubled], [document()])


@st.composite
def documents(draw: st.DrawFn) -> Document:
    mentions: list[Mention] = []
    for _ in range(draw(st.integers(0, 6))):
        cuts = draw(st.lists(st.integers(0, 12), min_size=2, max_size=4, unique=True))
        cuts = sorted(cuts[: len(cuts) // 2 * 2])
        spans = tuple(zip(cuts[::2], cuts[1::2], strict=True))
        mentions.append((draw(st.sampled_from(["Drug", "Disorder"])), spans))
    links: list[tuple[str, int, int]] = []
    if mentions:
        place = st.integers(0, len(mentions) - 1)
        links = draw(st.lists(st.tuples(st.sampled_from("PQ"), place, place), max_size=5))
    return document(*mentions, links=links)


@given(documents())
def test_a_perfect_prediction_scores_one(gold: Document) -> None:
    scores = score([gold], [gold], predicted_on_gold=[gold])
    assert scores.relations == scores.relations_on_gold
    for agreement, there_is in (
        (scores.entities, gold.entities),
        (scores.relations, gold.relations),
    ):
        assert agreement.strict == agreement.lenient
        assert agreement.strict.micro.f1 == (1.0 if there_is else 0.0)
        assert agreement.strict.macro.f1 == (1.0 if there_is else 0.0)


@given(documents(), documents())
def test_strict_is_never_above_lenient(gold: Document, predicted: Document) -> None:
    scores = score([gold], [predicted])
    for agreement in (scores.entities, scores.relations):
        for type, strict in agreement.strict.types.items():
            lenient = agreement.lenient.types[type]
            assert strict.tp <= lenient.tp <= min(lenient.predicted, lenient.gold)
            assert (strict.predicted, strict.gold) == (lenient.predicted, lenient.gold)


@given(documents(), documents(), st.randoms(use_true_random=False), st.booleans())
def test_order_does_not_matter(
    gold: Document, predicted: Document, random: Random, collapse: bool
) -> None:
    def shuffled(original: Document) -> Document:
        entities, relations = list(original.entities), list(original.relations)
        random.shuffle(entities)
        random.shuffle(relations)
        return replace(original, entities=tuple(entities), relations=tuple(relations))

    other = document(DRUG, RASH, links=[("P", 0, 1)], name="n2")
    before = score([gold, other], [predicted, other], collapse=collapse)
    after = score([other, shuffled(gold)], [shuffled(predicted), other], collapse=collapse)
    assert after == before


@given(documents(), documents())
def test_swapping_the_sides_swaps_precision_and_recall(one: Document, other: Document) -> None:
    forth, back = score([one], [other]), score([other], [one])
    for agreement, swapped in ((forth.entities, back.entities), (forth.relations, back.relations)):
        counts, mirrored = agreement.strict.micro, swapped.strict.micro
        assert (counts.precision, counts.recall) == (mirrored.recall, mirrored.precision)
