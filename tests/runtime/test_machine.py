"""What a machine is, read from what systems say of themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emlb_runtime.machine import info as machine
from emlb_runtime.machine.cgroups import Limits
from emlb_runtime.machine.info import (
    available_cores,
    available_memory,
    parse_instructions,
    parse_processor,
    parse_sysctl,
    read_machine,
    requested_threads,
)

XEON = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu sse4_2 fma avx2 avx512f avx512_bf16 avx512_vnni amx_bf16 amx_int8
bugs\t\t: spectre_v1
"""
HASWELL = (
    "processor\t: 0\nmodel name\t: Intel(R) Core(TM) i5-4570\nflags\t\t: fpu fma sse4_2 avx2\n"
)
GRAVITON = (
    "processor\t: 0\nBogoMIPS\t: 243.75\n"
    "Features\t: fp asimd crc32 asimdhp asimddp sve bf16 i8mm\nCPU part\t: 0xd40\n"
)


def test_linux_on_x86() -> None:
    assert parse_processor(XEON) == "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz"
    assert parse_instructions(XEON) == (
        *("sse4_2", "fma", "avx2", "avx512f", "avx512_vnni"),
        *("avx512_bf16", "amx_bf16", "amx_int8"),
    )


def test_linux_on_arm() -> None:
    assert parse_processor(GRAVITON) == ""
    assert parse_instructions(GRAVITON) == ("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve")


@pytest.mark.parametrize("text", ["", "processor\t: 0\n", "flags\t\t:\n"])
def test_a_system_that_says_nothing(text: str) -> None:
    assert parse_instructions(text) is None


def test_macos() -> None:
    said = "hw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 0\nkern.x: 1\n"
    assert parse_sysctl(said) == ("asimddp",)


@pytest.mark.parametrize(
    ("cpus", "cores"), [(None, 64), (2.0, 2), (1.5, 2), (0.1, 1), (64.0, 64), (100.0, 64)]
)
def test_a_containers_quota(
    monkeypatch: pytest.MonkeyPatch, cpus: float | None, cores: int
) -> None:
    monkeypatch.setattr(machine, "read_limits", lambda: Limits(cpus=cpus))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert available_cores() == cores


def test_a_containers_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "read_limits", Limits)
    whole = available_memory()
    for limit, memory in ((1 << 20, 1 << 20), (2**63 - 4096, whole)):
        monkeypatch.setattr(machine, "read_limits", lambda limit=limit: Limits(memory=limit))
        assert available_memory() == memory


@pytest.mark.parametrize(
    ("value", "threads"),
    [("3", 3), (" 4 ", 4), ("2,4", 2), ("", None), ("0", None), ("-1", None), ("many", None)],
)
def test_omp_num_threads(monkeypatch: pytest.MonkeyPatch, value: str, threads: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert requested_threads() == threads
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert requested_threads() is None


def test_a_large_machine_is_read_as_far_as_its_first_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(XEON + HASWELL * 10_000, encoding="ascii")
    monkeypatch.setattr(machine, "_CPUINFO", tmp_path / "cpuinfo")
    found = read_machine()
    assert "8481C" in found.processor
    assert found.instructions is not None and "amx_int8" in found.instructions


def test_this_machine() -> None:
    here = read_machine()
    assert here.cores >= 1
    assert here.system and here.architecture
    assert here.instructions is None or here.instructions == tuple(dict.fromkeys(here.instructions))
