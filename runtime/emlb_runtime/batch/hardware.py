"""What a result depends on beside the software: this machine's instruction sets, and its GPU.

Networks and decoder take the kernels that suit the processor. Those for other instruction sets
add floats in another order, so that the last digits of a score may differ.
"""

from __future__ import annotations

import ctypes
import sys

from emlb_runtime.inference.providers import PROVIDERS
from emlb_runtime.machine.info import read_machine

_ON_NVIDIA = (PROVIDERS["cuda"], PROVIDERS["tensorrt"])
_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_NAME_BYTES = 256


def identify_machine(provider: str) -> str:
    """This machine in a line: system, architecture, instruction sets; the GPU if that runs.

    Args:
        provider: ONNX Runtime's name of the one that runs.
    """
    machine = read_machine()
    known = machine.instructions
    sets = machine.processor or "unknown processor" if known is None else " ".join(known)
    parts = [f"{machine.system} {machine.architecture}", sets]
    if provider in _ON_NVIDIA:
        parts.append(_name_of_gpu())
    return ", ".join(filter(None, parts))


def _name_of_gpu() -> str:
    """The name of the GPU that ONNX Runtime takes, which is the driver's first."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return "unknown GPU"
    device = ctypes.c_int(0)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    if (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetName(name, _NAME_BYTES, device)
    ):
        return "unknown GPU"
    return name.value.decode("ascii", "replace")
