"""What this machine is: cores, memory and instruction sets, read without further dependencies."""

from __future__ import annotations

import math
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from .cgroups import read_limits

_CPUINFO = Path("/proc/cpuinfo")
_CPUINFO_BYTES = 16_384  # the first processor: the file of a large machine takes long to read

# As Linux calls them, in the order in which they came.
_SHOWN = (
    *("sse4_2", "fma", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16"),
    *("amx_bf16", "amx_int8", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2"),
)

# Of Arm only: on x86, neither macOS nor Windows says whether there is VNNI.
_SYSCTL = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_BF16": "bf16",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
}
_WINDOWS_ARM = {19: "asimd", 43: "asimddp"}

BF16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
"""Each multiplies bf16 numbers and adds the products up in fp32; one is enough."""


@dataclass(frozen=True)
class Machine:
    """The machine, as far as it decides how fast and how exactly a model runs.

    Attributes:
        system: ``Linux``, ``Darwin`` or ``Windows``.
        architecture: such as ``x86_64``.
        processor: its name; empty if unknown.
        cores: that this process may use.
        memory: bytes that this process may use; 0 if unknown.
        instructions: sets that matter here, by Linux's names; None if they cannot be read.
    """

    system: str
    architecture: str
    processor: str
    cores: int
    memory: int
    instructions: tuple[str, ...] | None


def read_machine() -> Machine:
    """This machine."""
    cpuinfo = _read(_CPUINFO, _CPUINFO_BYTES)
    architecture = platform.machine()
    instructions = parse_instructions(cpuinfo) if cpuinfo else _ask_system(architecture)
    return Machine(
        system=platform.system(),
        architecture=architecture,
        # Elsewhere than on Linux; there it would start a process.
        processor=parse_processor(cpuinfo) if cpuinfo else platform.processor(),
        cores=available_cores(),
        memory=available_memory(),
        instructions=instructions,
    )


def parse_instructions(cpuinfo: str) -> tuple[str, ...] | None:
    """The instruction sets of Linux's ``/proc/cpuinfo``; None if it names none."""
    for key in ("flags", "Features"):  # of x86 and of Arm
        if value := _value(cpuinfo, key):
            there = set(value.split())
            return tuple(name for name in _SHOWN if name in there)
    return None


def parse_processor(cpuinfo: str) -> str:
    """The processor's name in Linux's ``/proc/cpuinfo``; empty where it has none."""
    return _value(cpuinfo, "model name")


def available_cores() -> int:
    """Cores this process may use: its affinity, and the quota of its control groups if less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpus = read_limits().cpus
    return max(1, min(cores or 1, cores or 1 if cpus is None else math.ceil(cpus)))


def requested_threads() -> int | None:
    """What ``OMP_NUM_THREADS`` asks for; None if it is not set or no number.

    Ray, Spark and joblib set it in their workers, and batch systems in jobs, to what each may
    use. Of a list, one number per level of nesting, the first counts.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def available_memory() -> int:
    """Bytes of memory, the limits of the process's control groups counted; 0 if unknown."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
    limit = read_limits().memory
    return memory if limit is None else min(memory, limit)


def _ask_system(architecture: str) -> tuple[str, ...] | None:
    if "arm" not in architecture.lower():
        return None
    if sys.platform == "darwin":
        return _ask_sysctl()
    if sys.platform == "win32":
        import ctypes

        present = ctypes.windll.kernel32.IsProcessorFeaturePresent
        return tuple(name for number, name in _WINDOWS_ARM.items() if present(number))
    return None


def _ask_sysctl() -> tuple[str, ...] | None:
    import subprocess

    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-a"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return parse_sysctl(done.stdout)


def parse_sysctl(text: str) -> tuple[str, ...]:
    """The instruction sets that macOS's ``sysctl -a`` tells of."""
    pairs = (line.partition(":") for line in text.splitlines())
    values = {key.strip(): value.strip() for key, _, value in pairs}
    found = {name for key, name in _SYSCTL.items() if values.get(key) == "1"}
    return tuple(name for name in _SHOWN if name in found)


def _value(cpuinfo: str, key: str) -> str:
    for line in cpuinfo.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return ""


def _read(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            return file.read(size).decode("utf-8", errors="replace")
    except OSError:
        return ""
