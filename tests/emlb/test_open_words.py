"""What is found in a stretch of unknown content is neither right nor wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emlb.data.mapping import UNKNOWN
from emlb.evaluation import score
from emlb.evaluation.scoring.gold import read_gold
from emlb_runtime.formats.writers import open_writer
from emlb_runtime.records import Document
from tests.tiny import parse_markup

GOLD = (
    "[Open:o Mother had [Disorder:a asthma] and gout]; takes [Drug:d aspirin] for"
    " [Disorder:p back pain]. {Reason-Drug p d}"
)
FOUND = (
    "Mother had [Disorder:a asthma] and [Disorder:g gout]; takes [Drug:d aspirin] for"
    " [Disorder:p back pain]. {Reason-Drug p d} {Reason-Drug g d}"
)


def gold() -> Document:
    document = parse_markup(GOLD)
    entities = (replace(e, type=UNKNOWN) if e.type == "Open" else e for e in document.entities)
    return replace(document, entities=tuple(entities))


def test_findings_in_an_open_stretch_are_not_scored() -> None:
    scores = score([gold()], [parse_markup(FOUND)])
    assert set(scores.entities.strict.types) == {"Disorder", "Drug"}
    micro = scores.entities.strict.micro
    assert (micro.tp, micro.predicted, micro.gold) == (3, 3, 3)  # gout is left out
    micro = scores.relations.strict.micro
    assert (micro.tp, micro.predicted, micro.gold) == (1, 1, 1)


def test_a_mention_that_is_annotated_inside_one_is_scored() -> None:
    missed = parse_markup(FOUND.replace("[Disorder:a asthma]", "asthma"))
    micro = score([gold()], [missed]).entities.strict.micro
    assert (micro.tp, micro.predicted, micro.gold) == (2, 2, 3)


def test_a_wrong_finding_elsewhere_is_wrong() -> None:
    wrong = parse_markup(FOUND.replace("takes", "[Drug:t takes]"))
    micro = score([gold()], [wrong]).entities.strict.micro
    assert (micro.tp, micro.predicted, micro.gold) == (3, 4, 3)


def test_stretches_are_no_type_of_a_corpus(tmp_path: Path) -> None:
    with open_writer("brat", tmp_path / "c") as writer:
        writer.write(gold())
    (corpus,) = read_gold(tmp_path / "c")
    assert corpus.types == {"Disorder", "Drug", "Reason-Drug"}
