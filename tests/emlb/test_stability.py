"""How far models agree with each other: jitter, churn, local instability."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb.evaluation.comparison.bootstrap import intervals
from emlb.evaluation.comparison.stability import Stability, sentence_starts
from emlb.evaluation.comparison.stability_report import compare_models, measure_stability
from emlb.evaluation.protocols.base import Row, Tally, add
from emlb.evaluation.scoring.gold import GoldCorpus
from emlb.evaluation.scoring.match_keys import scored_items
from emlb.evaluation.scoring.scores import score
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.formats import document_to_json
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document
from tests.tiny import parse_markup, tiny_notes

from .perturb import perturb

NOTES = tiny_notes()

Rows = dict[tuple[str, str, str], Row]


def tallies(*models: tuple[Document, ...]) -> list[Tally]:
    stability = Stability(len(models))
    return [stability.tally(found[0].note.text, found) for found in zip(*models, strict=True)]


def measure(*models: tuple[Document, ...]) -> Rows:
    rows = Stability(len(models)).rows(add(tallies(*models)))
    return {row.key: row for row in rows}


def spoil(seed: int) -> tuple[Document, ...]:
    """The eight notes with random faults and random scores."""
    generator = random.Random(seed)
    spoilt = [perturb(document, generator) for document in NOTES]
    return tuple(
        replace(
            document,
            entities=tuple(replace(e, score=generator.random()) for e in document.entities),
            relations=tuple(replace(r, score=generator.random()) for r in document.relations),
        )
        for document in spoilt
    )


def with_scores(document: Document, *scores: float, relation: float = 1.0) -> Document:
    return replace(
        document,
        entities=tuple(
            replace(entity, score=score)
            for entity, score in zip(document.entities, scores, strict=True)
        ),
        relations=tuple(replace(r, score=relation) for r in document.relations),
    )


WHOLE = with_scores(
    parse_markup("[Drug:a Aspirin] gave her [Disorder:b a rash]. No [Disorder:c fever]. {ADE b a}"),
    *(0.9, 0.8, 0.6),
    relation=0.5,
)
PART = with_scores(
    parse_markup("[Drug:a Aspirin] gave her a [Disorder:b rash]. No [Disorder:c fever]. {ADE b a}"),
    *(0.5, 0.7, 0.6),
    relation=0.7,
)
EMPTY = replace(WHOLE, entities=(), relations=())


def test_two_models_by_hand() -> None:
    rows = measure((WHOLE, EMPTY), (PART, EMPTY))
    entities = rows["entities", "all", "mean"]
    assert entities.predicted == 4
    # Aspirin and fever of three mentions each; the two rashes differ.
    assert entities.values["jitter"] == pytest.approx(1 - 2 / 3)
    # (0.9, 0.5), (0.8, 0), (0, 0.7), (0.6, 0.6)
    variances = [0.2**2, 0.4**2, 0.35**2, 0.0]
    assert entities.values["local_instability"] == pytest.approx(sum(variances) / 4)
    assert entities.values["document_churn"] == 1 / 2
    # The rashes are in the first sentence; each document has two.
    assert entities.values["sentence_churn"] == 1 / 4
    assert rows["entities", "Drug", "type"].values["jitter"] == 0.0
    assert rows["entities", "Drug", "type"].values["local_instability"] == pytest.approx(0.04)
    disorder = rows["entities", "Disorder", "type"]
    assert disorder.values["jitter"] == 1 / 2
    assert disorder.values["local_instability"] == pytest.approx(sum(variances[1:]) / 3)
    relations = rows["relations", "all", "mean"]
    assert relations.predicted == 2
    assert relations.values["jitter"] == 1.0
    assert relations.values["local_instability"] == pytest.approx((0.25**2 + 0.35**2) / 2)


def test_three_models_by_hand() -> None:
    rows = measure((WHOLE, WHOLE), (PART, WHOLE), (EMPTY, EMPTY))
    pairs = {
        name: row.values for (s, name, m), row in rows.items() if (s, m) == ("entities", "pair")
    }
    assert list(pairs) == ["1–2", "1–3", "2–3"]
    assert [values["jitter"] for values in pairs.values()] == pytest.approx([1 / 6, 1.0, 1.0])
    assert [values["document_churn"] for values in pairs.values()] == [0.5, 1.0, 1.0]
    assert [values["sentence_churn"] for values in pairs.values()] == [0.25, 1.0, 1.0]
    mean = rows["entities", "all", "mean"].values
    assert mean["jitter"] == pytest.approx((1 / 6 + 2) / 3)
    assert mean["document_churn"] == pytest.approx(2.5 / 3)
    assert rows["entities", "all", "any"].values == {"document_churn": 1.0, "sentence_churn": 1.0}


def test_what_no_two_models_predict_they_agree_on() -> None:
    rows = measure((EMPTY,), (EMPTY,), (WHOLE,))
    pairs = [rows["relations", name, "pair"].values["jitter"] for name in ("1–2", "1–3", "2–3")]
    assert pairs == [0.0, 1.0, 1.0]
    rows = measure((EMPTY,), (EMPTY,))
    assert rows["entities", "all", "mean"].values == {
        "jitter": 0.0,
        "document_churn": 0.0,
        "sentence_churn": 0.0,
        "local_instability": 0.0,
    }


def test_half_of_the_models_is_the_most_unstable() -> None:
    sure = with_scores(WHOLE, 1.0, 1.0, 1.0)
    rows = measure((sure,), (sure,), (EMPTY,), (EMPTY,))
    assert rows["entities", "all", "mean"].values["local_instability"] == 0.25


@settings(max_examples=40)
@given(st.integers(0, 400), st.integers(2, 4))
def test_a_model_agrees_with_itself(seed: int, count: int) -> None:
    for row in measure(*[spoil(seed)] * count).values():
        assert set(row.values.values()) == {0.0}, row.key


@settings(max_examples=20)
@given(st.integers(0, 400), st.permutations(range(len(NOTES))))
def test_no_order_matters(seed: int, order: list[int]) -> None:
    models = [spoil(seed), spoil(seed + 1), spoil(seed + 2)]
    shuffled = [
        tuple(
            replace(document, entities=document.entities[::-1], relations=document.relations[::-1])
            for document in (model[number] for number in order)
        )
        for model in models
    ]
    expected = {key: row for key, row in measure(*models).items() if row.mode != "pair"}
    for ordered in permutations(shuffled):
        found = {key: row for key, row in measure(*ordered).items() if row.mode != "pair"}
        assert found.keys() == expected.keys()
        for key, row in found.items():
            assert row.predicted == expected[key].predicted
            assert row.values == pytest.approx(expected[key].values, rel=1e-12)


@given(st.integers(0, 400))
def test_jitter_is_what_f1_lacks(seed: int) -> None:
    one, other = spoil(seed), spoil(seed + 1)
    rows, scores = measure(one, other), score(one, other)
    for section, agreement in (("entities", scores.entities), ("relations", scores.relations)):
        micro = agreement.strict.micro
        expected = 1 - micro.f1 if micro.predicted + micro.gold else 0.0
        assert rows[section, "all", "mean"].values["jitter"] == pytest.approx(expected)
        for type, counts in agreement.strict.types.items():
            jitter = rows[section, type, "type"].values["jitter"]
            assert jitter == pytest.approx(1 - counts.f1)


def test_what_is_said_twice_is_two_items() -> None:
    again = replace(WHOLE.entities[0], id="again", score=0.2)
    twice = replace(WHOLE, entities=(again, *WHOLE.entities))
    scores = scored_items(twice)["entities"]
    assert sorted(scores.values()) == [0.2, 0.6, 0.8, 0.9]
    aspirin = ("Drug",), (((0, 7),),)
    assert [scores[*aspirin, 0], scores[*aspirin, 1]] == [0.9, 0.2]
    assert measure((WHOLE,), (twice,))["entities", "all", "mean"].values["jitter"] == 1 - 6 / 7


def test_types_that_gold_lacks_are_left_out() -> None:
    kept = scored_items(WHOLE, {"Disorder", "ADE"})
    assert len(kept["entities"]) == 2
    assert not kept["relations"]  # its drug is gone


@pytest.mark.parametrize(
    ("text", "starts"),
    [
        ("", [0]),
        (" \n ", [0]),
        ("One. Two! Three", [0, 5, 10]),
        ("BP 1.5 mg\r\n\r\nPlan: rest. ", [0, 13]),
        ("\n\nOne", [2]),
        ("\ufeffEins。 Zwei", [0, 7]),
    ],
)
def test_sentences(text: str, starts: list[int]) -> None:
    assert sentence_starts(text) == starts


def test_intervals_hold_the_mean() -> None:
    stability, found = Stability(2), tallies(spoil(1), spoil(2))
    rows = {row.key: row for row in stability.rows(add(found))}
    key = ("entities", "all", "mean")
    interval = intervals(stability, found, samples=200)[key, "jitter"]
    assert 0 <= interval.low < rows[key].values["jitter"] < interval.high <= 1


def test_one_model_is_not_compared(tiny_data: Path) -> None:
    with pytest.raises(ConfigError, match="between two at least"):
        compare_models([tiny_data], tiny_data)
    with pytest.raises(ValueError, match="two models at least, not 1"):
        Stability(1)


def write(path: Path, documents: tuple[Document, ...]) -> Path:
    lines = (json.dumps(document_to_json(document, with_text=True)) for document in documents)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_the_report_has_accuracy_and_jitter(tiny_data: Path, tmp_path: Path) -> None:
    models = [tiny_data, *(write(tmp_path / f"{n}.jsonl", spoil(n)) for n in (1, 2))]
    report = compare_models(models, tiny_data, samples=50, json_path=tmp_path / "s.json")
    table = report.table()
    for part in ("8 documents", "1.jsonl", "100.0", "1–3", "any two", "local instability"):
        assert part in table
    value = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert [model["model"] for model in value["models"]] == [tiny_data.name, "1.jsonl", "2.jsonl"]
    (corpus,) = value["corpora"].values()
    assert corpus["strict_micro_f1"][0] == {"entities": 1.0, "relations": 1.0}
    for number, pair in ((1, "1–2"), (2, "1–3")):
        # The first is gold: what the others lack of agreement with it, they lack of F1.
        f1 = corpus["strict_micro_f1"][number]["entities"]
        assert corpus["entities"]["pairs"][pair]["jitter"] == pytest.approx(1 - f1)
    low, high = corpus["entities"]["mean"]["intervals"]["jitter"]
    assert low <= corpus["entities"]["mean"]["jitter"] <= high
    assert set(corpus["entities"]["types"]) >= {"Drug", "Disorder"}
    assert set(corpus["entities"]["any"]) == {"document_churn", "sentence_churn", "intervals"}


def test_without_samples_there_is_no_interval(tiny_data: Path, tmp_path: Path) -> None:
    report = compare_models([tiny_data, tiny_data], tiny_data, samples=0)
    assert " to " not in report.table()
    (corpus,) = report.to_json()["corpora"].values()
    assert "intervals" not in corpus["entities"]["mean"]


def test_no_text_of_notes_is_shown(tmp_path: Path) -> None:
    planted = parse_markup("[Drug:a Zebedee] and [Disorder:b Florence]. {ADE b a}", name="one")
    corpus = GoldCorpus("c", (planted,), frozenset({"Drug", "Disorder", "ADE"}), True, Report())
    measured = measure_stability(corpus, [[planted], [replace(planted, relations=())]], samples=9)
    assert "Zebedee" not in repr(measured) and "Florence" not in repr(measured)
    gold = write(tmp_path / "gold.jsonl", (planted,))
    table = compare_models([gold, gold], gold).table()
    assert "Zebedee" not in table and "Florence" not in table
    with pytest.raises(ArtefactError) as caught:
        compare_models([gold, tmp_path / "nothing"], gold)
    assert "Zebedee" not in str(caught.value)
