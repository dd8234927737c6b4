"""Runs commands where nobody can be reached, and writes down every attempt to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAMESPACE = ("unshare", "--map-root-user", "--net")
STRACE = ("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=%network")

# Every Python below the command imports this first, children of children too.
SITE = """
import os, sys
attempts = os.open(os.environ["ATTEMPTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
def refuse(event, arguments):
    if event.startswith("socket.") and event != "socket.gethostname":
        frame = sys._getframe(1)
        while frame.f_back and frame.f_globals["__name__"] == "socket":
            frame = frame.f_back
        asks = f'{frame.f_globals["__name__"]}.{frame.f_code.co_name}'
        os.write(attempts, f"{event} by {asks}\\n".encode())
        raise OSError("there is no network in this test")
sys.addaudithook(refuse)
"""

# The commands one after the other, as their console scripts begin them; then time for what
# only begins after a while. Exit codes go to the last line of standard output.
DRIVER = """
import importlib, json, sys, time
commands, linger = json.loads(sys.argv[1])
codes = []
for entry, *arguments in commands:
    sys.argv = [entry, *arguments]
    try:
        importlib.import_module(f"emlb_cli.{entry}").main()
    except SystemExit as stop:
        codes.append(stop.code or 0)
    else:
        codes.append(0)
time.sleep(linger)
print()
print(json.dumps(codes))
"""

_CALL = re.compile(r"(socket|connect|bind|sendto|sendmsg|sendmmsg)\((?!.*AF_UNIX)")


@dataclass(frozen=True)
class Watched:
    """What is known of a run.

    Attributes:
        codes: the exit codes of its commands; fewer where Python itself came to an end.
        output: standard output and standard error.
        attempts: audit events of Python's sockets, if it was blocked.
        calls: system calls for a network, of native code too, if it was traced.
        left: the files that it left in its home.
    """

    codes: list[int]
    output: str
    attempts: list[str]
    calls: list[str]
    left: list[str]


@cache
def works(*wrapper: str) -> bool:
    """Whether this system lets us run a command that way."""
    if shutil.which(wrapper[0]) is None:
        return False
    done = subprocess.run([*wrapper, "true"], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


def run_commands(
    commands: Sequence[Sequence[object]],
    folder: Path,
    *,
    wrapper: Sequence[str] = (),
    block: bool = False,
    linger: float = 0.0,
) -> Watched:
    """Run commands in one process of their own, with an empty home.

    Args:
        commands: the module of ``emlb_cli`` that has ``main``, and the arguments.
        folder: for the empty home and what is noted; packages in its ``site`` can be imported.
        wrapper: what runs the process, such as ``NAMESPACE``.
        block: refuse Python's sockets.
        linger: seconds that the process stays alive afterwards.
    """
    texts = [[str(argument) for argument in command] for command in commands]
    return run_code(
        DRIVER, json.dumps([texts, linger]), folder=folder, wrapper=wrapper, block=block
    )


def run_code(
    code: str, *arguments: str, folder: Path, wrapper: Sequence[str] = (), block: bool = False
) -> Watched:
    """Run Python code as ``run_commands`` does."""
    home, site, trace = folder / "home", folder / "site", folder / "trace"
    for made in (home, site):
        made.mkdir(parents=True, exist_ok=True)
    # Nothing is inherited: what marks a CI run also stops telemetry.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(site),
        "ATTEMPTS": str(folder / "attempts"),
    }
    if block:
        (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    if "strace" in wrapper:
        at = list(wrapper).index("strace") + 1
        wrapper = [*wrapper[:at], "-o", str(trace), *wrapper[at:]]
    done = subprocess.run(
        [*wrapper, sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=environment,
        cwd=folder,
        check=False,
        timeout=300,
    )
    codes = [done.returncode]
    if done.returncode == 0 and code is DRIVER:
        codes = json.loads(done.stdout.splitlines()[-1])
    return Watched(
        codes=codes,
        output=done.stdout + done.stderr,
        attempts=_lines(folder / "attempts"),
        calls=[line for line in _lines(trace) if _CALL.search(line)],
        left=sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()),
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
