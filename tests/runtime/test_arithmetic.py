"""8-bit products: sums that overflow a bad kernel, and the same sums of unsigned weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from emlb_runtime.errors import BackendError
from emlb_runtime.inference import arithmetic
from emlb_runtime.inference.arithmetic import (
    PRODUCTS,
    choose_products,
    self_test,
    unsigned,
    zero_of,
)


@pytest.fixture(autouse=True)
def forget() -> Any:
    """Self-tests run once per process; here they run for every test."""
    self_test.cache_clear()
    yield
    self_test.cache_clear()


class Saturating:
    """Products as ``vpmaddubsw`` computes them: pairs are added in 16 bits and cut."""

    def __init__(self, weights: np.ndarray) -> None:
        self._weights = weights.astype(np.int64)

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        products = inputs["levels"].astype(np.int64)[:, :, None] * self._weights
        rows, depth, columns = products.shape
        pairs = products.reshape(rows, depth // 2, 2, columns).sum(axis=2)
        return [np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1).astype(np.float32)]


def test_products_of_this_machine_are_exact_one_way_or_the_other() -> None:
    assert self_test("u8u8")
    assert choose_products() == ("u8s8" if self_test("u8s8") else "u8u8")


def test_a_kernel_that_cuts_sums_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real = arithmetic._session
    monkeypatch.setattr(
        arithmetic,
        "_session",
        lambda kind, weights: Saturating(weights) if kind == "u8s8" else real(kind, weights),
    )
    assert not self_test("u8s8")
    assert choose_products() == "u8u8"


def test_nothing_is_run_that_is_not_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "_session", lambda kind, weights: Saturating(weights))
    with pytest.raises(BackendError, match="self-test .* use --precision fp32"):
        choose_products()


@pytest.mark.parametrize("seed", range(5))
def test_random_sums_are_those_of_whole_numbers(seed: int) -> None:
    """Numbers that no self-test has, large ones among them, in every kind that passes."""
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (arithmetic.DEPTH, arithmetic.COLUMNS), dtype=np.int8)
    weights[rng.random(weights.shape) < 0.5] = rng.choice([-127, 127])
    for rows in (1, 2, 5, 16, 33):
        levels = rng.integers(128, 256, (rows, arithmetic.DEPTH), dtype=np.uint8)
        right = levels.astype(np.int64) @ weights.astype(np.int64)
        for kind in filter(self_test, PRODUCTS):
            sums = arithmetic._session(kind, weights).run(None, {"levels": levels})[0]
            np.testing.assert_array_equal(sums, right)


def test_unsigned_weights_stand_128_higher() -> None:
    weights = np.arange(-128, 128, dtype=np.int64).astype(np.int8)
    raised = unsigned(weights)
    assert raised.dtype == np.uint8
    np.testing.assert_array_equal(raised.astype(int) - 128, weights.astype(int))
    assert zero_of("u8u8") == 128 and zero_of("u8u8").dtype == np.uint8
    assert zero_of("u8s8") == 0 and zero_of("u8s8").dtype == np.int8
