"""The example files must keep the bytes that make them hard to read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

BOM = b"\xef\xbb\xbf"
KINDS = {
    "case-report",
    "consultation-letter",
    "discharge-summary",
    "eligibility-criteria",
    "emergency-note",
    "lab-report",
    "long-history",
    "medication-list",
    "progress-note",
    "radiology-report",
}
ANNOTATED = ("anticoagulation", "infusion-reaction", "thyroid-visit")
SIGNATURES = {
    "ADE-Drug": ("Disorder", "Drug"),
    "Dosage-Drug": ("Dosage", "Drug"),
    "Value-of": ("Value", "Test"),
}


def read(path: Path) -> str:
    """The note with every character that its file holds."""
    return path.read_bytes().decode("utf-8")


def note_bytes(notes: tuple[Path, ...], kind: str) -> bytes:
    """The bytes of the example note of that kind."""
    (path,) = (note for note in notes if note.stem == kind)
    return path.read_bytes()


def test_there_is_one_note_of_each_kind(example_notes: tuple[Path, ...]) -> None:
    assert {path.stem for path in example_notes} == KINDS


def test_every_note_is_utf8_with_text_in_it(example_notes: tuple[Path, ...]) -> None:
    for path in example_notes:
        assert read(path).strip(), path.name


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_line_endings_are_of_one_kind(example_notes: tuple[Path, ...], kind: str) -> None:
    raw = note_bytes(example_notes, kind)
    windows = kind in {"progress-note", "lab-report"}
    assert raw.count(b"\r\n") == (raw.count(b"\n") if windows else 0)


def test_only_the_lab_report_has_a_byte_order_mark(example_notes: tuple[Path, ...]) -> None:
    assert [path.stem for path in example_notes if path.read_bytes().startswith(BOM)] == [
        "lab-report"
    ]


def test_the_letter_has_characters_of_every_width(example_notes: tuple[Path, ...]) -> None:
    letter = note_bytes(example_notes, "consultation-letter").decode("utf-8")
    widths = {len(character.encode("utf-8")) for character in letter}
    assert widths == {1, 2, 3, 4}
    assert {"µ", "°", "é", "≥"} <= set(letter)


def test_the_long_history_is_long_and_not_repeated(example_notes: tuple[Path, ...]) -> None:
    history = note_bytes(example_notes, "long-history").decode("utf-8")
    assert len(history) >= 25_000
    sentences = [part for part in re.split(r"(?<=[.!?])\s+", history) if len(part) > 40]
    assert len(set(sentences)) > 0.97 * len(sentences)


def test_the_annotated_notes_are_there(repo: Path) -> None:
    folder = repo / "examples" / "annotated"
    assert tuple(sorted(path.stem for path in folder.glob("*.txt"))) == ANNOTATED
    assert tuple(sorted(path.stem for path in folder.glob("*.ann"))) == ANNOTATED


@pytest.mark.parametrize("name", ANNOTATED)
def test_annotations_lie_on_their_text(repo: Path, name: str) -> None:
    folder = repo / "examples" / "annotated"
    text = read(folder / f"{name}.txt")
    types: dict[str, str] = {}
    relations: list[tuple[str, str, str]] = []

    for line in read(folder / f"{name}.ann").splitlines():
        id, body, *mention = line.split("\t")
        if id.startswith("T"):
            type, _, offsets = body.partition(" ")
            spans = [tuple(map(int, span.split())) for span in offsets.split(";")]
            assert " ".join(text[start:end] for start, end in spans) == mention[0], id
            types[id] = type
        else:
            type, head, tail = body.split()
            relations.append((type, head.removeprefix("Arg1:"), tail.removeprefix("Arg2:")))

    assert relations
    for type, head, tail in relations:
        assert (types[head], types[tail]) == SIGNATURES[type]


def test_the_annotated_notes_show_the_hard_cases(repo: Path) -> None:
    folder = repo / "examples" / "annotated"
    assert b"\r\n" in (folder / "infusion-reaction.txt").read_bytes()
    assert re.search(r"^T\d+\t\w+ \d+ \d+;\d+ \d+\t", read(folder / "thyroid-visit.ann"), re.M)
