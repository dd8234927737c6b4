"""Commands under a limit of processes, as a container or an administrator sets one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence

import pytest

TIMEOUT = 240
"""Seconds; what runs longer hangs."""

_THREAD = "import threading; threading.Thread(target=int).start()"


def run_limited(
    processes: int, command: Sequence[str], *, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user who may have so many processes and threads, its own included.

    Skips the test where the limit cannot be set: the kernel does not hold root to it, and an
    ordinary user has other processes, so that one becomes another user and the other gets a
    user namespace with a count of its own.

    Args:
        processes: the limit.
        command: what to run.
        environment: added to this process's.
    """
    if not hasattr(os, "getuid") or not shutil.which("prlimit"):
        pytest.skip("no prlimit here")
    limited = [*_another_user(), "prlimit", f"--nproc={processes}:{processes}", *command]
    _check(limited[: len(limited) - len(command)], processes)
    return subprocess.run(
        limited,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=os.environ | (environment or {}),
    )


def _another_user() -> list[str]:
    if os.getuid() == 0:
        if not shutil.which("setpriv"):
            pytest.skip("no setpriv here")
        number = str(20_000 + os.getpid() % 40_000)  # tests that run beside have others
        capability = "-all,+dac_override"  # to read the checkout and write the test's folder
        return [
            *("setpriv", "--reuid", number, "--regid", number, "--clear-groups"),
            *(f"--{kind}={capability}" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
        ]
    if not shutil.which("unshare"):
        pytest.skip("no unshare here")
    return ["unshare", "--user"]


def _check(prefix: Sequence[str], processes: int) -> None:
    """Skip unless Python starts there, and the limit stops its threads at the right number."""
    code = f"{_THREAD}\n" if processes > 1 else "pass"
    one = [*prefix[:-1], "--nproc=1:1"]
    for command, works in (([*prefix, sys.executable, "-c", code], True), (one, False)):
        if not works:
            command = [*one, sys.executable, "-c", _THREAD]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        refused = "can't start new thread" in done.stderr
        if (done.returncode == 0) != works or refused == works:
            pytest.skip("a limit of processes cannot be set here, or does not hold")
