"""The numpy CRF against brute force over all paths and against pytorch-crf."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emlb_runtime.decoding.crf import FORBIDDEN, Crf, Lattice
from emlb_runtime.schema.labels import LabelScheme, WordSpan

Floats = NDArray[np.floating[Any]]
seeds = st.integers(0, 2**32 - 1)


def make_crf(rng: np.random.Generator, n_types: int) -> tuple[LabelScheme, Crf]:
    scheme = LabelScheme(tuple(f"T{index}" for index in range(n_types)))
    n = scheme.n_labels
    crf = Crf.constrained(
        scheme, rng.normal(0, 2, n), rng.normal(0, 2, n), rng.normal(0, 2, (n, n))
    )
    return scheme, crf


def make_emissions(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.normal(0, 2, shape).astype(np.float32)


def path_score(crf: Crf, emissions: Floats, path: Any) -> float:
    score = float(crf.start[path[0]]) + float(crf.end[path[-1]])
    score += sum(float(emissions[word, label]) for word, label in enumerate(path))
    return score + sum(float(crf.transitions[a, b]) for a, b in pairwise(path))


def all_paths(crf: Crf, emissions: Floats) -> tuple[list[tuple[int, ...]], NDArray[np.float64]]:
    """Every path over (T, E) emissions, and the natural logarithm of its weight."""
    paths = list(product(range(emissions.shape[1]), repeat=len(emissions)))
    return paths, np.array([path_score(crf, emissions, path) for path in paths])


def span_probability(lattice: Lattice, span: WordSpan) -> float:
    """How probable exactly this mention is, however improbable."""
    return dict(lattice.likely_spans(1e-15)).get(span, 0.0)


small_cases = [(n_types, n) for n_types, longest in ((1, 6), (2, 4)) for n in range(1, longest + 1)]


@pytest.mark.parametrize(("n_types", "n_words"), small_cases)
def test_brute_force(n_types: int, n_words: int) -> None:
    """Best path, partition, label marginals and every span's probability."""
    for seed in range(5):
        rng = np.random.default_rng([seed, n_types, n_words])
        scheme, crf = make_crf(rng, n_types)
        emissions = make_emissions(rng, n_words, scheme.n_labels)
        paths, scores = all_paths(crf, emissions)
        total = np.logaddexp.reduce(scores)
        weights = np.exp(scores - total)

        (best,) = crf.viterbi(emissions[None], [n_words])
        assert tuple(best) == paths[int(scores.argmax())]

        (lattice,) = crf.lattices(emissions[None], [n_words])
        assert lattice.log_partition == pytest.approx(total, abs=1e-9)
        marginals = np.zeros((n_words, scheme.n_labels))
        spans = dict.fromkeys(
            (
                (start, end, type)
                for start in range(n_words)
                for end in range(start + 1, n_words + 1)
                for type in range(n_types)
            ),
            0.0,
        )
        for path, weight in zip(paths, weights, strict=True):
            marginals[range(n_words), path] += weight
            if weight > 0.0:  # an illegal path has none; its mentions mean nothing
                for span in scheme.decode(path):
                    spans[span] += weight
        np.testing.assert_allclose(lattice.marginals(), marginals, atol=1e-9)
        for span, probability in spans.items():
            assert span_probability(lattice, span) == pytest.approx(probability, abs=1e-9)
        for least in (0.05, 0.3, 0.6):
            likely = {span: p for span, p in spans.items() if p > least}
            found = dict(lattice.likely_spans(least))
            assert found == {span: pytest.approx(p, abs=1e-9) for span, p in likely.items()}


