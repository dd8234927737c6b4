"""Linux control groups: how much processor and memory a container or a job may use.

A quota of any group above the process counts, so the tightest of them is the limit. See
``cgroups(7)``; version 1 has a hierarchy per controller, version 2 one for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_CPU, _MEMORY = "cpu", "memory"
_UNIFIED = ""  # what /proc/self/cgroup calls version 2

# Where groups lie if nothing says where they are mounted.
_USUAL = {_UNIFIED: ("",), _CPU: ("cpu", "cpu,cpuacct"), _MEMORY: ("memory",)}
_ESCAPED = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Limits:
    """What the groups of a process allow; None is no limit.

    Attributes:
        cpus: processors' worth of time, such as 1.5.
        memory: bytes.
    """

    cpus: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class _Mount:
    """A hierarchy in the file system.

    Attributes:
        controllers: that it may limit.
        root: the group that is shown at ``point``.
        point: a folder.
    """

    controllers: frozenset[str]
    root: str
    point: str


def read_limits(root: Path = Path("/")) -> Limits:
    """The limits of this process.

    Args:
        root: where ``proc`` and ``sys`` are.
    """
    groups = _parse_groups(_read(root / "proc/self/cgroup"))
    mounts = _parse_mounts(_read(root / "proc/self/mountinfo"))
    cpus: list[float] = []
    memory: list[int] = []
    for folder in _folders(root, _UNIFIED, groups, mounts):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        cpus += _quota(quota, period)
        memory += _numbers(_read(folder / "memory.max"))
    for folder in _folders(root, _CPU, groups, mounts):
        quota, period = (_read(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        cpus += _quota(quota, period)
    for folder in _folders(root, _MEMORY, groups, mounts):
        memory += _numbers(_read(folder / "memory.limit_in_bytes"))
    return Limits(min(cpus, default=None), min(memory, default=None))


def _folders(
    root: Path, controller: str, groups: dict[str, str], mounts: list[_Mount]
) -> Iterator[Path]:
    """The folders of the process's group and of all groups above it that can be seen."""
    for usual in _USUAL[controller]:
        yield root / "sys/fs/cgroup" / usual
    for mount in mounts:
        if controller not in mount.controllers:
            continue
        point = root / mount.point.lstrip("/")
        below = _below(groups.get(controller, "/"), mount.root)
        yield point
        for depth in range(1, len(below) + 1):
            yield point.joinpath(*below[:depth])


def _below(group: str, shown: str) -> tuple[str, ...]:
    """The names from the group that a mount shows down to the process's own.

    Empty if the process's group lies elsewhere, as it does where a container sees a mount of
    its host: then the group that is shown is all that can be known.
    """
    if ".." in PurePosixPath(group).parts:
        return ()
    try:
        return PurePosixPath(group).relative_to(shown).parts
    except ValueError:
        return ()


def _parse_groups(text: str) -> dict[str, str]:
    """The group per controller, of ``/proc/self/cgroup``."""
    groups: dict[str, str] = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        groups.update(dict.fromkeys(controllers.split(","), group))
    return groups


def _parse_mounts(text: str) -> list[_Mount]:
    """The hierarchies of ``/proc/self/mountinfo``."""
    mounts = []
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(" "), right.split(" ")
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        options = [_UNIFIED] if kind[0] == "cgroup2" else kind[2].split(",")
        mounts.append(_Mount(frozenset(options), _unescape(fields[3]), _unescape(fields[4])))
    return mounts


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)


def _quota(quota: str, period: str) -> list[float]:
    """Processors' worth; nothing for ``max`` and -1."""
    return [q / p for q in _numbers(quota) for p in _numbers(period) if q > 0 and p > 0]


def _numbers(text: str) -> list[int]:
    return [int(text)] if text.strip().isdecimal() else []


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="surrogateescape")
    except OSError:
        return ""
