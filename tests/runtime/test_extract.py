"""The extractor: order, threads, failures, and the same answer whatever runs beside."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import emlb_runtime
from emlb_runtime import Document, ErrorRecord, Extractor, Note
from emlb_runtime.errors import ConfigError
from tests.tiny import TinyRun


@pytest.fixture(scope="module")
def extractor(tiny_bundle: Path) -> Extractor:
    return Extractor.load(tiny_bundle, provider="cpu", workers=3)


@pytest.fixture(scope="module")
def notes(tiny_run: TinyRun) -> list[Note]:
    """Sixty notes of very different lengths."""
    texts = [document.note.text for document in tiny_run.documents]
    return [
        Note(f"note-{number}", "\n".join(texts[: number % 7 + 1] * (1 + number % 3)))
        for number in range(60)
    ]


def plain(document: Document | ErrorRecord) -> object:
    assert isinstance(document, Document)
    return (document.note.name, document.entities, document.relations)


def test_public_names() -> None:
    assert sorted(emlb_runtime.__all__) == list(emlb_runtime.__all__)
    for name in emlb_runtime.__all__:
        assert getattr(emlb_runtime, name) is not None
    with pytest.raises(AttributeError):
        emlb_runtime.Nothing  # noqa: B018


def test_info(extractor: Extractor) -> None:
    info = extractor.info
    assert (info.precision, info.provider) == ("int8", "CPUExecutionProvider")
    assert info.workers == 3


def test_many_in_order_and_each_as_alone(extractor: Extractor, notes: list[Note]) -> None:
    alone = [plain(extractor.extract(note.text, name=note.name)) for note in notes]
    assert [plain(document) for document in extractor.extract_many(notes)] == alone
    backwards = [plain(document) for document in extractor.extract_many(reversed(notes))]
    assert backwards == alone[::-1]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_do_not_matter(
    tiny_bundle: Path, extractor: Extractor, notes: list[Note], workers: int
) -> None:
    other = Extractor.load(tiny_bundle, provider="cpu", workers=workers)
    found = [plain(document) for document in other.extract_many(notes)]
    assert found == [plain(document) for document in extractor.extract_many(notes)]


def test_texts_are_named_by_position(extractor: Extractor) -> None:
    assert [d.note.name for d in extractor.extract_many(["a", "b"])] == ["0", "1"]


def test_laziness(extractor: Extractor) -> None:
    taken = 0

    def endless() -> Iterator[Note]:
        nonlocal taken
        while True:
            taken += 1
            yield Note(str(taken), "Rash. " * 100)

    stream = extractor.extract_many(endless())
    assert next(stream).note.name == "1"
    assert taken < 1000
    stream.close()  # type: ignore[attr-defined]


def test_many_threads_one_extractor(extractor: Extractor, notes: list[Note]) -> None:
    expected = [plain(document) for document in extractor.extract_many(notes)]

    def work(_: int) -> list[object]:
        return [plain(extractor.extract(note.text, name=note.name)) for note in notes[:20]]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            assert found == expected[:20]


def test_a_failing_note_costs_itself_only(
    extractor: Extractor, notes: list[Note], monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = extractor.pipeline.prepare

    def failing(note: Note) -> object:
        if note.name == "note-7":
            raise ValueError(f"secret-marker {note.text}")
        return prepare(note)

    monkeypatch.setattr(extractor.pipeline, "prepare", failing)
    items: list[Note | ErrorRecord] = [*notes[:10], ErrorRecord("gone", "unreadable"), notes[10]]
    results = list(extractor.extract_each(items))
    names = [r.note if isinstance(r, ErrorRecord) else r.note.name for r in results]
    assert names == [*(f"note-{n}" for n in range(10)), "gone", "note-10"]
    assert results[7] == ErrorRecord("note-7", "extraction failed: ValueError")
    assert sum(isinstance(result, ErrorRecord) for result in results) == 2


def test_a_long_note_uses_all_workers(extractor: Extractor, notes: list[Note]) -> None:
    unit = notes[6].text + "\n"
    text = unit * (200_000 // len(unit) + 2)
    (document,) = extractor.extract_many([Note("long", text)])
    assert document.status is not None
    assert document.status.windows > 100
    assert plain(document) == plain(extractor.extract(text, name="long"))
    for entity in document.entities:
        assert text[entity.start : entity.end] == entity.text


@pytest.mark.parametrize("text", ["", " \n\t\r\n ", "\x00\x00", "\ud800", "\u200b" * 50])
def test_notes_without_words(extractor: Extractor, text: str) -> None:
    document = extractor.extract(text)
    assert document.note.text == text
    assert document.relations == ()


def test_bad_options(tiny_bundle: Path) -> None:
    with pytest.raises(ConfigError, match="workers is 0"):
        Extractor.load(tiny_bundle, workers=0)
    with pytest.raises(ConfigError, match=r"min_score is 1\.5"):
        Extractor.load(tiny_bundle, min_score=1.5)
    with pytest.raises(ConfigError, match="the bundle has fp32, int8"):
        Extractor.load(tiny_bundle, precision="fp16")


def test_min_score(tiny_bundle: Path, notes: list[Note]) -> None:
    strict = Extractor.load(tiny_bundle, provider="cpu", min_score=1.0)
    (document,) = strict.extract_many(notes[:1])
    assert all(entity.score >= 1.0 for entity in document.entities)