def test_pytorch_crf_on_a_thousand_inputs() -> None:
    """Same paths and same likelihoods in padded batches of 40."""
    torch = pytest.importorskip("torch", reason="torch comes with the train extra")
    torchcrf = pytest.importorskip("torchcrf", reason="pytorch-crf comes with the train extra")
    for batch in range(25):
        rng = np.random.default_rng(batch)
        scheme, crf = make_crf(rng, int(rng.integers(1, 5)))
        lengths = rng.integers(1, 25, 40)
        emissions = make_emissions(rng, 40, int(lengths.max()), scheme.n_labels)
        theirs = torchcrf.CRF(scheme.n_labels, batch_first=True)
        with torch.no_grad():
            theirs.start_transitions.copy_(torch.from_numpy(crf.start))
            theirs.end_transitions.copy_(torch.from_numpy(crf.end))
            theirs.transitions.copy_(torch.from_numpy(crf.transitions))
            scores = torch.from_numpy(emissions)
            mask = torch.arange(emissions.shape[1])[None] < torch.from_numpy(lengths)[:, None]
            expected = theirs.decode(scores, mask)
            paths = crf.viterbi(emissions, lengths.tolist())
            labels = torch.zeros(mask.shape, dtype=torch.long)
            for row, path in enumerate(paths):
                labels[row, : len(path)] = torch.from_numpy(path)
            likelihoods = theirs(scores, labels, mask, reduction="none").tolist()
        for row, lattice in enumerate(crf.lattices(emissions, lengths.tolist())):
            assert paths[row].tolist() == expected[row]
            ours = path_score(crf, emissions[row], paths[row]) - lattice.log_partition
            assert ours == pytest.approx(likelihoods[row], abs=2e-4)


@given(seeds, st.integers(1, 4), st.lists(st.integers(1, 30), min_size=1, max_size=5))
@settings(deadline=None, max_examples=50)
def test_probabilities_are_consistent(seed: int, n_types: int, lengths: list[int]) -> None:
    rng = np.random.default_rng(seed)
    scheme, crf = make_crf(rng, n_types)
    emissions = make_emissions(rng, len(lengths), max(lengths), scheme.n_labels)
    paths = crf.viterbi(emissions, lengths)
    lattices = crf.lattices(emissions, lengths)
    for path, lattice, length in zip(paths, lattices, lengths, strict=True):
        assert len(path) == length
        assert scheme.legal_start[path[0]] and scheme.legal[path[:-1], path[1:]].all()
        marginals = lattice.marginals()
        assert marginals.shape == (length, scheme.n_labels)
        np.testing.assert_allclose(marginals.sum(axis=1), 1.0, atol=1e-9)
        assert (marginals[0, ~scheme.legal_start] == 0.0).all()
        # A mention that begins somewhere ends somewhere.
        start, type = int(rng.integers(length)), int(rng.integers(n_types))
        ends = range(start + 1, length + 1)
        somewhere = sum(span_probability(lattice, (start, end, type)) for end in ends)
        assert somewhere == pytest.approx(marginals[start, 1 + 2 * type], abs=1e-9)
        for span in scheme.decode(path):
            assert 0.0 < span_probability(lattice, span) <= 1.0


@given(seeds, st.lists(st.integers(1, 20), min_size=1, max_size=6), st.sampled_from([0, 1, 9]))
@settings(deadline=None, max_examples=50)
def test_neighbours_and_padding_change_nothing(seed: int, lengths: list[int], padding: int) -> None:
    """To the last bit: a note's result may not depend on the notes beside it."""
    rng = np.random.default_rng(seed)
    scheme, crf = make_crf(rng, 3)
    n_steps = max(lengths) + padding
    emissions = 100 * make_emissions(rng, len(lengths), n_steps, scheme.n_labels)
    paths = crf.viterbi(emissions, lengths)
    lattices = crf.lattices(emissions, lengths)
    for row, length in enumerate(lengths):
        alone = emissions[row : row + 1, :length]
        np.testing.assert_array_equal(paths[row], crf.viterbi(alone, [length])[0])
        (lattice,) = crf.lattices(alone, [length])
        np.testing.assert_array_equal(lattices[row].marginals(), lattice.marginals())
        for span in scheme.decode(paths[row]):
            assert span_probability(lattices[row], span) == span_probability(lattice, span)


