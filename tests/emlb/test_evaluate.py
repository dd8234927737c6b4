"""Scoring predicted documents by a protocol, with intervals and a comparison."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from emlb.data.convert import convert
from emlb.evaluation.evaluate import evaluate
from emlb.evaluation.protocol_scores import Judging
from emlb.evaluation.protocols import PROTOCOLS, find_protocol
from emlb.evaluation.protocols.table import NOTHING
from emlb_runtime.errors import ArtefactError, ConfigError, DataError
from emlb_runtime.formats import document_to_json
from emlb_runtime.formats import report as reasons
from emlb_runtime.records import Document

from .perturb import perturb


def write(path: Path, documents: tuple[Document, ...]) -> Path:
    lines = (json.dumps(document_to_json(document, with_text=True)) for document in documents)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def worse(tmp_path: Path, tiny_documents: tuple[Document, ...]) -> Path:
    """Predictions with random faults."""
    generator = random.Random(3)
    return write(tmp_path / "worse.jsonl", tuple(perturb(d, generator) for d in tiny_documents))


def test_gold_against_itself_is_right(tiny_data: Path) -> None:
    report = evaluate(tiny_data, tiny_data)
    (scores,) = report.scores.values()
    assert scores.entities.strict.micro.f1 == scores.relations.strict.micro.f1 == 1.0
    assert "predictions read as" in report.table()


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_every_protocol_reports(tiny_data: Path, worse: Path, tmp_path: Path, name: str) -> None:
    judging = Judging(name, samples=20, compare=tiny_data)
    report = evaluate(worse, tiny_data, judging=judging, json_path=tmp_path / "o.json")
    table = report.table()
    assert find_protocol(name).title in table
    assert (NOTHING in table) != (f"from worse.jsonl to {tiny_data.name}" in table)
    value = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert value["protocol"] == name
    (corpus,) = value["corpora"].values()
    assert (corpus["rows"] == []) == (NOTHING in table)


def test_better_is_seen_to_be_better(tiny_data: Path, worse: Path) -> None:
    report = evaluate(worse, tiny_data, judging=Judging(samples=200, compare=tiny_data))
    (judged,) = report.judged.values()
    key = ("entities", "micro", "strict")
    rows = {row.key: row for row in judged.rows}
    interval = judged.intervals[key, "f1"]
    assert interval.low <= rows[key].values["f1"] <= interval.high
    assert judged.differences[key, "f1"].low > 0
    assert "+" in report.table() and "*" in report.table()


def test_predictions_pair_by_base_name(
    tiny_data: Path, tmp_path: Path, tiny_documents: tuple[Document, ...]
) -> None:
    moved = tuple(
        replace(d, note=replace(d.note, name=f"out/{d.note.name}.txt")) for d in tiny_documents
    )
    report = evaluate(write(tmp_path / "p.jsonl", moved), tiny_data)
    (scores,) = report.scores.values()
    assert scores.entities.strict.micro.f1 == 1.0
    with pytest.raises(DataError, match=r"no predictions for 1 of 8 documents"):
        evaluate(write(tmp_path / "p.jsonl", moved[1:]), tiny_data)


def test_formats_do_not_matter(tiny_data: Path, worse: Path, tmp_path: Path) -> None:
    out = tmp_path / "anafora"
    convert(worse, out, to="anafora")
    judging = Judging("standard")
    (one,) = evaluate(worse, tiny_data, judging=judging).judged.values()
    (other,) = evaluate(out, tiny_data, judging=judging).judged.values()
    assert one.rows == other.rows


def test_what_does_not_fit(tiny_data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown protocol 'n2c3'; choose standard, n2c2"):
        evaluate(tiny_data, tiny_data, judging=Judging("n2c3"))
    with pytest.raises(ConfigError, match="relations on gold mentions need a model"):
        evaluate(tiny_data, tiny_data, gold_mentions=True)
    with pytest.raises(ConfigError, match="without a protocol only"):
        evaluate(tiny_data, tiny_data, gold_mentions=True, judging=Judging("ade"))
    with pytest.raises(ConfigError, match="no precision or task"):
        evaluate(tiny_data, tiny_data, precision="int8")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ArtefactError, match="neither a trained model, nor a bundle"):
        evaluate(empty, tiny_data)
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.txt").touch()
    with pytest.raises(ArtefactError, match="notes without predictions"):
        evaluate(raw, tiny_data)
    with pytest.raises(DataError, match="notes without annotations"):
        evaluate(tiny_data, raw)


def test_parts_of_a_split(
    tiny_data: Path, tmp_path: Path, tiny_documents: tuple[Document, ...]
) -> None:
    names = [document.note.name for document in tiny_documents]
    path = tmp_path / "parts.json"
    path.write_text(json.dumps({"train": names[3:], "dev": names[1:3], "test": names[:1]}))
    (count,) = evaluate(tiny_data, tiny_data, split=path, part="dev").documents.values()
    assert count == 2


def test_predictions_need_no_texts_of_their_own(tiny_data: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for file in tiny_data.glob("*.ann"):
        (mine / file.name).write_bytes(file.read_bytes())
    (scores,) = evaluate(mine, tiny_data).scores.values()
    assert scores.entities.strict.micro.f1 == 1.0


@pytest.mark.parametrize("to", ["anafora", "share"])
def test_nor_do_those_of_other_formats(to: str, tiny_data: Path, tmp_path: Path) -> None:
    gold, mine = tmp_path / "gold", tmp_path / "mine"
    convert(tiny_data, gold, to=to)
    for file in gold.rglob("*"):
        if file.suffix in (".xml", ".pipe"):
            path = mine / file.relative_to(gold)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read_bytes())
    report = evaluate(mine, gold)
    assert report.not_read == {}
    assert sum(report.documents.values()) == len(list(tiny_data.glob("*.ann")))


def test_what_is_lost_of_predictions_is_told(tiny_data: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for file in tiny_data.iterdir():
        (mine / file.name).write_bytes(file.read_bytes())
    broken = next(mine.glob("*.ann"))
    broken.write_bytes(broken.read_bytes() + b"T99\tDrug 1 99999\tZebedee\n")
    report = evaluate(mine, tiny_data, json_path=tmp_path / "o.json")
    assert "not used of mine: 1 × span goes past the end of the text" in report.table()
    assert "Zebedee" not in report.table()
    value = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))
    assert value["predictions_not_used"] == {"mine": {"span goes past the end of the text": 1}}


def test_mentions_of_another_count_are_moved_and_others_take_no_part(tmp_path: Path) -> None:
    """brat counted CRLF as one character in the gold standard; the prediction is right."""
    gold = tmp_path / "gold"
    gold.mkdir()
    text = "Took aspirin.\r\nDeveloped melena.\r\nStopped aspirin.\r\n"
    (gold / "n1.txt").write_bytes(text.encode())
    (gold / "n1.ann").write_text(
        "T1\tDrug 5 12\taspirin\nT2\tDisorder 24 30\tmelena\nT3\tDrug 40 47\taspirin\n"
        "T4\tDrug 0 4\tTake\nR1\tADE-Drug Arg1:T2 Arg2:T1\nR2\tADE-Drug Arg1:T2 Arg2:T4\n",
        encoding="utf-8",
    )
    mentions = [("T1", "Drug", 5, 12), ("T2", "Disorder", 25, 31), ("T3", "Drug", 42, 49)]
    value = {
        "note": "n1.txt",
        "entities": [
            {"id": id, "type": type, "start": start, "end": end, "text": text[start:end]}
            for id, type, start, end in mentions
        ],
        "relations": [{"type": "ADE-Drug", "head": "T2", "tail": "T1"}],
    }
    predicted = tmp_path / "p.jsonl"
    predicted.write_text(json.dumps(value) + "\n", encoding="utf-8")
    report = evaluate(predicted, gold, json_path=tmp_path / "o.json")
    (scores,) = report.scores.values()
    assert scores.entities.strict.micro.f1 == scores.relations.strict.micro.f1 == 1.0
    assert "used, with a remark: 2 × mention moved: offsets counted CRLF as one" in report.table()
    assert "not used: 1 × surface differs from the text at its offsets" in report.table()
    assert "not used: 1 × relation argument is not a usable mention" in report.table()
    told = json.loads((tmp_path / "o.json").read_text(encoding="utf-8"))["corpora"]["gold"]
    assert told["used_with_a_remark"] == {reasons.CRLF_COUNTED_ONCE: 2}


def test_a_document_twice_in_a_mixture_is_told(tmp_path: Path) -> None:
    line = {"corpus": "c", "doc": "1", "text": "Rash", "entities": [["Rash", [[0, 4]]]]}
    text = json.dumps({**line, "relations": []})
    path = tmp_path / "m.jsonl"
    path.write_text(f"{text}\n{text}\n", encoding="utf-8")
    report = evaluate(path, path)
    assert report.documents == {"c": 1}
    assert "not used: 1 × document was read before under this name" in report.table()


def test_few_samples_may_miss_a_row(tiny_data: Path, worse: Path) -> None:
    for name in sorted(PROTOCOLS):
        report = evaluate(worse, tiny_data, judging=Judging(name, samples=1, compare=tiny_data))
        assert find_protocol(name).title in report.table()
