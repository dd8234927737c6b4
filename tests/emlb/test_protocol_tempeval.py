"""Clinical TempEval's scores, against anaforatools."""

from __future__ import annotations

import logging
from collections import defaultdict
from random import Random
from typing import Any
from xml.etree import ElementTree

import pytest
from anafora import AnaforaData
from anafora.evaluate import Scores, TemporalClosureScores, score_data

from emlb.evaluation.protocols.base import Key, Row, Tally, add
from emlb.evaluation.protocols.tempeval import ATTRIBUTES, TempEval
from emlb_runtime.records import Document, Entity, Note, Relation
from tests.emlb.perturb import perturb

PROTOCOL = TempEval()
TEXT = "Zebedee rash " * 12
TYPES = ("EVENT", "EVENT", "EVENT", "TIMEX3", "SECTIONTIME", "DOCTIME")
LINKS = (
    *("TLINK-CONTAINS", "TLINK-CONTAINS", "TLINK-CONTAINS", "TLINK-BEFORE", "TLINK-OVERLAP"),
    *("TLINK-BEGINS-ON", "TLINK-ENDS-ON", "TLINK-NOTED-ON", "TLINK-CONTAINS-SUBEVENT"),
    *("TLINK-AFTER", "TLINK-IS_INCLUDED", "ALINK-CONTINUES", "ALINK-CONTAINS"),
)
VALUES = {
    "DocTimeRel": ("BEFORE", "OVERLAP", "AFTER", "BEFORE/OVERLAP"),
    "Polarity": ("POS", "NEG"),
    "Degree": ("N/A", "MOST", ""),
    "Type": ("N/A", "ASPECTUAL"),
    "ContextualModality": ("ACTUAL", "HEDGED"),
    "Permanence": ("UNDETERMINED",),
    "Class": ("DATE", "SET"),
    "Note": ("rare", ""),
}
_STRICT = ("EVENT", "TIMEX3", "TLINK")
_CLOSED = (("TLINK", "Type", "CONTAINS"), ("TLINK", "Type"))


def random_document(random: Random) -> Document:
    """Mentions and links crowded enough to coincide and to chain."""
    note = Note("n", TEXT)
    entities = []
    for number in range(random.randrange(9)):
        start = random.randrange(0, 100, 4)
        spans = [(start, start + random.choice((4, 4, 8)))]
        if random.random() < 0.15:
            spans.append((start + 10, start + 12))
        type = random.choice(TYPES)
        names = [name for name in VALUES if random.random() < 0.4]
        attributes = {name: random.choice(VALUES[name]) for name in names}
        entities.append(
            Entity.annotate(note, f"T{number + 1}", type, tuple(spans), attributes=attributes)
        )
    relations = []
    for _ in range(random.randrange(8) if entities else 0):
        head, tail = random.choice(entities), random.choice(entities)
        relations.append(Relation(random.choice(LINKS), head.id, tail.id))
    return Document(note, tuple(entities), tuple(relations))


def perturbed(document: Document, random: Random) -> Document:
    return perturb(document, random, types=TYPES, relation_types=LINKS)


def pairs(count: int, seed: int) -> list[tuple[Document, Document]]:
    """Gold and predicted documents; now and then the prediction is of something else."""
    random = Random(seed)
    made = []
    for _ in range(count):
        gold = random_document(random)
        origin = gold if random.random() < 0.9 else random_document(random)
        made.append((gold, perturbed(origin, random)))
    return made


def anafora_data(document: Document) -> AnaforaData:
    """The document as anaforatools holds a file."""
    root = ElementTree.Element("data")
    annotations = ElementTree.SubElement(root, "annotations")

    def put(kind: str, id: str, type: str, spans: str, properties: dict[str, str]) -> None:
        element = ElementTree.SubElement(annotations, kind)
        ElementTree.SubElement(element, "id").text = id
        if spans:
            ElementTree.SubElement(element, "span").text = spans
        ElementTree.SubElement(element, "type").text = type
        inner = ElementTree.SubElement(element, "properties")
        for name, value in properties.items():
            # A file's empty element has no text at all.
            ElementTree.SubElement(inner, name).text = value or None

    ids = {entity.id: f"{entity.id[1:]}@e@n@gold" for entity in document.entities}
    for entity in document.entities:
        spans = ";".join(f"{start},{end}" for start, end in entity.spans)
        put("entity", ids[entity.id], entity.type, spans, dict(entity.attributes))
    for number, relation in enumerate(document.relations):
        type, _, value = relation.type.partition("-")
        properties = {"Target": ids[relation.tail], "Source": ids[relation.head]}
        put("relation", f"{number}@r@n@gold", type, "", {**properties, "Type": value})
    return AnaforaData(root)


