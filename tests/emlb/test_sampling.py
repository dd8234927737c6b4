"""Algorithm 1's draw of batches: one dataset each, shares as asked, repeatable."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emlb.training.sampling import EXPONENTS, DatasetSampler
from emlb.training.train import train
from tests.tiny import TinyRun

sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def make(counts: list[int], batch_size: int, sampling: str, seed: int = 1) -> DatasetSampler:
    datasets = [number for number, count in enumerate(counts) for _ in range(count)]
    lengths = [5 + (7 * index) % 11 for index in range(len(datasets))]
    return DatasetSampler(datasets, lengths, batch_size=batch_size, sampling=sampling, seed=seed)


@given(sizes, st.integers(1, 8), st.sampled_from(sorted(EXPONENTS)))
def test_a_batch_is_of_one_dataset(counts: list[int], batch_size: int, sampling: str) -> None:
    sampler = make(counts, batch_size, sampling)
    order = list(sampler)
    assert len(order) == len(sampler)
    datasets = [number for number, count in enumerate(counts) for _ in range(count)]
    for first in range(0, len(order), batch_size):
        assert len({datasets[i] for i in order[first : first + batch_size]}) == 1
    assert {datasets[i] for i in order} == set(range(len(counts)))
    whole = -(-sum(counts) // batch_size)
    assert whole <= len(order) // batch_size <= whole + len(counts)


def shares(counts: list[int], sampling: str) -> list[float]:
    order = list(make(counts, 2, sampling))
    datasets = [number for number, count in enumerate(counts) for _ in range(count)]
    seen = Counter(datasets[i] for i in order)
    return [seen[number] / len(order) for number in range(len(counts))]


def test_shares() -> None:
    assert shares([90, 10], "proportional") == pytest.approx([0.9, 0.1], abs=0.02)
    assert shares([90, 10], "square_root") == pytest.approx([0.75, 0.25], abs=0.02)
    assert shares([90, 10], "uniform") == pytest.approx([0.5, 0.5], abs=0.02)


def test_a_dataset_is_gone_through_before_it_repeats() -> None:
    seen = Counter(list(make([90, 10], 2, "uniform")))
    small = [seen[index] for index in range(90, 100)]
    assert min(small) == max(small) == 5
    assert max(seen[index] for index in range(90)) == 1


def test_proportional_sees_everything_once() -> None:
    assert sorted(make([32, 16], 4, "proportional")) == list(range(48))


def test_epochs_differ_and_repeat() -> None:
    one, other = make([20, 9], 4, "square_root"), make([20, 9], 4, "square_root")
    first = list(one)
    assert first == list(other)
    one.set_epoch(1)
    assert first != list(one)
    other.set_epoch(1)
    assert list(one) == list(other)


def test_training_draws_so(tiny_run: TinyRun, tmp_path: object) -> None:
    said: list[str] = []
    train(
        tiny_run.config,
        overrides=[
            f"output={tmp_path}",
            "training.sampling=uniform",
            "training.layer_decay=0.8",
            "training.epochs=4",
        ],
        say=said.append,
    )
    assert "score" in said[-1]
