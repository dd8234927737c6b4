"""EMLB's speed beside that of its peers, on the same notes, in interleaved rounds.

    python benchmarks/peers.py NOTES… [--rounds 5] [--python peers=PYTHON] [--out FOLDER]

Every contestant has a process of its own, loaded before the first round and idle while another
is measured. First each tries its settings (batch sizes, windows) on a sample of the notes and
keeps the fastest; then a round to warm up; then the rounds, in each of which every contestant
reads all notes once, in rotated order. One that is not installed is left out, with the reason.

The peers are installed apart:

    python -m venv PEERS
    PEERS/bin/pip install -r benchmarks/peers-requirements.txt

Nothing else should run meanwhile. No text of a note is printed or written anywhere.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from contest.processes import Process
from contest.records import ContestantError, Example, Job, describe
from contest.registry import CONTESTANTS, choose, pythons
from contest.report import Report, Standing
from contest.rounds import pick_sample, run_rounds

from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import EmlbError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.formats.brat import read_brat_folder
from emlb_runtime.formats.notes import find_notes, read_note
from emlb_runtime.machine.info import available_cores, read_machine
from emlb_runtime.records import ErrorRecord

ANNOTATED = Path(__file__).resolve().parent.parent / "examples" / "annotated"

BUSY = 0.5
"""Load from which figures are not to be trusted."""


@dataclass(frozen=True)
class Notes:
    """The notes of the benchmark.

    Attributes:
        paths: where they lie.
        pieces: word pieces of each, by the tokenizer of EMLB's model.
        characters: of all.
    """

    paths: list[str]
    pieces: list[int]
    characters: int

    @property
    def figures(self) -> dict[str, int]:
        """What the results say of them."""
        return {
            "notes": len(self.paths),
            "characters": self.characters,
            "pieces": sum(self.pieces),
        }

    def sample(self, pieces: int) -> tuple[str, ...]:
        """Paths of some notes that together have about so many word pieces."""
        return tuple(self.paths[position] for position in pick_sample(self.pieces, pieces))


def read_all(inputs: Sequence[str], *, limit: int | None, bundle: Bundle) -> Notes:
    """Find the notes, and count their word pieces.

    Raises:
        ContestantError: if one cannot be read: a contestant would stumble over it.
    """
    found = find_notes(inputs)
    if limit is not None and limit < len(found):
        found = [found[position * len(found) // limit] for position in range(limit)]
    pipeline = load_pipeline(bundle)
    paths, pieces, characters = [], [], 0
    for file in found:
        if isinstance(file, ErrorRecord):
            raise ContestantError(f"{file.note}: {file.error}")
        if file.path is None or file.is_table:
            raise ContestantError(f"{file.name}: give files and folders of plain-text notes")
        note = read_note(file.path, name=file.name)
        if isinstance(note, ErrorRecord):
            raise ContestantError(f"{note.note}: {note.error}")
        paths.append(str(file.path.resolve()))
        pieces.append(len(pipeline.prepare(note).tokens.ids))
        characters += len(note.text)
    if not paths:
        raise ContestantError("there are no notes; give files or folders of .txt files")
    return Notes(paths, pieces, characters)


def read_examples(types: Iterable[str]) -> tuple[Example, ...]:
    """The annotated notes that come along, for a brief training."""
    known = set(types)
    return tuple(
        Example(
            str((ANNOTATED / f"{document.note.name}.txt").resolve()),
            tuple((e.start, e.end, e.type) for e in document.entities if e.type in known),
        )
        for document, _ in read_brat_folder(ANNOTATED)
    )


def use_cores(wanted: int | None) -> int:
    """Keep this process and those it starts to so many cores; all it may use if None."""
    there = available_cores()
    if wanted is None:
        return there
    if not 1 <= wanted <= there:
        raise ContestantError(f"--cores is {wanted}; there are {there}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:wanted])
    return wanted


def load(name: str, process: Process, job: Job, notes: Notes) -> Standing:
    """Load a contestant, let it find its best setting, and get it ready for the rounds.

    Raises:
        ContestantError: what keeps it from running.
    """
    facts = process.ask("load", contestant=name, job=asdict(job))
    tuned = process.ask("tune", paths=job.samples)
    process.ask("prepare", paths=notes.paths)
    return Standing(facts, tuned["setting"], tuned["tried"])


def measure(
    name: str, processes: dict[str, Process], standings: dict[str, Standing], notes: Notes
) -> float:
    """One pass of a contestant, in seconds.

    Raises:
        ContestantError: if it failed, or has not read all of the notes.
    """
    counts = processes[name].run(notes.paths)
    seconds: float = counts.pop("seconds")
    figures = notes.figures
    for what in ("notes", "characters"):
        if counts[what] != figures[what]:
            raise ContestantError(f"it read {counts[what]:,} of {figures[what]:,} {what}")
    standings[name].counts = counts
    tell(f"{name}: {seconds:.2f} s, {figures['pieces'] / seconds:,.0f} word pieces/s")
    return seconds


def tell(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def machine_facts(cores: int) -> dict[str, Any]:
    """What the results say of the machine."""
    facts = asdict(read_machine())
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    if load is not None and load > BUSY:
        tell(f"something else runs on this machine (load {load:.2f}): the figures will be poor")
    return {**facts, "cores": cores, "load": load, "date": time.strftime("%Y-%m-%d")}


def contest(options: argparse.Namespace) -> Report:
    """The whole benchmark.

    Raises:
        ContestantError: if an option is wrong, or no contestant runs.
        EmlbError: if the model cannot be loaded.
    """
    names = choose(options.only, options.without)
    python = pythons(options.python, default=sys.executable)
    cores = use_cores(options.cores)
    machine = machine_facts(cores)
    bundle = Bundle.load(options.model)
    notes = read_all(options.notes, limit=options.limit, bundle=bundle)
    types = tuple(dict.fromkeys(t for task in bundle.config.tasks for t in task.entity_types))
    processes: dict[str, Process] = {}
    standings: dict[str, Standing] = {}
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        for name in names:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="emlb-peers-"))
            job = Job(
                cores=cores,
                folder=folder,
                model=options.model,
                entity_types=types,
                overlap=bundle.config.windows.overlap,
                samples=notes.sample(options.sample),
                examples=read_examples(types),
            )
            tell(f"{name}: loading, and trying its settings")
            try:
                process = Process(python[name], cores=cores, show=options.show_messages)
                processes[name] = stack.enter_context(process)
                standings[name] = load(name, process, job, notes)
                tell(f"{name}: {describe(standings[name].setting)}")
            except ContestantError as error:
                skipped[name] = str(error)
                tell(f"{name}: left out: {error}")
                if name in processes:
                    processes[name].close()
        rounds = run_rounds(
            list(standings),
            partial(measure, processes=processes, standings=standings, notes=notes),
            rounds=options.rounds,
            between=partial(time.sleep, options.pause),
        )
    skipped |= rounds.failures
    if not rounds.seconds:
        raise ContestantError(f"no contestant runs: {'; '.join(skipped.values())}")
    return Report(
        machine=machine,
        notes=notes.figures,
        model=f"{bundle.config.name} {bundle.config.version}",
        rounds=rounds,
        standings=standings,
        skipped=skipped,
        reference=next(iter(rounds.seconds)),
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog=f"Contestants: {', '.join(CONTESTANTS)}. The first that runs is what the others"
        " are compared with.",
    )
    parser.add_argument("notes", nargs="+", help="files, patterns and folders of .txt notes")
    parser.add_argument("--model", help="EMLB's bundle, with int8 and fp32; default: bundled")
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, from 1")
    parser.add_argument("--cores", type=int, help="default: all that this process may use")
    parser.add_argument("--limit", type=int, help="take so many notes, evenly spread")
    parser.add_argument("--sample", type=int, default=12_000, help="word pieces to try settings on")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds before each run")
    parser.add_argument("--only", default="", metavar="NAME,…", help="these contestants")
    parser.add_argument("--without", default="", metavar="NAME,…", help="all but these")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="run a contestant, or all 'peers', with the Python of another environment",
    )
    parser.add_argument("--out", type=Path, help="write speed.json and speed.md into this folder")
    parser.add_argument(
        "--show-messages",
        action="store_true",
        help="show what the libraries print, which may quote notes",
    )
    options = parser.parse_args(arguments)
    for name in ("rounds", "sample"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.limit is not None and options.limit < 1:
        parser.error("--limit must be at least 1")
    return options


def main() -> None:
    """Measure, write and print."""
    options = parse()
    try:
        report = contest(options)
    except (ContestantError, EmlbError) as error:
        sys.exit(str(error))
    print(report.to_markdown())
    if options.out is not None:
        for path in report.write(options.out):
            tell(f"wrote {path}")


if __name__ == "__main__":
    main()
