"""What of this machine a result depends on, in a line."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from emlb_runtime.batch import hardware
from emlb_runtime.batch.hardware import identify_machine
from emlb_runtime.inference.providers import PROVIDERS
from emlb_runtime.machine.info import Machine, read_machine

CPU, CUDA = PROVIDERS["cpu"], PROVIDERS["cuda"]


class Driver:
    """NVIDIA's, with one GPU; fails where it is told to."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    def cuInit(self, flags: int) -> int:
        return 100 if self.fails == "cuInit" else 0

    def cuDeviceGet(self, device: Any, number: int) -> int:
        device._obj.value = 7 + number
        return 100 if self.fails == "cuDeviceGet" else 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:
        assert (size, device.value) == (len(name), 7)
        name.value = b"NVIDIA H200"
        return 100 if self.fails == "cuDeviceGetName" else 0


def stand_on(monkeypatch: pytest.MonkeyPatch, instructions: tuple[str, ...] | None) -> None:
    machine = Machine("Linux", "x86_64", "Zeon", 2, 2**30, instructions)
    monkeypatch.setattr(hardware, "read_machine", lambda: machine)


def test_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    here = read_machine()
    assert identify_machine(CPU).startswith(f"{here.system} {here.architecture}")
    stand_on(monkeypatch, ("fma", "avx2"))
    assert identify_machine(CPU) == "Linux x86_64, fma avx2"
    stand_on(monkeypatch, None)  # as on a Mac
    assert identify_machine(CPU) == "Linux x86_64, Zeon"


@pytest.mark.parametrize("fails", ["", "cuInit", "cuDeviceGet", "cuDeviceGetName", "CDLL"])
def test_the_gpu(monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    def load(name: str) -> Driver:
        if fails == "CDLL":
            raise OSError
        return Driver(fails)

    monkeypatch.setattr(ctypes, "CDLL", load)
    stand_on(monkeypatch, ("fma",))
    gpu = "unknown GPU" if fails else "NVIDIA H200"
    assert identify_machine(CUDA) == f"Linux x86_64, fma, {gpu}"
    assert identify_machine(CPU) == "Linux x86_64, fma"