def their_key(name: object) -> tuple[str, str] | None:
    """Our section and name of one of their views; None if we have no such row."""
    parts = name if isinstance(name, tuple) else (name,)
    type, *rest = map(str, parts)
    if type == "TLINK":
        shown = rest == ["Type"] or rest == ["Type", "CONTAINS"]
        return ("relations", ":".join((type, *rest))) if shown else None
    if rest == ["<span>"]:
        return "entities", f"{type}:<span>"
    if not rest or (len(rest) == 1 and rest[0] in ATTRIBUTES[type]):
        return "attributes", ":".join((type, *rest))
    return None


def their_scores(gold: Document, predicted: Document) -> dict[Key, Any]:
    """All that anaforatools finds in one document, under our keys."""
    reference, response = anafora_data(gold), anafora_data(predicted)
    found: dict[Key, Any] = {}
    for mode, include, kind in (
        ("strict", _STRICT, Scores),
        ("closure", _CLOSED, TemporalClosureScores),
    ):
        for name, scores in score_data(reference, response, include, scores_type=kind).items():
            if key := their_key(name):
                found[(*key, mode)] = scores
    return found


def their_tally(found: dict[Key, Any]) -> Tally:
    tally: dict[Key, tuple[float, ...]] = {}
    for key, scores in found.items():
        right = scores.correct if isinstance(scores.correct, tuple) else (scores.correct,)
        tally[key] = (scores.reference, scores.predicted, *right)
    return tally


def by_key(rows: list[Row]) -> dict[Key, Row]:
    assert len({row.key for row in rows}) == len(rows)
    return {row.key: row for row in rows}


def document(*mentions: tuple[str, int, int, dict[str, str]], links: str = "") -> Document:
    """Mentions T1, T2…, and links such as ``T1 TLINK-CONTAINS T2``, one a line."""
    note = Note("n", TEXT)
    entities = tuple(
        Entity.annotate(note, f"T{number}", type, ((start, end),), attributes=attributes)
        for number, (type, start, end, attributes) in enumerate(mentions, start=1)
    )
    words = [line.split() for line in links.splitlines()]
    return Document(note, entities, tuple(Relation(type, head, tail) for head, type, tail in words))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    # anaforatools logs each link that it leaves out.
    logging.getLogger().setLevel(logging.ERROR)


def test_counts_and_figures_are_those_of_anaforatools() -> None:
    seen: defaultdict[Key, int] = defaultdict(int)
    for gold, predicted in pairs(520, seed=1):
        found = their_scores(gold, predicted)
        tally = PROTOCOL.tally(gold, predicted)
        assert dict(tally) == their_tally(found)
        rows = by_key(PROTOCOL.rows(tally))
        assert rows.keys() == found.keys()
        for key, row in rows.items():
            scores = found[key]
            figures = [scores.precision(), scores.recall(), scores.f1()]
            ours = [row.values[name] for name in ("precision", "recall", "f1")]
            assert ours == pytest.approx(figures, abs=5e-5)
            assert (row.gold, row.predicted) == (scores.reference, scores.predicted)
            seen[key] += 1
    # Every row is put to the test, most of them often.
    assert min(seen.values()) > 60
    assert len(seen) == 1 + 1 + 1 + 1 + 6 + 1 + 4


def test_a_corpus_is_scored_as_anaforatools_merges_it() -> None:
    corpus = pairs(60, seed=2)
    merged: dict[Key, Any] = {}
    for gold, predicted in corpus:
        for key, scores in their_scores(gold, predicted).items():
            merged.setdefault(key, type(scores)()).update(scores)
    total = add(PROTOCOL.tally(*pair) for pair in corpus)
    assert dict(total) == their_tally(merged)
    for key, row in by_key(PROTOCOL.rows(total)).items():
        assert round(row.values["f1"], 4) == round(merged[key].f1(), 4)


def test_tallies_add_up_in_any_grouping() -> None:
    tallies = [PROTOCOL.tally(*pair) for pair in pairs(30, seed=3)]
    halves = add([add(tallies[::2]), add(tallies[1::2])])
    assert dict(halves) == dict(add(tallies))
    assert PROTOCOL.rows(add([*tallies, *tallies]))[0].values == PROTOCOL.rows(halves)[0].values


