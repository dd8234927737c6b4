"""What is no note is refused by its position, or has an error record; its value is never shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime import Document, ErrorRecord, Extractor, Note

MARKER = "Zebrafish"
NAN = float("nan")
TEXTS = ("Nausea after codeine.", "Rash after penicillin.")
A, B = TEXTS

BAD: dict[str, Any] = {
    "None": None,
    "NaN": NAN,
    "bytes": MARKER.encode(),
    "bytearray": bytearray(MARKER, "ascii"),
    "int": 4711,
    "list": [MARKER],
    "PosixPath": Path(MARKER),
    "dict": {"text": MARKER},
}
by_kind = pytest.mark.parametrize("kind", BAD)


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor.load(provider="cpu", workers=2) as loaded:
        yield loaded


def show(results: Sequence[Document | ErrorRecord]) -> list[str]:
    """The error of each result, or its mentions."""
    return [
        r.error if isinstance(r, ErrorRecord) else " ".join(e.text for e in r.entities)
        for r in results
    ]


def test_the_cell_of_a_table_that_is_empty(extractor: Extractor) -> None:
    for value, said in ((None, "None"), (NAN, "NaN")):
        with pytest.raises(TypeError, match=rf"^item 1 \(counted from 0\): {said} is neither"):
            list(extractor.extract_many([A, value, B]))  # type: ignore[list-item]
        notes = [Note("a", A), Note("b", value), Note("c", B)]  # type: ignore[arg-type]
        first, second, third = extractor.extract_each(notes)
        assert isinstance(first, Document) and isinstance(third, Document)
        assert isinstance(second, ErrorRecord) and second.note == "b"
        assert f"the Note's text is {said}, not a str" in second.error


def test_strings_are_extracted_by_each_method(extractor: Extractor) -> None:
    mixed: list[Note | str] = [Note("0", A), B]
    alone = [extractor.extract(text, name=str(n)) for n, text in enumerate(TEXTS)]
    assert show(alone) == ["Nausea codeine", "Rash penicillin"]
    assert list(extractor.extract_each(TEXTS)) == alone
    assert list(extractor.extract_many(TEXTS)) == alone
    assert list(extractor.extract_each(iter(mixed))) == alone


@by_kind
def test_each_kind_where_a_note_is_wanted(extractor: Extractor, kind: str) -> None:
    value = BAD[kind]
    with pytest.raises(TypeError, match=kind) as refused:
        extractor.extract(value)
    assert MARKER not in str(refused.value)
    with pytest.raises(TypeError, match=rf"^item 2 .*\b{kind}\b") as refused:
        list(extractor.extract_many([A, B, value]))
    assert MARKER not in str(refused.value)
    with pytest.raises(TypeError, match=rf"^item 0 .*\b{kind}\b"):
        list(extractor.extract_many([Note("n", value)]))
    results = list(extractor.extract_each([value, A, Note("n", value), ErrorRecord("e", "said")]))
    assert [isinstance(result, ErrorRecord) for result in results] == [True, False, True, True]
    names = [r.note if isinstance(r, ErrorRecord) else r.note.name for r in results]
    assert names == ["0", "1", "n", "e"]
    errors = show(results)
    assert kind in errors[0] and kind in errors[2] and errors[3] == "said"
    assert MARKER not in "".join(errors)


def test_an_error_record_is_no_note(extractor: Extractor) -> None:
    with pytest.raises(TypeError, match=r"^item 1 .*ErrorRecord.*extract_each"):
        list(extractor.extract_many([A, ErrorRecord("x", "unreadable")]))  # type: ignore[list-item]


class Frame:
    """Like a data frame, iterated over it gives its columns."""

    columns = ("id", "text")

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (A, "a single str: put it into a list"),
        (A.encode(), "a single bytes: put it into a list"),
        (Note("n", A), "a single Note: put it into a list"),
        (None, "not None"),
        (NAN, "not NaN"),
        (7, "type int"),
        ({"a": A}, "type dict: give the column"),
        (Frame(), "type Frame: give the column"),
        (Path("n.txt"), "type PosixPath"),
    ],
)
@pytest.mark.parametrize("method", ["extract_many", "extract_each"])
def test_one_where_many_are_wanted(
    extractor: Extractor, method: str, given: object, said: str
) -> None:
    """At the call, not when the results are wanted."""
    call: Callable[[object], object] = getattr(extractor, method)
    with pytest.raises(TypeError, match=rf"^{method} takes .*{said}") as refused:
        call(given)
    assert A not in str(refused.value)


def test_a_note_where_a_text_is_wanted(extractor: Extractor) -> None:
    with pytest.raises(TypeError, match="extract_many takes Notes"):
        extractor.extract(Note("n", A))  # type: ignore[arg-type]


def test_what_comes_before_is_extracted(extractor: Extractor) -> None:
    """The error comes in its turn."""
    documents = extractor.extract_many([A, B, None, A])  # type: ignore[list-item]
    assert show([next(documents), next(documents)]) == ["Nausea codeine", "Rash penicillin"]
    with pytest.raises(TypeError, match="item 2"):
        next(documents)
    with pytest.raises(StopIteration):
        next(documents)


def test_a_note_that_fails_does_so_in_its_turn(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = extractor.pipeline.prepare

    def failing(note: Note) -> object:
        if note.name == "3":
            raise LookupError("of the network")
        return prepare(note)

    monkeypatch.setattr(extractor.pipeline, "prepare", failing)
    documents = extractor.extract_many([A, B] * 5)
    assert [next(documents).note.name for _ in range(3)] == ["0", "1", "2"]
    with pytest.raises(LookupError):
        next(documents)


values = st.sampled_from([*TEXTS, *BAD.values(), ErrorRecord("e", "said")])
items = st.one_of(values, st.builds(Note, st.sampled_from("abc"), values))


@given(st.lists(items, max_size=6))
def test_a_result_for_each_item(extractor: Extractor, given: list[Any]) -> None:
    """extract_each loses nothing; extract_many stops at the first that is no note."""
    results = list(extractor.extract_each(given))
    assert len(results) == len(given)
    texts = [item.text if isinstance(item, Note) else item for item in given]
    good = [isinstance(text, str) for text in texts]
    assert [isinstance(result, Document) for result in results] == good
    for item, result in zip(given, results, strict=True):
        if isinstance(item, ErrorRecord):
            assert result is item
        assert not isinstance(result, ErrorRecord) or MARKER not in result.error
    stop = good.index(False) if False in good else len(good)
    found = []
    try:
        for document in extractor.extract_many(given):
            found.append(document)
    except TypeError as error:
        assert str(error).startswith(f"item {stop} ")
        assert MARKER not in str(error)
    else:
        assert stop == len(given)
    assert found == results[:stop]
