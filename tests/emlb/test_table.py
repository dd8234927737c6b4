from __future__ import annotations

import json

import pytest

from emlb.evaluation import Agreement, Counts, Scores, TypeScores, render, to_json

ENTITIES = Agreement(
    TypeScores({"Disorder": Counts(1, 2, 4), "Drug": Counts(3, 3, 3)}),
    TypeScores({"Disorder": Counts(2, 2, 4), "Drug": Counts(3, 3, 3)}),
)
RELATIONS = Agreement(
    TypeScores({"Of": Counts(0, 1, 2)}),
    TypeScores({"Of": Counts(1, 1, 2)}),
)
NONE = Agreement(TypeScores({}), TypeScores({}))

TABLE = """\
corpus: 2 documents

Entities
                             strict             lenient
             gold predicted       P     R    F1       P     R    F1
  Disorder      4         2    50.0  25.0  33.3   100.0  50.0  66.7
  Drug          3         3   100.0 100.0 100.0   100.0 100.0 100.0
  micro         7         5    80.0  57.1  66.7   100.0  71.4  83.3
  macro                        75.0  62.5  66.7   100.0  75.0  83.3

Relations (end to end)
                             strict             lenient
             gold predicted       P     R    F1       P     R    F1
  Of            2         1     0.0   0.0   0.0   100.0  50.0  66.7
  micro         2         1     0.0   0.0   0.0   100.0  50.0  66.7
  macro                         0.0   0.0   0.0   100.0  50.0  66.7

Relations on gold mentions
  no gold and no predictions"""

STRICT_TABLE = """\
1 document

Entities
          gold predicted       P     R    F1
  Of         2         1     0.0   0.0   0.0
  micro      2         1     0.0   0.0   0.0
  macro                      0.0   0.0   0.0

Relations (end to end)
  no gold and no predictions"""


def test_table() -> None:
    assert render(Scores(2, ENTITIES, RELATIONS, NONE), title="corpus") == TABLE


def test_strict_table() -> None:
    assert render(Scores(1, RELATIONS, NONE), lenient=False) == STRICT_TABLE


def test_nothing_to_show() -> None:
    assert render(Scores(0, NONE, NONE)).startswith("0 documents\n\nEntities\n  no gold")


def test_wide_labels_keep_the_columns() -> None:
    wide = TypeScores({"药物": Counts(1, 1, 1), "Drug": Counts(1, 1, 1)})
    lines = render(Scores(1, Agreement(wide, wide), NONE)).split("\n")
    chinese, latin = (next(line for line in lines if label in line) for label in wide.types)
    assert chinese.replace("药物", "Drug ") == latin.replace("Drug", "Drug ")[: len(latin) + 1]


def test_json() -> None:
    values = to_json(Scores(2, ENTITIES, RELATIONS))
    assert json.loads(json.dumps(values)) == values
    assert values["documents"] == 2
    assert values["relations_on_gold"] is None
    strict = values["entities"]["strict"]
    assert strict["types"]["Disorder"] == {
        "precision": 0.5,
        "recall": 0.25,
        "f1": pytest.approx(1 / 3),
        "tp": 1,
        "predicted": 2,
        "gold": 4,
    }
    assert strict["micro"]["tp"] == 4
    assert strict["macro"] == {"precision": 0.75, "recall": 0.625, "f1": pytest.approx(2 / 3)}
    assert values["relations"]["lenient"]["micro"]["recall"] == 0.5


def test_json_of_relations_on_gold() -> None:
    values = to_json(Scores(2, ENTITIES, NONE, RELATIONS))
    assert values["relations_on_gold"]["strict"]["types"]["Of"]["predicted"] == 1
    assert values["relations"]["strict"] == {
        "micro": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "tp": 0, "predicted": 0, "gold": 0},
        "macro": {"precision": 0.0, "recall": 0.0, "f1": 0.0},
        "types": {},
    }