@pytest.mark.parametrize("n_types", [1, 10, 40])
def test_a_row_is_the_same_in_a_large_batch(n_types: int) -> None:
    rng = np.random.default_rng(n_types)
    scheme, crf = make_crf(rng, n_types)
    emissions = make_emissions(rng, 64, 20, scheme.n_labels)
    together = crf.lattices(emissions, [20] * 64)
    for n_rows in (1, 2, 5, 17):
        few = crf.lattices(emissions[:n_rows], [20] * n_rows)
        for here, there in zip(few, together[:n_rows], strict=True):
            np.testing.assert_array_equal(here.marginals(), there.marginals())


def test_rows_without_words() -> None:
    scheme, crf = make_crf(np.random.default_rng(0), 2)
    emissions = make_emissions(np.random.default_rng(1), 3, 4, scheme.n_labels)
    assert [len(path) for path in crf.viterbi(emissions, [0, 4, 0])] == [0, 4, 0]
    assert [len(path) for path in crf.viterbi(emissions[:, :0], [0, 0, 0])] == [0, 0, 0]
    assert crf.viterbi(emissions[:0], []) == []


def test_constraints_overrule_emissions() -> None:
    """Every word asks for I-X; the first may only begin or be outside."""
    scheme = LabelScheme(("X",))
    crf = Crf.constrained(scheme, np.zeros(3), np.zeros(3), np.zeros((3, 3)))
    emissions = np.tile(np.array([0.0, -1.0, 9.0], dtype=np.float32), (1, 4, 1))
    assert crf.viterbi(emissions, [4])[0].tolist() == [1, 2, 2, 2]
    assert crf.viterbi(emissions, [1])[0].tolist() == [0]
    (lattice,) = crf.lattices(emissions, [4])
    assert span_probability(lattice, (0, 4, 0)) > 0.99


def test_large_scores_neither_overflow_nor_vanish() -> None:
    scheme = LabelScheme(("X", "Y"))
    crf = Crf.constrained(scheme, np.zeros(5), np.zeros(5), np.zeros((5, 5)))
    emissions = np.zeros((1, 50, 5), dtype=np.float32)
    emissions[0, :, 0] = 500.0
    emissions[0, 20, 1] = emissions[0, 21, 2] = 1000.0
    (path,) = crf.viterbi(emissions, [50])
    assert scheme.decode(path) == [(20, 22, 0)]
    (lattice,) = crf.lattices(emissions, [50])
    assert span_probability(lattice, (20, 22, 0)) == pytest.approx(1.0)
    assert span_probability(lattice, (20, 21, 0)) == pytest.approx(0.0)
    assert dict(lattice.likely_spans(0.5)) == {(20, 22, 0): pytest.approx(1.0)}
    assert np.isfinite(lattice.marginals()).all()


def test_constrained_scores() -> None:
    scheme = LabelScheme(("X",))
    crf = Crf.constrained(scheme, np.arange(3.0), np.arange(3.0), np.arange(9.0).reshape(3, 3))
    np.testing.assert_array_equal(crf.start, [0, 1, FORBIDDEN])
    np.testing.assert_array_equal(crf.end, [0, 1, 2])
    np.testing.assert_array_equal(crf.transitions, [[0, 1, FORBIDDEN], [3, 4, 5], [6, 7, 8]])
    assert {crf.start.dtype, crf.end.dtype, crf.transitions.dtype} == {np.dtype(np.float32)}
    assert np.exp(np.float32(FORBIDDEN)) == 0.0


@pytest.mark.parametrize(
    "shapes", [((5,), (3,), (3, 3)), ((3,), (5,), (3, 3)), ((3,), (3,), (3, 5))]
)
def test_scores_of_another_scheme(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="for a scheme of 3"):
        Crf.constrained(LabelScheme(("X",)), *(np.zeros(shape) for shape in shapes))
