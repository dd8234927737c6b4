"""What rules annotate in raw notes: negations of listed mentions, and devices."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from emlb.recipes.rules import annotate
from emlb_runtime.records import Document, Entity, Note


def negated(text: str, *findings: str) -> list[tuple[str, str]]:
    """What negates what, once a model has found these."""
    mentions = tuple(
        Entity(f"T{number}", "Disorder", match.start(), match.end(), finding, score=0.9)
        for number, finding in enumerate(findings)
        for match in re.finditer(re.escape(finding), text)
    )
    document = annotate(Document(Note("n", text), mentions))
    names = {entity.id: entity.text for entity in document.entities}
    return [(names[relation.head], names[relation.tail]) for relation in document.relations]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No rubs, murmurs or gallops.", "No:rubs No:murmurs No:gallops"),
        ("He denies rubs and murmurs but has gallops.", "denies:rubs denies:murmurs"),
        ("No rubs. Gallops and murmurs.", "No:rubs"),
        ("Without evidence of gallops, no murmurs", "Without:gallops no:murmurs"),
        ("Negative for murmurs, positive for rubs.", "Negative:murmurs"),
        ("She has not had any rubs.", "not:rubs"),
        ("Murmurs are not as loud as gallops.", ""),
        ("No change of murmurs.", ""),
        ("No longer any gallops", ""),
        ("There is no absence of rubs.", ""),
        ("no murmurs were heard, rubs were", "no:murmurs"),
        ("no one two three four five six gallops", ""),
    ],
)
def test_negations(text: str, expected: str) -> None:
    found = negated(text, "rubs", "murmurs", "gallops")
    assert [f"{cue}:{finding}" for cue, finding in found] == expected.split()


def test_findings_that_are_unsure_are_left_out() -> None:
    text = "no murmurs"
    mention = Entity("T1", "Disorder", 3, 10, "murmurs", score=0.3)
    document = annotate(Document(Note("n", text), (mention,)))
    assert [entity.text for entity in document.entities] == ["no"]
    assert not document.relations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Foley catheter and a chest tube were left.", ["Foley catheter", "chest tube"]),
        ("the left fallopian tube", []),
        (
            "A wire was passed through double-J ureteral stents.",
            ["wire", "double-J ureteral stents"],
        ),
        ("a device", ["device"]),
        ("wireless", []),
    ],
)
def test_devices(text: str, expected: list[str]) -> None:
    document = annotate(Document(Note("n", text)))
    assert [entity.text for entity in document.entities] == expected
    for entity in document.entities:
        assert text[entity.start : entity.end] == entity.text


def test_the_corpus_is_read_back(repo: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.txt").write_text("A pacemaker, no stent.\n", encoding="utf-8")
    (notes / "b.txt").write_text("Nothing here.\n", encoding="utf-8")
    out = tmp_path / "rules.jsonl"
    command = [sys.executable, "-m", "emlb.recipes.rules", str(notes), "--out", str(out)]
    subprocess.run([*command, "--model", str(tiny_bundle)], check=True, cwd=repo)
    (line,) = out.read_text(encoding="utf-8").splitlines()
    values = json.loads(line)
    assert values["note"] == "a.txt"
    assert [entity["text"] for entity in values["entities"]][:2] == ["pacemaker", "stent"]
