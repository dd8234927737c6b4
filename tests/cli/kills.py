"""Runs `emlb-run` with a real model again and again, and kills it at random instants.

A script, and not a test: it imports what a run needs once, makes no threads of its own, and forks
a run from there, which opens its sessions and its workers itself.
``python kills.py FOLDER BUNDLE NOTES KILLS WORKERS ARGUMENT…`` prints one JSON line.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import onnxruntime  # noqa: F401 - what a run imports late: the runs share it

from emlb_cli import run
from emlb_runtime import extract  # noqa: F401
from emlb_runtime.batch import compression, output
from emlb_runtime.formats import writers  # noqa: F401

TEXT = (
    "Hypertension, treated with lisinopril; dry cough since. Amoxicillin caused a rash on day"
    " three. No fever; ibuprofen for back pain was stopped.\r\nOn prednisolone she had insomnia.\n"
)
STATES = ("o/emlb-run.state", "o.jsonl.state", "o.jsonl.gz.state")


def write_notes(number: int, dice: random.Random) -> None:
    """Notes of many lengths, some empty, in the working folder."""
    shutil.rmtree("notes", ignore_errors=True)
    Path("notes").mkdir()
    for place in range(number):
        Path(f"notes/{place:04}.txt").write_bytes(TEXT.encode() * dice.randint(0, 12))


def start(arguments: list[str]) -> int:
    """A run in a process of its own; returns its id."""
    child = os.fork()
    if child:
        return child
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 2)
    sys.argv = ["emlb-run", *arguments]
    try:
        run.main()
    except SystemExit as stop:
        os._exit(stop.code if isinstance(stop.code, int) else 98)
    os._exit(97)


def finish(arguments: list[str]) -> tuple[dict[str, bytes], float]:
    """Run to the end; what was written, and how long it took."""
    started = time.monotonic()
    _, status = os.waitpid(start(arguments), 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"the run failed: {Path('said').read_text(encoding='utf-8')}")
    return written(), time.monotonic() - started


def written() -> dict[str, bytes]:
    """All files of the output."""
    paths = [path for path in [*Path().glob("o*"), *Path().glob("o/*")] if path.is_file()]
    return {path.as_posix(): path.read_bytes() for path in paths}


def clear() -> None:
    """Remove the output and what an unfinished run left."""
    for path in Path().glob("o*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def kill(arguments: list[str], seconds: float, dice: random.Random) -> bool:
    """Kill a run at some instant of so many seconds; whether it was still running."""
    child = start(arguments)
    if dice.random() < 0.8:  # else also while it starts
        until = time.monotonic() + 60
        while not any(map(os.path.exists, STATES)) and time.monotonic() < until:
            time.sleep(0.001)
            if os.waitpid(child, os.WNOHANG)[0]:
                return False
    time.sleep(dice.uniform(0, seconds))
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def main() -> None:
    """Kill runs, each up to four times, and let them end."""
    folder, bundle, notes, kills, workers = sys.argv[1:6]
    arguments = ["notes", "--model", str(Path(bundle).resolve()), "--workers", workers]
    arguments += ["--precision", "fp32", *sys.argv[6:]]
    dice = random.Random(int(workers))
    # Marks come often, and members are small, so that there is much to be cut in two.
    output.CHECKPOINT_SECONDS, compression.MEMBER_NOTES = 0.01, 8
    os.chdir(folder)
    write_notes(int(notes), dice)
    expected, seconds = finish(arguments)
    counted = {
        "kills": 0,
        "runs": 0,
        "identical": 0,
        "lost": 0,
        "doubled": 0,
        "files": len(expected),
    }
    while counted["kills"] < int(kills):
        clear()
        for _ in range(dice.randint(1, 4)):
            if not kill(arguments, seconds, dice):
                break
            counted["kills"] += 1
        # A folder that is complete is not written over.
        is_complete = os.path.isdir("o") and written() and not os.path.exists(STATES[0])
        found = written() if is_complete else finish(arguments)[0]
        counted["runs"] += 1
        counted["identical"] += found == expected
        for name in expected.keys() | found.keys():
            before, after = expected.get(name, b"").count(b"\n"), found.get(name, b"").count(b"\n")
            counted["lost"] += max(0, before - after)
            counted["doubled"] += max(0, after - before)
    sys.stdout.write(json.dumps(counted) + "\n")


if __name__ == "__main__":
    main()
