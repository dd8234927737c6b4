"""The fuzz targets on mutated seeds, for a bounded time in every run of the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import run
from tests.fuzz.checks import MARKER, check_record, collect
from tests.fuzz.extractor import make_target
from tests.fuzz.seeds import SEEDS, WORDS
from tests.fuzz.targets import TARGETS

every_target = pytest.mark.parametrize("name", TARGETS)


@st.composite
def mutations(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed after a few cuts, copies, and words or bytes put in."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        places = st.integers(0, len(data))
        start, end = sorted((draw(places), draw(places)))
        put = draw(st.sampled_from(WORDS) | st.binary(max_size=4) | st.just(data[start:end]))
        kind = draw(st.sampled_from(["insert", "replace", "cut"]))
        if kind == "insert":
            data = data[:start] + put + data[start:]
        elif kind == "replace":
            data = data[:start] + put + data[start + len(put) :]
        else:
            data = data[:start] + data[min(end, start + 9) :]
    return data


@every_target
def test_seeds(name: str) -> None:
    for seed in SEEDS[name]:
        TARGETS[name](seed)


@every_target
@given(data=st.data())
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
def test_mutated_seeds(name: str, data: st.DataObject) -> None:
    TARGETS[name](data.draw(mutations(SEEDS[name])))


@every_target
@given(data=st.binary(max_size=300))
@settings(max_examples=30)
def test_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.fixture(scope="module")
def extract(tiny_bundle: Path) -> Callable[[bytes], None]:
    return make_target(tiny_bundle)


@given(data=mutations(SEEDS[run.EXTRACTOR]))
@settings(max_examples=100, suppress_health_check=list(HealthCheck))
def test_the_extractor(extract: Callable[[bytes], None], data: bytes) -> None:
    extract(data)


def test_every_target_can_be_run() -> None:
    assert set(run.NAMES) == {*TARGETS, run.EXTRACTOR} == set(SEEDS)


def test_the_checks_see_a_leak() -> None:
    """A reader that quoted its input would be found out, through causes too."""
    from emlb_runtime.errors import DataError
    from emlb_runtime.records import ErrorRecord

    def leak() -> list[object]:
        try:
            raise ValueError(f"what is {MARKER}?")
        except ValueError as error:
            raise DataError("file.ann: cannot be read") from error

    with pytest.raises(AssertionError):
        collect(leak)
    with pytest.raises(AssertionError):
        check_record(ErrorRecord("n", f"bad: {MARKER}"))