def test_rows_by_hand() -> None:
    negated = {"Polarity": "NEG", "DocTimeRel": "BEFORE"}
    gold = document(
        ("TIMEX3", 0, 5, {"Class": "DATE"}),
        ("EVENT", 10, 14, negated),
        ("EVENT", 20, 24, negated),
        links="T1 TLINK-CONTAINS T2\nT2 TLINK-CONTAINS T3",
    )
    predicted = document(
        ("TIMEX3", 0, 5, {"Class": "SET"}),
        ("EVENT", 10, 14, {**negated, "Polarity": "POS"}),
        ("EVENT", 20, 24, negated),
        ("EVENT", 20, 24, negated),
        links="T1 TLINK-CONTAINS T3\nT1 TLINK-CONTAINS T4",
    )
    rows = PROTOCOL.rows(PROTOCOL.tally(gold, predicted))
    assert [row.key for row in rows] == [
        ("entities", "TIMEX3:<span>", "strict"),
        ("attributes", "TIMEX3:Class", "strict"),
        ("attributes", "TIMEX3", "strict"),
        ("entities", "EVENT:<span>", "strict"),
        ("attributes", "EVENT:DocTimeRel", "strict"),
        ("attributes", "EVENT:Polarity", "strict"),
        ("attributes", "EVENT", "strict"),
        ("relations", "TLINK:Type:CONTAINS", "strict"),
        ("relations", "TLINK:Type:CONTAINS", "closure"),
        ("relations", "TLINK:Type", "strict"),
        ("relations", "TLINK:Type", "closure"),
    ]
    found = by_key(rows)
    events = found["entities", "EVENT:<span>", "strict"]
    assert (events.gold, events.predicted, events.values["f1"]) == (2, 2, 1.0)
    assert found["attributes", "EVENT:Polarity", "strict"].values == {
        **dict.fromkeys(("precision", "recall", "f1", "accuracy"), 0.5)
    }
    assert found["attributes", "TIMEX3:Class", "strict"].values["accuracy"] == 0.0
    strict = found["relations", "TLINK:Type:CONTAINS", "strict"]
    assert (strict.gold, strict.predicted, strict.values["precision"]) == (2, 1, 0.0)
    closed = found["relations", "TLINK:Type:CONTAINS", "closure"].values
    assert (closed["precision"], closed["recall"]) == (1.0, 0.0)


def test_an_empty_attribute_is_none_among_all_but_a_value_by_itself() -> None:
    polarity = {"Polarity": "POS"}
    gold = document(("EVENT", 0, 5, {**polarity, "Degree": ""}))
    predicted = document(("EVENT", 0, 5, polarity))
    tally = PROTOCOL.tally(gold, predicted)
    assert dict(tally) == their_tally(their_scores(gold, predicted))
    assert tally["attributes", "EVENT", "strict"] == (1, 1, 1)
    assert tally["attributes", "EVENT:Degree", "strict"] == (1, 1, 0)


def test_nothing_predicted_is_precise_and_nothing_to_find_is_found() -> None:
    some = document(("EVENT", 0, 5, {}), ("EVENT", 6, 9, {}), links="T1 TLINK-CONTAINS T2")
    for gold, predicted, expected in (
        (some, document(), (1.0, 0.0, 0.0)),
        (document(), some, (0.0, 1.0, 0.0)),
    ):
        for row in PROTOCOL.rows(PROTOCOL.tally(gold, predicted)):
            assert tuple(row.values[name] for name in ("precision", "recall", "f1")) == expected


def test_nothing_at_all_has_no_rows() -> None:
    assert PROTOCOL.tally(document(), document()) == {}
    assert PROTOCOL.rows({}) == []
    only_alinks = document(("EVENT", 0, 5, {}), links="T1 ALINK-CONTINUES T1")
    keys = {row.key for row in PROTOCOL.rows(PROTOCOL.tally(only_alinks, only_alinks))}
    assert keys == {("entities", "EVENT:<span>", "strict"), ("attributes", "EVENT", "strict")}


def test_links_that_mean_nothing_to_closure_only_count_without_it() -> None:
    noted = document(("EVENT", 0, 5, {}), ("EVENT", 6, 9, {}), links="T1 TLINK-NOTED-ON T2")
    rows = by_key(PROTOCOL.rows(PROTOCOL.tally(noted, noted)))
    assert rows["relations", "TLINK:Type", "strict"].gold == 1
    closed = rows["relations", "TLINK:Type", "closure"]
    assert (closed.gold, closed.predicted, closed.values["f1"]) == (0, 0, 1.0)


def test_a_link_without_a_type_stops_anaforatools_but_not_us() -> None:
    mixed = document(
        ("EVENT", 0, 5, {}), ("EVENT", 6, 9, {}), links="T1 TLINK T2\nT2 TLINK-BEFORE T1"
    )
    data = anafora_data(mixed)
    for relation in data.annotations.select_type("TLINK"):
        if relation.properties["Type"] is None:
            del relation.properties["Type"]
    with pytest.raises(RuntimeError, match="single property"):
        score_data(data, data, [("TLINK", "Type")], scores_type=TemporalClosureScores)
    scores = score_data(data, data, [("TLINK", "Type")])["TLINK", "Type"]
    rows = by_key(PROTOCOL.rows(PROTOCOL.tally(mixed, mixed)))
    assert rows["relations", "TLINK:Type", "strict"].gold == scores.reference == 2
    assert rows["relations", "TLINK:Type", "closure"].gold == 1
    bare = document(("EVENT", 0, 5, {}), links="T1 TLINK T1")
    assert not [row for row in PROTOCOL.rows(PROTOCOL.tally(bare, bare)) if "TLINK" in row.name]


def test_rows_hold_no_note_text() -> None:
    for gold, predicted in pairs(20, seed=4):
        assert "Zebedee" not in repr(PROTOCOL.rows(PROTOCOL.tally(gold, predicted)))
