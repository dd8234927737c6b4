"""A contestant's process: commands as JSON lines on standard input, answers on standard output.

``load`` (contestant, job), ``tune`` (paths), ``prepare`` (paths), ``run`` (paths). An answer is an
object; one with ``error`` ends nothing, the benchmark decides. What libraries print goes
to standard error. An exception's own text may quote a note: only its kind is told, unless it is
``ContestantError`` or one of EMLB's, which never do.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any, TextIO

from .records import Contestant, ContestantError, Job
from .registry import CONTESTANTS

TRIES = 2
"""Passes over the samples under one setting; the faster counts."""

REQUIREMENTS = "benchmarks/peers-requirements.txt"


class Worker:
    """One contestant and the commands it understands."""

    def __init__(self) -> None:
        self._contestant: Contestant | None = None

    def load(self, name: str, job: Job) -> dict[str, Any]:
        """Make a contestant.

        Raises:
            ContestantError: if it is not installed, or has not what it needs.
        """
        entry = CONTESTANTS[name]
        try:
            module = importlib.import_module(f".{entry.module}", __package__)
            self._contestant = getattr(module, entry.maker)(job, **entry.options)
        except ImportError as error:
            missing = "EMLB" if entry.is_ours else entry.packages[0]
            raise ContestantError(
                f"{missing} is not installed, or not wholly (no module {error.name}):"
                f" see {REQUIREMENTS} and --python"
            ) from None
        return {"python": platform.python_version(), "packages": _versions(entry.packages)}

    def tune(self, paths: Sequence[str]) -> dict[str, Any]:
        """Try every setting on some notes and keep the fastest."""
        contestant = self._loaded()
        if len(contestant.settings) == 1:
            contestant.use(contestant.settings[0])
            return {"setting": dict(contestant.settings[0]), "tried": []}
        tried = []
        for number, setting in enumerate(contestant.settings):
            contestant.use(setting)
            contestant.prepare(paths)
            tries = [_timed(contestant, paths)[0] for _ in range(TRIES if number else TRIES + 1)]
            # The first pass of all pays for what a library does once.
            tried.append((min(tries if number else tries[1:]), setting))
        best = min(tried, key=lambda item: item[0])[1]
        contestant.use(best)
        return {"setting": dict(best), "tried": [[dict(s), seconds] for seconds, s in tried]}

    def prepare(self, paths: Sequence[str]) -> dict[str, Any]:
        """Get ready for the notes of the rounds."""
        self._loaded().prepare(paths)
        return {}

    def run(self, paths: Sequence[str]) -> dict[str, Any]:
        """One pass over the notes."""
        seconds, counts = _timed(self._loaded(), paths)
        return {"seconds": seconds, **counts}

    def _loaded(self) -> Contestant:
        if self._contestant is None:
            raise ContestantError("no contestant is loaded")
        return self._contestant

    def answer(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry a command out; what goes wrong is an answer too."""
        commands: dict[str, Callable[[], dict[str, Any]]] = {
            "load": lambda: self.load(command["contestant"], Job.from_json(command["job"])),
            "tune": lambda: self.tune(command["paths"]),
            "prepare": lambda: self.prepare(command["paths"]),
            "run": lambda: self.run(command["paths"]),
        }
        try:
            return commands[command["do"]]()
        except ContestantError as error:
            return {"error": str(error)}
        except Exception as error:
            if any(kind.__name__ == "EmlbError" for kind in type(error).__mro__):
                return {"error": str(error)}
            return {"error": f"{command['do']} failed: {_where(error)}"}


def serve(commands: TextIO, answers: TextIO) -> None:
    """Answer commands until there are no more."""
    worker = Worker()
    for line in commands:
        answers.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        answers.flush()


def _timed(contestant: Contestant, paths: Sequence[str]) -> tuple[float, dict[str, Any]]:
    started = time.perf_counter()
    counts = contestant.run(paths)
    return time.perf_counter() - started, asdict(counts)


def _where(error: BaseException) -> str:
    """An exception's kind and the line that raised it, without its own text."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        file = os.path.basename(trace.tb_frame.f_code.co_filename)
        place = f" in {file}, line {trace.tb_lineno}"
    return type(error).__name__ + place


def _versions(packages: Sequence[str]) -> dict[str, str]:
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def main() -> None:
    """The process."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
