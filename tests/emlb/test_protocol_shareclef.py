"""The ShARe scores, against plain restatements of the published rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from random import Random

import pytest

from emlb.data.formats.share.corpus import DISORDER, SLOTS
from emlb.evaluation.protocols.base import Key, Row, ScoringProtocol, add
from emlb.evaluation.protocols.semeval2015 import WEIGHTS, SemEval2015
from emlb.evaluation.protocols.shareclef import ShareClef
from emlb_runtime.records import Document, Entity, Fragment, Note, Relation
from tests.emlb.perturb import perturb

CLEF, SEMEVAL = ShareClef(), SemEval2015()
TEXT = "Zebedee rash " * 8
Spans = tuple[Fragment, ...]
Prf = tuple[float, float, float]

VALUES = {
    "CUI": ("C01", "c01", "C02", "CUI-less"),
    "NI": ("no", "yes", "*no"),
    "SC": ("patient", "family_member", "donor_other"),
    "UI": ("no", "yes"),
    "CC": ("unmarked", "false", "increased", "Changed"),
    "SV": ("unmarked", "severe"),
    "CO": ("false", "true"),
    "GC": ("false", "true"),
    "BL": ("NULL", "null", "C10", "C11"),
    "DT": ("unknown", "before", "after"),
    "TE": ("none", "date"),
}
DEFAULTS = {slot.name: slot.default.lower() for slot in SLOTS}
CUES = [slot for slot in SLOTS if slot.cue]
TYPES = (DISORDER, DISORDER, *(slot.cue for slot in CUES))
RELATIONS = tuple(slot.relation for slot in CUES)


def random_document(random: Random) -> Document:
    """Crowded disorders with most of their values, and cues for some slots."""
    note = Note("n", TEXT)

    def mention(number: int, type: str, attributes: dict[str, str]) -> Entity:
        start = random.randrange(0, 80, 2)
        spans = [(start, start + random.choice((2, 4, 6)))]
        if random.random() < 0.25:
            spans.append((spans[0][1] + 2, spans[0][1] + random.choice((4, 9))))
        return Entity.annotate(note, f"T{number}", type, tuple(spans), attributes=attributes)

    disorders = []
    for number in range(random.choice((0, 1, 3, 8, 8))):
        names = [name for name in VALUES if random.random() < 0.8]
        attributes = {name: random.choice(VALUES[name]) for name in names}
        disorders.append(mention(number + 1, DISORDER, attributes))
    cues: list[Entity] = []
    relations = []
    for disorder in disorders:
        for slot in random.sample(CUES, 3):
            concept = {"CUI": "C10"} if slot.name == "BL" and random.random() < 0.7 else {}
            cue = mention(len(disorders) + len(cues) + 1, slot.cue, concept)
            cues.append(cue)
            relations.append(Relation(slot.relation, disorder.id, cue.id))
    return Document(note, (*disorders, *cues), tuple(relations))


def pairs(count: int, seed: int) -> list[tuple[Document, Document]]:
    random = Random(seed)
    made = []
    for _ in range(count):
        gold = random_document(random)
        origin = gold if random.random() < 0.9 else random_document(random)
        made.append((gold, perturb(origin, random, types=TYPES, relation_types=RELATIONS)))
    return made


# The rules again, on plain rows of a pipe file and without any thought of cost.


class Line:
    """A disorder as a line of a file."""

    def __init__(self, spans: Spans) -> None:
        self.spans = spans
        self.columns: dict[str, str] = {}
        self.cues: dict[str, Spans] = {}

    def value(self, slot: str, default: str) -> str:
        found = self.columns.get(slot, "").replace("*", "").strip().lower()
        return default if found in ("", "null", "unmarked") else found

    @property
    def concept(self) -> str:
        return self.columns.get("CUI", "").lower()


def lines(document: Document) -> dict[Spans, Line]:
    """The disorders; a later one overwrites an earlier one with the same fragments."""
    found: dict[Spans, Line] = {}
    for entity in document.entities:
        if entity.type != DISORDER:
            continue
        line = Line(entity.spans)
        line.columns = dict(entity.attributes)
        for slot in CUES:
            for relation in document.relations:
                cue = document.entity(relation.tail)
                if relation.head == entity.id and (relation.type, cue.type) == (
                    slot.relation,
                    slot.cue,
                ):
                    line.cues[slot.name] = cue.spans
                    if slot.name == "BL" and "BL" not in line.columns and "CUI" in cue.attributes:
                        line.columns["BL"] = cue.attributes["CUI"]
                    break
        found[entity.spans] = line
    return found


def points(spans: Spans) -> set[int]:
    return {point for start, end in spans for point in range(start, end)}


def overlap(one: Spans, other: Spans) -> bool:
    return bool(points(one) & points(other))


def prf(right: float, wrong: float, missed: float) -> Prf:
    """As eval.pl prints it."""
    if not right:
        return 0.0, 0.0, 0.0
    precision, recall = right / (right + wrong), right / (right + missed)
    return precision, recall, 2 * precision * recall / (precision + recall)


def share(right: float, size: float) -> float:
    return right / size if size else 0.0


Sides = list[tuple[dict[Spans, Line], dict[Spans, Line]]]


def restate_disorders(sides: Sides, same: Callable[[Spans, Spans], bool]) -> Prf:
    right = wrong = missed = 0
    for gold, predicted in sides:
        for prediction in predicted:
            if any(same(prediction, expected) for expected in gold):
                right += 1
            else:
                wrong += 1
        for expected in gold:
            missed += not any(same(expected, prediction) for prediction in predicted)
    return prf(right, wrong, missed)


def restate_concepts(sides: Sides) -> tuple[float, float]:
    right = placed = total = 0
    for gold, predicted in sides:
        for spans, expected in gold.items():
            total += 1
            if spans in predicted:
                placed += 1
                right += predicted[spans].concept == expected.concept
    return share(right, total), share(right, placed)


def restate_values(sides: Sides, slots: Iterable[str]) -> tuple[float, Prf]:
    right = total = hit = wrong = missed = 0
    for slot in slots:
        default = DEFAULTS[slot]
        for gold, predicted in sides:
            for spans in {*gold, *predicted}:
                first = gold[spans].value(slot, default) if spans in gold else None
                second = predicted[spans].value(slot, default) if spans in predicted else None
                total += first is not None
                right += first is not None and first == second
                if first == second and first != default:
                    hit += 1
                else:
                    wrong += second not in (None, default)
                    missed += first not in (None, default)
    return share(right, total), prf(hit, wrong, missed)


def restate_cues(sides: Sides, slots: Iterable[str], same: Callable[[Spans, Spans], bool]) -> Prf:
    right = wrong = missed = 0
    for slot in slots:
        for gold, predicted in sides:
            for spans in {*gold, *predicted}:
                first = gold[spans].cues.get(slot) if spans in gold else None
                second = predicted[spans].cues.get(slot) if spans in predicted else None
                if first and second and same(first, second):
                    right += 1
                else:
                    wrong += second is not None
                    missed += first is not None
    return prf(right, wrong, missed)


def identical(one: Spans, other: Spans) -> bool:
    return one == other


def restate_clef(sides: Sides) -> dict[Key, list[float]]:
    found: dict[Key, list[float]] = {}
    modes = (("strict", identical), ("relaxed", overlap))
    for mode, same in modes:
        found["entities", DISORDER, mode] = list(restate_disorders(sides, same))
    everyone = [line for gold, predicted in sides for line in (*gold.values(), *predicted.values())]
    if any(line.concept for line in everyone):
        for mode, accuracy in zip(("strict", "relaxed"), restate_concepts(sides), strict=True):
            found["concepts", "CUI", mode] = [accuracy]
    held = [slot.name for slot in SLOTS if any(slot.name in line.columns for line in everyone)]
    for name, slots in {**{slot: [slot] for slot in held}, "all": held}.items():
        if slots:
            accuracy, figures = restate_values(sides, slots)
            found["attributes", name, "value"] = [accuracy, *figures]
    cued = [slot.name for slot in SLOTS if any(slot.name in line.cues for line in everyone)]
    for mode, same in modes:
        for name, slots in {**{slot: [slot] for slot in cued}, "all": cued}.items():
            if slots:
                found["cues", name, mode] = list(restate_cues(sides, slots, same))
    return found


SLOTS_2015 = ("CUI", "NI", "SC", "UI", "CC", "SV", "CO", "GC", "BL")
FIRST = dict(zip(SLOTS_2015, ["", "no", "patient", "no", "unmarked", "unmarked"], strict=False))
FIRST |= {"CO": "false", "GC": "false", "BL": "null"}


def amount(one: Spans, other: Spans) -> int:
    """Shared points, both ends of a fragment being points of it, as the programs count."""
    return max(len(set(range(a, b + 1)) & set(range(c, d + 1))) for a, b in one for c, d in other)


def value_2015(line: Line, slot: str) -> str:
    return line.concept if slot == "CUI" else line.value(slot, FIRST[slot])


def restate_matching(
    sides: Sides, mode: str, concepts: bool
) -> tuple[Prf, list[tuple[Line, Line]]]:
    right: list[tuple[Line, Line]] = []
    wrong = missed = 0
    for gold, predicted in sides:
        if not gold:
            continue
        taken: set[Spans] = set()
        partner: dict[Spans, Spans] = {}

        def fits(one: Line, other: Line) -> bool:
            return not concepts or one.concept == other.concept

        for spans in gold:
            if spans in predicted and fits(gold[spans], predicted[spans]):
                partner[spans] = spans
                taken.add(spans)
        for spans in sorted(gold) if mode == "relaxed" else ():
            found = [
                other
                for other in sorted(predicted)
                if other not in taken
                and amount(spans, other)
                and fits(gold[spans], predicted[other])
            ]
            taken.update(found)
            if found:
                most = max(amount(spans, other) for other in found)
                best = next(other for other in found if amount(spans, other) == most)
                partner[spans] = best
                wrong += len(found) - 1
        wrong += len(predicted.keys() - taken)
        missed += len(gold.keys() - partner.keys())
        right += [(gold[spans], predicted[other]) for spans, other in partner.items()]
    return prf(len(right), wrong, missed), right


def weight(line: Line, slot: str) -> int:
    value = value_2015(line, slot)
    if slot == "CUI" or (slot == "BL" and value != "null"):
        value = "any concept"
    return WEIGHTS[slot].get(value, 0)


def restate_2015(sides: Sides) -> dict[Key, list[float]]:
    if not any(gold for gold, _ in sides):
        return {}
    found: dict[Key, list[float]] = {}
    for mode in ("strict", "relaxed"):
        found["task 1", DISORDER, mode] = list(restate_matching(sides, mode, concepts=True)[0])
    figures, right = restate_matching(sides, "relaxed", concepts=False)
    accuracies, weighted = [], []
    won: defaultdict[str, int] = defaultdict(int)
    possible: defaultdict[str, int] = defaultdict(int)
    for gold, predicted in right:
        agree = [
            slot for slot in SLOTS_2015 if value_2015(gold, slot) == value_2015(predicted, slot)
        ]
        accuracies.append(len(agree) / 9)
        weights = {slot: weight(gold, slot) for slot in SLOTS_2015}
        weighted.append(sum(weights[slot] for slot in agree) / sum(weights.values()))
        for slot in SLOTS_2015:
            possible[slot] += weights[slot]
            won[slot] += weights[slot] * (slot in agree)
    plain = share(sum(accuracies), len(right))
    heavy = share(sum(weighted), len(right))
    found["task 2", "all", "relaxed"] = [
        *figures,
        *(plain, figures[2] * plain, heavy, figures[2] * heavy),
    ]
    for slot in SLOTS_2015:
        found["task 2", slot, "relaxed"] = [share(won[slot], possible[slot])]
    return found


def values(rows: list[Row]) -> dict[Key, list[float]]:
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: list(row.values.values()) for row in rows}


def score(protocol: ScoringProtocol, corpus: list[tuple[Document, Document]]) -> list[Row]:
    return protocol.rows(add(protocol.tally(*pair) for pair in corpus))


PROTOCOLS = [
    pytest.param(CLEF, restate_clef, id="clef"),
    pytest.param(SEMEVAL, restate_2015, id="semeval"),
]
Restate = Callable[[Sides], dict[Key, list[float]]]


@pytest.mark.parametrize(("protocol", "restate"), PROTOCOLS)
def test_figures_are_those_of_the_rules(protocol: ScoringProtocol, restate: Restate) -> None:
    scored = 0
    for gold, predicted in pairs(520, seed=1):
        found = values(score(protocol, [(gold, predicted)]))
        expected = restate([(lines(gold), lines(predicted))])
        assert found.keys() == expected.keys()
        for key, figures in found.items():
            assert figures == pytest.approx(expected[key], abs=1e-12), key
            scored += any(0 < figure < 1 for figure in figures)
    assert scored > 800


@pytest.mark.parametrize(("protocol", "restate"), PROTOCOLS)
def test_a_corpus_is_scored_as_a_whole(protocol: ScoringProtocol, restate: Restate) -> None:
    corpus = pairs(80, seed=2)
    found = values(score(protocol, corpus))
    expected = restate([(lines(gold), lines(predicted)) for gold, predicted in corpus])
    assert found.keys() == expected.keys()
    for key, figures in found.items():
        assert figures == pytest.approx(expected[key], abs=1e-12), key


@pytest.mark.parametrize("protocol", [CLEF, SEMEVAL])
def test_tallies_add_up_in_any_grouping(protocol: ScoringProtocol) -> None:
    tallies = [protocol.tally(*pair) for pair in pairs(40, seed=3)]
    total, halves = add(tallies), add([add(tallies[::2]), add(tallies[1::2])])
    assert total.keys() == halves.keys()
    for key, numbers in total.items():
        assert numbers == pytest.approx(halves[key], rel=1e-13)
        # Counts are whole; the sum of the pairs' weighted accuracies is not.
        whole = numbers[:-1] if key == ("task 2", "all", "relaxed") else numbers
        assert whole == halves[key][: len(whole)] == tuple(map(int, whole))


def test_a_perfect_prediction_scores_one() -> None:
    gold = next(gold for gold, _ in pairs(9, seed=4) if len(gold.entities) > 20)
    for protocol in (CLEF, SEMEVAL):
        for row in score(protocol, [(gold, gold)]):
            for name, figure in row.values.items():
                # A slot with nothing but defaults has no values to find.
                nothing = name != "accuracy" and row.gold == 0
                # One whose gold values are not listed has no weight.
                weightless = row.key == ("task 2", "SC", "relaxed")
                assert figure == 1.0 or nothing or weightless, (row, name)


def document(*disorders: tuple[Spans, dict[str, str]]) -> Document:
    note = Note("n", TEXT)
    return Document(
        note,
        tuple(
            Entity.annotate(note, f"T{number}", DISORDER, spans, attributes=attributes)
            for number, (spans, attributes) in enumerate(disorders, start=1)
        ),
    )


def plain(*spans: Fragment) -> Document:
    return document(*(((span,), {}) for span in spans))


def by_key(rows: list[Row]) -> dict[Key, Row]:
    return {row.key: row for row in rows}


def test_two_predictions_in_one_gold_disorder_raise_relaxed_recall() -> None:
    # eval.pl counts right predictions in the recall: two of three, not one of two.
    rows = by_key(score(CLEF, [(plain((0, 10), (20, 30)), plain((0, 4), (5, 10), (12, 15)))]))
    row = rows["entities", DISORDER, "relaxed"]
    assert row.values["precision"] == pytest.approx(2 / 3)
    assert row.values["recall"] == pytest.approx(2 / 3)
    assert (row.gold, row.predicted) == (2, 3)


def test_one_prediction_finds_two_gold_disorders() -> None:
    rows = by_key(score(CLEF, [(plain((0, 4), (5, 10)), plain((0, 10)))]))
    assert rows["entities", DISORDER, "relaxed"].values["recall"] == 1.0
    assert rows["entities", DISORDER, "strict"].values["f1"] == 0.0


def test_a_mention_in_a_gap_and_a_touching_one_do_not_overlap() -> None:
    gold = document((((0, 4), (10, 14)), {}))
    for place in ((4, 10), (14, 20)):
        row = by_key(score(CLEF, [(gold, plain(place))]))["entities", DISORDER, "relaxed"]
        assert row.values["f1"] == 0.0
    row = by_key(score(CLEF, [(gold, plain((4, 11)))]))["entities", DISORDER, "relaxed"]
    assert row.values["f1"] == 1.0


def test_the_last_of_the_same_disorders_counts() -> None:
    place: Spans = ((0, 4),)
    gold = document((place, {"CUI": "C1"}))
    twice = document((place, {"CUI": "C2"}), (place, {"CUI": "c1"}))
    rows = by_key(score(CLEF, [(gold, twice)]))
    assert rows["entities", DISORDER, "strict"].predicted == 1
    assert rows["concepts", "CUI", "strict"].values == {"accuracy": 1.0}


def test_concepts_are_shares_of_gold_and_of_what_is_placed() -> None:
    gold = document((((0, 4),), {"CUI": "C1"}), (((6, 9),), {"CUI": "C2"}), (((10, 12),), {}))
    predicted = document((((0, 4),), {"CUI": "C1"}), (((6, 9),), {"CUI": "CUI-less"}))
    rows = by_key(score(CLEF, [(gold, predicted)]))
    assert rows["concepts", "CUI", "strict"].values["accuracy"] == pytest.approx(1 / 3)
    assert rows["concepts", "CUI", "relaxed"].values["accuracy"] == pytest.approx(1 / 2)


def test_a_missing_value_is_the_default() -> None:
    gold = document((((0, 4),), {"NI": "no", "CC": "unmarked"}), (((6, 9),), {"NI": "yes"}))
    rows = by_key(score(CLEF, [(gold, plain((0, 4), (6, 9)))]))
    assert rows["attributes", "NI", "value"].values == {
        "accuracy": 0.5,
        **dict.fromkeys(("precision", "recall", "f1"), 0.0),
    }
    assert rows["attributes", "CC", "value"].values["accuracy"] == 1.0
    assert rows["attributes", "all", "value"].values["accuracy"] == 0.75
    assert ("attributes", "SV", "value") not in rows


def test_of_several_cues_the_first_counts() -> None:
    note = Note("n", TEXT)

    def cued(*places: Fragment, type: str = "Negation_Cue") -> Document:
        disorder = Entity.annotate(note, "T1", DISORDER, ((0, 4),))
        cues = [
            Entity.annotate(note, f"T{number}", type, (place,))
            for number, place in enumerate(places, start=2)
        ]
        links = tuple(Relation("Disorder-Negation", "T1", cue.id) for cue in cues)
        return Document(note, (disorder, *cues), links)

    gold = cued((10, 14))
    for predicted, strict, relaxed in (
        (cued((10, 14)), 1.0, 1.0),
        (cued((12, 20), (10, 14)), 0.0, 1.0),
        (cued((20, 24), (10, 14)), 0.0, 0.0),
        (cued((10, 14), type="Severity_Cue"), 0.0, 0.0),
    ):
        rows = by_key(score(CLEF, [(gold, predicted)]))
        assert rows["cues", "NI", "strict"].values["f1"] == strict
        assert rows["cues", "all", "relaxed"].values["f1"] == relaxed


def test_in_2015_an_overlapping_prediction_replaces_the_exact_one() -> None:
    # task1_eval.pl counts the exact one neither as right nor as wrong.
    row = by_key(score(SEMEVAL, [(plain((0, 10)), plain((0, 10), (2, 8)))]))
    assert row["task 1", DISORDER, "relaxed"].values["f1"] == 1.0
    assert row["task 1", DISORDER, "strict"].values["precision"] == 0.5


def test_in_2015_touching_disorders_match_and_concepts_must_agree() -> None:
    rows = by_key(score(SEMEVAL, [(plain((0, 4)), plain((4, 8)))]))
    assert rows["task 1", DISORDER, "relaxed"].values["f1"] == 1.0
    assert rows["task 1", DISORDER, "strict"].values["f1"] == 0.0
    other = document((((0, 4),), {"CUI": "C9"}))
    rows = by_key(score(SEMEVAL, [(plain((0, 4)), other)]))
    assert rows["task 1", DISORDER, "relaxed"].values["f1"] == 0.0
    task = rows["task 2", "all", "relaxed"].values
    assert task["f1"] == 1.0
    assert task["accuracy"] == pytest.approx(8 / 9)


def test_without_gold_or_predictions_figures_are_zero() -> None:
    some, none = plain((0, 4)), plain()
    for gold, predicted in ((some, none), (none, some), (none, none)):
        for row in score(CLEF, [(gold, predicted)]):
            assert set(row.values.values()) == {0.0}
    assert [row.key for row in CLEF.rows({})] == [row.key for row in score(CLEF, [(none, none)])]
    assert SEMEVAL.rows({}) == score(SEMEVAL, [(none, some)]) == []
    for row in score(SEMEVAL, [(some, none)]):
        assert set(row.values.values()) == {0.0}


def test_rows_hold_no_note_text() -> None:
    for protocol in (CLEF, SEMEVAL):
        assert "Zebedee" not in repr(score(protocol, pairs(20, seed=5)))
