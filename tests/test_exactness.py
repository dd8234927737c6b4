"""int8 has the sums of whole numbers on this machine, and so the same triples as on any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.exactness import compare
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.records import Document, Note


def check(bundle: Bundle, notes: Sequence[Note], *, at_least: int) -> None:
    """Every kind of products that passes its self-test has exact sums and the same triples."""
    compared = compare(bundle, notes)
    assert compared["found"] >= at_least
    ways = compared["ways"]
    assert ways["u8u8"]["self_test"] == "passes"
    for kind in ("u8s8", "u8u8"):
        way = ways[kind]
        assert 0 < way["largest_sum"] < 2**24  # float32 holds them exactly too
        assert (way["products_unequal"] == 0) == (way["self_test"] == "passes"), kind
        if way["self_test"] == "passes":
            assert way["differing"] == 0, kind
            assert way["largest_score_difference"] < 1e-3, kind


def test_sums_and_triples_of_the_tiny_model(
    tiny_bundle: Path, tiny_documents: Sequence[Document]
) -> None:
    check(Bundle.load(tiny_bundle), [document.note for document in tiny_documents], at_least=30)


def test_sums_and_triples_of_the_default_model() -> None:
    text = (
        "Started metoprolol 25 mg twice daily for hypertension. She developed a rash after "
        "amoxicillin; no fever. CT of the chest showed a small pleural effusion."
    )
    check(Bundle.load(), [Note("short", text)], at_least=15)


@pytest.mark.slow
def test_sums_and_triples_of_the_example_notes(example_notes: Sequence[Path]) -> None:
    read = read_notes(find_notes(list(map(str, example_notes))))
    notes = [item for item in read if isinstance(item, Note)]
    assert len(notes) == len(example_notes)
    check(Bundle.load(), notes, at_least=3000)
