"""Hidden states that stay on a device are cut as arrays are."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

from emlb_runtime.inference.device_tensor import HeldFloats


@pytest.fixture(params=[np.float32, np.float16])
def array(request: pytest.FixtureRequest) -> np.ndarray[Any, Any]:
    return np.arange(2 * 5 * 3, dtype=request.param).reshape(2, 5, 3)


@pytest.fixture
def held(array: np.ndarray[Any, Any]) -> HeldFloats:
    return HeldFloats(onnxruntime.OrtValue.ortvalue_from_numpy(array))


def test_whole(held: HeldFloats, array: np.ndarray[Any, Any]) -> None:
    assert (held.shape, held.dtype, held.ndim, len(held)) == ((2, 5, 3), array.dtype, 3, 2)
    np.testing.assert_array_equal(np.asarray(held), array)
    assert np.asarray(held, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize(("row", "length"), [(0, 5), (0, 2), (1, 5), (1, 1), (1, 99)])
def test_cut(held: HeldFloats, array: np.ndarray[Any, Any], row: int, length: int) -> None:
    part = held[row, :length]
    np.testing.assert_array_equal(np.asarray(part), array[row, :length])
    np.testing.assert_array_equal(np.asarray(part[None]), array[row, :length][None])
    assert part[None].shape == array[row, :length][None].shape
    assert part.pointer == held.pointer + row * 5 * 3 * array.dtype.itemsize


def test_what_is_not_contiguous_is_refused(held: HeldFloats) -> None:
    for key in ((0, slice(1, 3)), (0, slice(None, None, 2)), (2, slice(None)), (-1, slice(None))):
        with pytest.raises(IndexError):
            held[key]


def test_the_buffer_outlives_its_other_names(array: np.ndarray[Any, Any]) -> None:
    part = HeldFloats(onnxruntime.OrtValue.ortvalue_from_numpy(array))[1, :4]
    np.testing.assert_array_equal(np.asarray(part), array[1, :4])
