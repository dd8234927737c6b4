"""Mentions under a CRF, within what the layout allows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb_runtime.decoding.crf import Crf
from emlb_runtime.decoding.mentions import LEAST, bar, find_mentions
from emlb_runtime.schema.labels import LabelScheme, WordSpan
from emlb_runtime.text.layout import Layout

seeds = st.integers(0, 2**32 - 1)


def make_crf(rng: np.random.Generator, n_types: int) -> tuple[LabelScheme, Crf]:
    scheme = LabelScheme(tuple(f"T{index}" for index in range(n_types)))
    n = scheme.n_labels
    return scheme, Crf.constrained(
        scheme, rng.normal(0, 2, n), rng.normal(0, 2, n), rng.normal(0, 2, (n, n))
    )


def make_layout(rng: np.random.Generator, n_words: int) -> Layout:
    return Layout(
        apart=rng.random(n_words) < 0.2,
        ruled=rng.random(n_words) < 0.1,
        brackets=rng.choice([-1, 0, 0, 0, 1], n_words).astype(np.int64),
    )


def whole(quote: str) -> bool:
    """Whether each bracket has its partner, by taking pairs out."""
    brackets = "".join(character for character in quote if character in "()")
    while "()" in brackets:
        brackets = brackets.replace("()", "")
    return not brackets


@given(seeds, st.integers(1, 3), st.lists(st.integers(0, 25), min_size=1, max_size=5))
@settings(deadline=None, max_examples=100)
def test_no_mention_crosses_what_it_may_not(seed: int, n_types: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    scheme, crf = make_crf(rng, n_types)
    layouts = [make_layout(rng, length) for length in lengths]
    emissions = rng.normal(0, 3, (len(lengths), max(lengths), scheme.n_labels)).astype(np.float32)
    kept = emissions.copy()
    scored = find_mentions(crf, emissions, layouts)
    np.testing.assert_array_equal(emissions, kept)
    for row, (layout, found) in enumerate(zip(layouts, scored, strict=True)):
        quote = "".join(")x("[net + 1] for net in layout.brackets)
        for (start, end, _), probability in found:
            assert not layout.apart[start + 1 : end].any()
            assert not layout.ruled[start:end].any()
            assert whole(quote[start:end])
            assert LEAST < probability <= 1.0
        for ((_, end, _), _), ((start, _, _), _) in pairwise(found):
            assert end <= start
        # Alone, a window has the mentions that it has beside others.
        alone = emissions[row : row + 1, : lengths[row]]
        assert find_mentions(crf, alone, [layout]) == [found]


def allowed(layout: Layout, spans: Sequence[WordSpan]) -> bool:
    return not any(
        layout.apart[start + 1 : end].any() or layout.ruled[start:end].any()
        for start, end, _ in spans
    )


@pytest.mark.parametrize("seed", range(12))
def test_likely_among_the_paths_left(seed: int) -> None:
    """Brute force over every path, and every choice, of mentions that the layout allows."""
    rng = np.random.default_rng(seed)
    scheme, crf = make_crf(rng, 1)
    n_words = 7
    emissions = rng.normal(0, 1.5, (1, n_words, scheme.n_labels)).astype(np.float32)
    layout = Layout(rng.random(n_words) < 0.3, rng.random(n_words) < 0.2, np.zeros(n_words, int))
    weights: dict[tuple[WordSpan, ...], float] = {}
    for path in product(range(scheme.n_labels), repeat=n_words):
        legal = scheme.legal_start[path[0]] and scheme.legal[path[:-1], path[1:]].all()
        spans = tuple(scheme.decode(path))
        if legal and allowed(layout, spans):
            score = float(crf.start[path[0]] + crf.end[path[-1]])
            score += sum(float(emissions[0, word, label]) for word, label in enumerate(path))
            score += float(crf.transitions[path[:-1], path[1:]].sum())
            weights[spans] = float(np.exp(score))
    likely: defaultdict[WordSpan, float] = defaultdict(float)
    for spans, weight in weights.items():
        for span in spans:
            likely[span] += weight / sum(weights.values())
    best = max(weights, key=lambda spans: sum(likely[span] - LEAST for span in spans))
    (found,) = find_mentions(crf, emissions, [layout])
    assert [span for span, _ in found] == list(best)
    for span, probability in found:
        assert probability == pytest.approx(likely[span], abs=1e-6)


def test_no_windows_and_no_words() -> None:
    none = np.zeros((0, 0, 3), dtype=np.float32)
    assert find_mentions(CRF, none, []) == []
    empty = np.zeros((2, 0, 3), dtype=np.float32)
    assert find_mentions(CRF, empty, [Layout.plain(0)] * 2) == [[], []]


SCHEME = LabelScheme(("X",))
CRF = Crf.constrained(SCHEME, np.zeros(3), np.zeros(3), np.zeros((3, 3)))


def eager(quote: str, opening: str = "") -> list[str]:
    """Mentions where every word would be in one, and those of ``opening`` would begin one."""
    words = quote.split()
    emissions = np.tile(np.array([0.0, 5.0, 9.0], dtype=np.float32), (1, len(words), 1))
    for word in opening.split():
        emissions[0, words.index(word), 1] = 19.0
    net = np.array([word.count("(") - word.count(")") for word in words], dtype=np.int64)
    layout = Layout(np.zeros(len(words), bool), np.zeros(len(words), bool), net)
    (found,) = find_mentions(CRF, emissions, [layout])
    return [" ".join(words[start:end]) for (start, end, _), _ in found]


def test_torn_brackets() -> None:
    assert eager("interferon ( IFN ) beta") == ["interferon ( IFN ) beta"]
    assert eager("interferon ( IFN ) beta", "beta") == ["interferon ( IFN )", "beta"]
    assert eager("interferon ( IFN ) beta", "IFN") == ["interferon", "IFN", "beta"]
    assert eager("( a b") == ["a b"]
    assert eager("a b )") == ["a b"]
    assert eager("a ) b ( c") == ["a", "b", "c"]
    assert eager("(( a ) b )") == ["(( a ) b )"]
    assert eager("(( a ) b") == ["a", "b"]


def test_barred_labels_have_no_probability() -> None:
    emissions = np.zeros((3, 3), dtype=np.float32)
    layout = Layout(np.array([0, 1, 0], bool), np.array([0, 0, 1], bool), np.zeros(3, int))
    barred = bar(emissions, layout)
    assert not emissions.any()
    (lattice,) = CRF.lattices(barred[None], [3])
    assert (lattice.marginals() > 0).tolist() == [[1, 1, 0], [1, 1, 0], [1, 0, 0]]
