"""The BIO scheme: mentions to labels and back, and which label may follow which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb_runtime.schema.labels import OUTSIDE, LabelScheme, WordSpan

SCHEME = LabelScheme(("Drug", "Dose"))
MAX_TYPES = 4


@st.composite
def mentions(draw: st.DrawFn) -> tuple[LabelScheme, list[WordSpan], int]:
    """A scheme, disjoint mentions in order (some adjacent), and a number of words."""
    n_types = draw(st.integers(1, MAX_TYPES))
    spans, at = [], 0
    for gap, length, type in draw(
        st.lists(
            st.tuples(st.integers(0, 3), st.integers(1, 4), st.integers(0, n_types - 1)), max_size=8
        )
    ):
        spans.append((at + gap, at + gap + length, type))
        at += gap + length
    scheme = LabelScheme(tuple(f"T{index}" for index in range(n_types)))
    return scheme, spans, at + draw(st.integers(0, 3))


def is_legal(scheme: LabelScheme, labels: np.ndarray) -> bool:
    return len(labels) == 0 or bool(
        scheme.legal_start[labels[0]] and scheme.legal[labels[:-1], labels[1:]].all()
    )


def test_names_and_width() -> None:
    assert SCHEME.names == ("O", "B-Drug", "I-Drug", "B-Dose", "I-Dose")
    assert SCHEME.n_labels == 5
    assert SCHEME.names[OUTSIDE] == "O"
    assert LabelScheme(()).names == ("O",)


def test_legal_matrix_of_two_types() -> None:
    expected = [
        # O  B0 I0 B1 I1
        [1, 1, 0, 1, 0],  # O
        [1, 1, 1, 1, 0],  # B0
        [1, 1, 1, 1, 0],  # I0
        [1, 1, 0, 1, 1],  # B1
        [1, 1, 0, 1, 1],  # I1
    ]
    np.testing.assert_array_equal(SCHEME.legal, np.array(expected, dtype=bool))
    np.testing.assert_array_equal(SCHEME.legal_start, [True, True, False, True, False])


@pytest.mark.parametrize("n_types", range(MAX_TYPES + 1))
def test_only_an_inside_label_of_another_mention_is_illegal(n_types: int) -> None:
    scheme = LabelScheme(tuple(f"T{index}" for index in range(n_types)))
    for column, after in enumerate(scheme.names):
        assert scheme.legal_start[column] == (after[0] != "I")
        for row, before in enumerate(scheme.names):
            may = after[0] != "I" or before in (f"B{after[1:]}", after)
            assert scheme.legal[row, column] == may, (before, after)


@given(mentions())
def test_round_trip(case: tuple[LabelScheme, list[WordSpan], int]) -> None:
    scheme, spans, n_words = case
    labels = scheme.encode(spans, n_words)
    assert labels.shape == (n_words,)
    assert is_legal(scheme, labels)
    assert scheme.decode(labels) == spans
    assert scheme.decode(labels.tolist()) == spans
    assert (labels != OUTSIDE).sum() == sum(end - start for start, end, _ in spans)


@given(st.integers(1, MAX_TYPES), st.data())
def test_a_legal_sequence_is_its_mentions(n_types: int, data: st.DataObject) -> None:
    scheme = LabelScheme(tuple(f"T{index}" for index in range(n_types)))
    labels: list[int] = []
    for _ in range(data.draw(st.integers(0, 12))):
        legal = scheme.legal[labels[-1]] if labels else scheme.legal_start
        labels.append(data.draw(st.sampled_from(np.flatnonzero(legal).tolist())))
    again = scheme.encode(scheme.decode(labels), len(labels))
    assert again.tolist() == labels


def test_adjacent_mentions_of_one_type_stay_apart() -> None:
    spans = [(0, 2, 1), (2, 3, 1), (3, 5, 1)]
    assert SCHEME.encode(spans, 5).tolist() == [3, 4, 3, 3, 4]
    assert SCHEME.decode([3, 4, 3, 3, 4]) == spans


def test_encode_takes_mentions_in_any_order() -> None:
    assert SCHEME.encode([(3, 4, 0), (0, 2, 1)], 4).tolist() == [3, 4, 0, 1]


def test_decode_gives_plain_integers() -> None:
    (span,) = SCHEME.decode(np.array([0, 1, 2], dtype=np.int64))
    assert span == (1, 3, 0)
    assert {type(value) for value in span} == {int}


@pytest.mark.parametrize(
    "spans",
    [
        [(0, 2, 0), (1, 3, 1)],
        [(0, 4, 0), (1, 2, 0)],
        [(1, 2, 0), (1, 2, 0)],
        [(2, 2, 0)],
        [(3, 2, 0)],
        [(-1, 1, 0)],
        [(3, 5, 0)],
    ],
)
def test_encode_refuses_overlap_and_bad_ranges(spans: list[WordSpan]) -> None:
    with pytest.raises(ValueError, match="overlaps another or is out of range"):
        SCHEME.encode(spans, 4)


def test_nothing() -> None:
    assert SCHEME.encode([], 0).shape == (0,)
    assert SCHEME.encode([], 3).tolist() == [OUTSIDE] * 3
    assert SCHEME.decode([]) == []
