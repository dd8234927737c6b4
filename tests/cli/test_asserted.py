"""`emlb-run` with a model that has attributes: facts, formats, and what decides the output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from emlb_runtime.formats.brat import read_brat_folder
from tests.attributed import AttributedRun
from tests.cli.invoking import Result, invoke


@pytest.fixture
def notes(attributed_run: AttributedRun) -> str:
    return str(attributed_run.data / "dev" / "*.txt")


def emlb_run(bundle: Path, *arguments: str, exit_code: int = 0) -> Result:
    result = invoke(["--model", str(bundle), "--provider", "cpu", *arguments])
    assert result.exit_code == exit_code, result.stderr
    return result


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def key(value: dict[str, Any]) -> tuple[Any, ...]:
    return value["note"], value["head"]["start"], value["tail"]["start"]


def test_facts_alone(attributed_bundle: Path, notes: str, tmp_path: Path) -> None:
    everything = emlb_run(attributed_bundle, notes, "-o", str(tmp_path / "all.jsonl"))
    facts = emlb_run(attributed_bundle, notes, "--asserted", "-o", str(tmp_path / "facts.jsonl"))
    found, kept = lines(tmp_path / "all.jsonl"), lines(tmp_path / "facts.jsonl")
    assert {value["asserted"] for value in found} == {True, False}
    assert kept == [value for value in found if value["asserted"]]
    for value in found:
        said = value["head"].get("attributes", {}) | value["tail"].get("attributes", {})
        denied = said.get("Assertion") == "absent" or said.get("Experiencer") == "other"
        assert value["asserted"] is not denied
        assert (
            value["head"].get("attribute_scores", {}).keys()
            == value["head"].get("attributes", {}).keys()
        )
    # Both are counted, whichever are written.
    counts = [
        re.search(r"(\d+) relations \((\d+) of them facts\)", r.stderr) for r in (everything, facts)
    ]
    assert [match and match.groups() for match in counts] == [(str(len(found)), str(len(kept)))] * 2


def test_documents_keep_every_mention(attributed_bundle: Path, notes: str, tmp_path: Path) -> None:
    for name, more in (("all", []), ("facts", ["--asserted"])):
        out = str(tmp_path / f"{name}.jsonl")
        emlb_run(attributed_bundle, notes, "--format", "documents", *more, "-o", out)
    for one, other in zip(
        lines(tmp_path / "all.jsonl"), lines(tmp_path / "facts.jsonl"), strict=True
    ):
        assert one["entities"] == other["entities"]
        assert [r for r in one["relations"] if r["asserted"]] == other["relations"]


def test_brat_has_attribute_lines(attributed_bundle: Path, notes: str, tmp_path: Path) -> None:
    emlb_run(attributed_bundle, notes, "--format", "documents", "-o", str(tmp_path / "d.jsonl"))
    emlb_run(attributed_bundle, notes, "--format", "brat", "-o", str(tmp_path / "brat"))
    documents = lines(tmp_path / "d.jsonl")
    read = [document for document, _ in read_brat_folder(tmp_path / "brat")]
    assert len(read) == len(documents) == 20

    def said(entities: Any) -> list[tuple[Any, ...]]:
        return sorted((e["start"], e["end"], *e.get("attributes", {}).items()) for e in entities)

    of_brat = [
        [{"start": e.start, "end": e.end, "attributes": e.attributes} for e in d.entities]
        for d in read
    ]
    assert sorted(map(said, of_brat)) == sorted(said(value["entities"]) for value in documents)


def test_it_is_part_of_what_decides_the_output(
    attributed_bundle: Path, notes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emlb_runtime.extract import Extractor

    whole = Extractor.extract_each

    def cut(self: Extractor, items: Any) -> Any:
        for number, result in enumerate(whole(self, items)):
            if number == 3:
                raise KeyboardInterrupt
            yield result

    out = str(tmp_path / "t.jsonl")
    monkeypatch.setattr(Extractor, "extract_each", cut)
    emlb_run(attributed_bundle, notes, "-o", out, exit_code=130)
    monkeypatch.setattr(Extractor, "extract_each", whole)
    refused = emlb_run(attributed_bundle, notes, "--asserted", "-o", out, exit_code=2)
    assert "--asserted (False then, True now)" in refused.stderr
    resumed = emlb_run(attributed_bundle, notes, "-o", out)
    match = re.search(r"(\d+) relations \((\d+) of them facts\)", resumed.stderr)
    found = lines(Path(out))
    assert match is not None
    assert [int(n) for n in match.groups()] == [len(found), sum(v["asserted"] for v in found)]


def test_a_model_that_does_not_tell(tiny_bundle: Path, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Amoxicillin caused a rash on day three.", encoding="utf-8")
    refused = emlb_run(tiny_bundle, str(note), "--asserted", exit_code=2)
    assert "--asserted: this model does not tell which relations are facts" in refused.stderr
    plain = emlb_run(tiny_bundle, str(note), "--format", "documents")
    assert "asserted" not in plain.stdout and "attribute" not in plain.stdout
    assert "facts" not in plain.stderr
