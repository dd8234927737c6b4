"""The lattice CRF against pytorch-crf and against sums over all paths."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchcrf import CRF

from emlb.model.crf import LatticeCrf
from emlb_runtime.decoding.crf import FORBIDDEN, Crf
from emlb_runtime.schema.labels import LabelScheme

SCHEME = LabelScheme(("Disorder", "Drug"))
E = SCHEME.n_labels


@pytest.fixture
def crf() -> LatticeCrf:
    torch.manual_seed(5)
    made = LatticeCrf(SCHEME)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def plain(crf: LatticeCrf) -> CRF:
    """pytorch-crf itself with the same scores, illegal ones switched off."""
    made = CRF(E, batch_first=True)
    with torch.no_grad():
        made.start_transitions.copy_(crf.start_transitions)
        made.start_transitions[~torch.from_numpy(SCHEME.legal_start)] = FORBIDDEN
        made.end_transitions.copy_(crf.end_transitions)
        made.transitions.copy_(crf.transitions)
        made.transitions[~torch.from_numpy(SCHEME.legal)] = FORBIDDEN
    return made


def legal_path(rng: np.random.Generator, length: int) -> list[int]:
    """Labels drawn one after the other among those that may follow."""
    path = [int(rng.choice(np.flatnonzero(SCHEME.legal_start)))]
    while len(path) < length:
        path.append(int(rng.choice(np.flatnonzero(SCHEME.legal[path[-1]]))))
    return path


def masked_paths(rng: np.random.Generator, rows: int, words: int) -> tuple[Tensor, Tensor]:
    """Legal labels (B, W), zero where the mask (B, W) is false; one row fills all words."""
    tags, mask = torch.zeros(rows, words, dtype=torch.long), torch.zeros(rows, words).bool()
    for row in range(rows):
        length = words if row == 0 else int(rng.integers(1, words + 1))
        tags[row, :length] = torch.tensor(legal_path(rng, length))
        mask[row, :length] = True
    return tags, mask


def one_hot(tags: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(tags, E).bool()


def test_loss_is_that_of_pytorch_crf_where_everything_is_annotated(crf: LatticeCrf) -> None:
    reference, rng = plain(crf), np.random.default_rng(1)
    for words in (1, 2, 3, 7, 12, 40):
        for rows in (1, 5):
            tags, mask = masked_paths(rng, rows, words)
            emissions = torch.randn(rows, words, E) * 3
            loss = crf.loss(emissions, mask, one_hot(tags))
            expected = -reference(emissions, tags, mask, reduction="none")
            torch.testing.assert_close(loss, expected, atol=1e-3, rtol=1e-4)


def test_padding_does_not_count(crf: LatticeCrf) -> None:
    tags, mask = masked_paths(np.random.default_rng(2), 4, 9)
    emissions, possible = torch.randn(4, 9, E), one_hot(tags)
    other, others = emissions.clone(), possible.clone()
    other[~mask], others[~mask] = 50.0, True
    torch.testing.assert_close(
        crf.loss(emissions, mask, possible), crf.loss(other, mask, others), atol=1e-5, rtol=0.0
    )
    alone = [
        crf.loss(emissions[i : i + 1, :n], mask[i : i + 1, :n], possible[i : i + 1, :n])
        for i, n in enumerate(mask.sum(dim=1).tolist())
    ]
    torch.testing.assert_close(
        crf.loss(emissions, mask, possible), torch.cat(alone), atol=1e-5, rtol=1e-5
    )


def brute_force(crf: LatticeCrf, emissions: Tensor, possible: Tensor) -> float:
    """Minus the log of the share that agreeing paths have among all legal ones; (W, E) each."""
    start, end, steps = (
        values.detach().double().numpy()
        for values in (crf.start_transitions, crf.end_transitions, crf.transitions)
    )
    scores, agrees = emissions.double().numpy(), possible.numpy()
    total, agreeing = -np.inf, -np.inf
    for path in product(range(E), repeat=len(scores)):
        if not SCHEME.legal_start[path[0]]:
            continue
        if not all(SCHEME.legal[a, b] for a, b in zip(path, path[1:], strict=False)):
            continue
        weight = start[path[0]] + end[path[-1]] + sum(scores[t, y] for t, y in enumerate(path))
        weight += sum(steps[a, b] for a, b in zip(path, path[1:], strict=False))
        total = np.logaddexp(total, weight)
        if all(agrees[t, y] for t, y in enumerate(path)):
            agreeing = np.logaddexp(agreeing, weight)
    return float(total - agreeing)


@pytest.mark.parametrize("words", [1, 2, 3, 4])
def test_lattice_sums_over_every_agreeing_path(crf: LatticeCrf, words: int) -> None:
    rng = np.random.default_rng(words)
    emissions = torch.randn(12, words, E) * 2
    paths = torch.tensor([legal_path(rng, words) for _ in range(12)])
    possible = one_hot(paths) | torch.from_numpy(rng.random((12, words, E)) < 0.4)
    losses = crf.loss(emissions, torch.ones(12, words).bool(), possible)
    expected = [brute_force(crf, *row) for row in zip(emissions, possible, strict=True)]
    torch.testing.assert_close(losses, torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_nothing_is_lost_where_everything_is_possible(crf: LatticeCrf) -> None:
    _, mask = masked_paths(np.random.default_rng(3), 6, 20)
    loss = crf.loss(torch.randn(6, 20, E), mask, torch.ones(6, 20, E).bool())
    torch.testing.assert_close(loss, torch.zeros(6), atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_gradients_stay_finite(crf: LatticeCrf, scale: float) -> None:
    rng = np.random.default_rng(4)
    tags, mask = masked_paths(rng, 6, 60)
    possible = one_hot(tags) | torch.from_numpy(rng.random((6, 60, E)) < 0.2)
    emissions = (torch.randn(6, 60, E) * scale).requires_grad_()
    loss = crf.loss(emissions, mask, possible)
    torch.autograd.backward(loss.sum())
    assert loss.isfinite().all() and (loss > -1e-3 * scale).all()
    for tensor in (emissions, *crf.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all()
    assert emissions.grad is not None and emissions.grad[mask].abs().sum() > 0
    assert emissions.grad[~mask].abs().sum() == 0


def test_descending_teaches_the_annotated_path(crf: LatticeCrf) -> None:
    tags, mask = masked_paths(np.random.default_rng(6), 3, 8)
    emissions = torch.zeros(3, 8, E, requires_grad=True)
    optimizer = torch.optim.Adam([emissions], lr=0.5)
    for _ in range(40):
        optimizer.zero_grad()
        torch.autograd.backward(crf.loss(emissions, mask, one_hot(tags)).sum())
        optimizer.step()
    decoded = crf.deployed().viterbi(emissions.detach().numpy(), mask.sum(dim=1).tolist())
    assert [path.tolist() for path in decoded] == [
        row[kept].tolist() for row, kept in zip(tags, mask, strict=True)
    ]


def is_legal(path: NDArray[np.int64]) -> bool:
    return bool(SCHEME.legal_start[path[0]] and SCHEME.legal[path[:-1], path[1:]].all())


def test_deployed_decoder_is_that_of_pytorch_crf_on_a_thousand_inputs(crf: LatticeCrf) -> None:
    reference, deployed = plain(crf), crf.deployed()
    rng = np.random.default_rng(7)
    for _ in range(50):
        _, mask = masked_paths(rng, 20, int(rng.integers(1, 16)))
        emissions = torch.randn(*mask.shape, E) * 2
        found = deployed.viterbi(emissions.numpy(), mask.sum(dim=1).tolist())
        assert [path.tolist() for path in found] == reference.decode(emissions, mask)


def test_illegal_transitions_are_never_decoded(crf: LatticeCrf) -> None:
    emissions = np.random.default_rng(8).normal(size=(100, 12, E)).astype(np.float32)
    emissions[:, :, 2::2] += 40.0  # every word would rather be inside a mention
    with torch.no_grad():
        crf.transitions[0, 2::2] = crf.transitions[1, 4] = 60.0  # and learned to like it
        crf.start_transitions[2::2] = 60.0
    assert all(is_legal(path) for path in crf.deployed().viterbi(emissions, [12] * 100))


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_marginals_are_those_of_the_runtime(crf: LatticeCrf, temperature: float) -> None:
    rng = np.random.default_rng(7)
    emissions = torch.from_numpy(rng.normal(size=(4, 6, E)).astype(np.float32))
    lengths = [6, 1, 3, 5]
    mask = torch.tensor([[word < length for word in range(6)] for length in lengths])
    found = crf.log_marginals(emissions, mask, temperature=temperature).exp().detach().numpy()
    own = crf.deployed()
    cooled = Crf(own.start / temperature, own.end / temperature, own.transitions / temperature)
    lattices = cooled.lattices(emissions.numpy() / temperature, lengths)
    for row, (length, lattice) in enumerate(zip(lengths, lattices, strict=True)):
        assert found[row, :length] == pytest.approx(lattice.marginals(), abs=1e-5)
        assert found[row, :length].sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_marginals_are_the_gradient_of_the_partition(crf: LatticeCrf) -> None:
    emissions = torch.randn(2, 5, E, requires_grad=True)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    total = crf._log_partition(emissions, mask).sum()
    (gradient,) = torch.autograd.grad(total, emissions)
    marginals = crf.log_marginals(emissions, mask).exp()
    assert torch.allclose(gradient[mask], marginals[mask], atol=1e-5)
    logs = crf.log_marginals(emissions, mask)
    (slope,) = torch.autograd.grad(logs[mask].clamp_min(-30).sum(), emissions)
    assert torch.isfinite(slope).all()
