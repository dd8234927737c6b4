"""The extractor's fuzz target, on the tiny model of ``tests.tiny``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from emlb_runtime import Extractor
from emlb_runtime.records import Document
from emlb_runtime.text import tokens

from .checks import check_document

SLABS = (tokens.SLAB, 8, 61)


def make_target(bundle: Path) -> Callable[[bytes], None]:
    """A function of bytes that extracts them as a note; the first byte chooses the slab."""
    extractor = Extractor.load(bundle, provider="cpu", workers=1)

    def fuzz_extractor(data: bytes) -> None:
        first, rest = (data[0], data[1:]) if data else (0, b"")
        errors = ("replace", "surrogateescape", "backslashreplace")[first // 4 % 3]
        text = rest.decode("utf-8", errors)
        try:
            tokens.SLAB = SLABS[first % len(SLABS)]
            document = extractor.extract(text)
            check_extracted(document, text)
            if len(data) % 4 == 0:
                assert extractor.extract(text) == document
        finally:
            tokens.SLAB = SLABS[0]

    return fuzz_extractor


def check_extracted(document: Document, text: str) -> None:
    """The text is untouched, mentions lie on it, stand in order and show no space at an end."""
    assert document.note.text == text
    check_document(document)
    starts = [entity.start for entity in document.entities]
    assert starts == sorted(starts)
    for entity in document.entities:
        assert entity.text == entity.text.strip()
    assert document.status is not None and document.status.characters == len(text)
    list(document.triples())
    document.to_json()
