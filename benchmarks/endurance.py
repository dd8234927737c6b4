"""Whether EMLB lasts: memory over many notes, time over long ones, threads, and a long soak.

    python benchmarks/endurance.py all NOTES… --out FOLDER
    python benchmarks/endurance.py memory|linear|threads|short-notes|soak NOTES… [--out FOLDER]

* *memory*: peak of `emlb-run` over 20,000 notes against 500;
* *linear*: what a token costs in one note of 1,000 to 1,000,000;
* *threads*: eight that share one `Extractor`, against one;
* *short-notes*: 100,000 in one `emlb-run`: none lost, memory flat;
* *soak*: eight threads for half an hour, every answer compared, memory watched.

Each is made in a fresh process and added to endurance.json and endurance.md as it ends; made
again, it takes the place of the earlier. Nothing else should run meanwhile. Notes are copied
into a temporary folder that is deleted at the end; no text of one is printed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from contest.records import ContestantError
from contest.report import describe_machine
from contest.rounds import run_rounds
from marathon.lengths import Lengths
from marathon.many import WRITERS, measure_memory, measure_short
from marathon.report import EnduranceError, Measurement, to_markdown, write_report
from marathon.texts import read_texts, spread_lengths
from marathon.threads import Sharing, measure_soak
from peers import machine_facts, tell, use_cores

from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import EmlbError
from emlb_runtime.extract import Extractor
from emlb_runtime.records import Note

ALL = "all"


def load(options: argparse.Namespace) -> Extractor:
    """The extractor that threads share and long notes go through, as a user gets it."""
    return Extractor.load(options.model, provider="cpu")


def named(texts: Sequence[str]) -> list[Note]:
    """Notes with names of their own."""
    return [Note(f"{number:07d}", text) for number, text in enumerate(texts)]


def memory(texts: Sequence[str], options: argparse.Namespace) -> Measurement:
    """See ``measure_memory``."""
    with tempfile.TemporaryDirectory(prefix="emlb-endurance-", dir=options.folder) as folder:
        return measure_memory(
            texts,
            Path(folder),
            few=options.few,
            many=options.many,
            kind=options.input,
            model=options.model,
        )


def short(texts: Sequence[str], options: argparse.Namespace) -> Measurement:
    """See ``measure_short``."""
    with tempfile.TemporaryDirectory(prefix="emlb-endurance-", dir=options.folder) as folder:
        return measure_short(
            texts, Path(folder), count=options.short, kind=options.input, model=options.model
        )


def linear(texts: Sequence[str], options: argparse.Namespace) -> Measurement:
    """See ``Lengths``."""
    arms = Lengths(texts, load(options), lengths=options.lengths, together=options.together)
    rounds = run_rounds(arms.names, arms.run, rounds=options.rounds)
    return arms.conclude(rounds.seconds, reference=str(options.reference))


def threads(texts: Sequence[str], options: argparse.Namespace) -> Measurement:
    """See ``Sharing``."""
    notes = named(spread_lengths(texts, options.shared))
    arms = Sharing(notes, load(options), threads=options.threads)
    return arms.conclude(run_rounds(arms.names, arms.run, rounds=options.rounds).seconds)


def soak(texts: Sequence[str], options: argparse.Namespace) -> Measurement:
    """See ``measure_soak``."""
    return measure_soak(
        named(spread_lengths(texts, options.soaked)),
        load(options),
        threads=options.threads,
        seconds=60 * options.minutes,
        interval=min(1.0, 0.6 * options.minutes),
    )


MEASUREMENTS: dict[str, Callable[[Sequence[str], argparse.Namespace], Measurement]] = {
    "memory": memory,
    "linear": linear,
    "threads": threads,
    "short-notes": short,
    "soak": soak,
}


def measure(options: argparse.Namespace) -> None:
    """Make one measurement, print its table and write it.

    Raises:
        EnduranceError: if it cannot be made.
        EmlbError: if the model cannot be loaded.
    """
    machine = machine_facts(use_cores(options.cores))
    config = Bundle.load(options.model).config
    texts = read_texts(options.notes)
    tell(f"{options.what}: of {len(texts):,} notes")
    measurement = MEASUREMENTS[options.what](texts, options)
    run = f"{describe_machine(machine)}; {machine['date']}; model {config.name} {config.version}"
    facts = {
        "machine": machine,
        "model": f"{config.name} {config.version}",
        "notes": {"number": len(texts), "characters": sum(map(len, texts))},
        "run": run,
    }
    if options.out is None:
        shown = {"rows": [vars(row) for row in measurement.rows], "remark": measurement.remark}
        print(to_markdown({measurement.name: {**shown, "facts": facts}}))
        return
    for path in write_report(options.out, measurement, order=list(MEASUREMENTS), facts=facts):
        tell(f"wrote {path}")


def measure_all(arguments: Sequence[str], names: Sequence[str] = tuple(MEASUREMENTS)) -> int:
    """Make all measurements, each in a fresh process; one that fails does not stop the rest.

    Args:
        arguments: of the command line, after the name of the measurement.
        names: of the measurements.

    Returns:
        The worst exit code.
    """
    codes = []
    for name in names:
        command = [sys.executable, __file__, name, *arguments]
        codes.append(subprocess.run(command, check=False).returncode)
    return max(map(abs, codes))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=[*MEASUREMENTS, ALL], help="what to measure; comes first")
    parser.add_argument("notes", nargs="+", help="files, patterns and folders of .txt notes")
    parser.add_argument("--out", type=Path, help="write endurance.json and .md into this folder")
    parser.add_argument("--model", help="a bundle; default: the bundled one")
    parser.add_argument("--cores", type=int, help="default: all that this process may use")
    parser.add_argument("--folder", type=Path, help="for temporary notes; default: the system's")
    parser.add_argument("--rounds", type=int, default=5, help="of linear and threads")
    parser.add_argument(
        "--input", choices=list(WRITERS), default="folder", help="of memory and short-notes"
    )
    parser.add_argument("--few", type=int, default=500, help="notes of memory")
    parser.add_argument("--many", type=int, default=20_000, help="notes of memory")
    parser.add_argument("--short", type=int, default=100_000, help="notes of short-notes")
    parser.add_argument(
        "--lengths",
        type=int,
        nargs="+",
        default=[1_000, 10_000, 100_000, 1_000_000],
        metavar="PIECES",
        help="of linear",
    )
    parser.add_argument("--reference", type=int, default=10_000, help="one of the lengths")
    parser.add_argument(
        "--together", type=int, default=100_000, help="pieces of all notes of a short length"
    )
    parser.add_argument("--threads", type=int, default=8, help="of threads and soak")
    parser.add_argument("--shared", type=int, default=240, help="notes of threads")
    parser.add_argument("--soaked", type=int, default=64, help="notes of soak")
    parser.add_argument("--minutes", type=float, default=30.0, help="of soak")
    options = parser.parse_args(arguments)
    sizes = "rounds few many short reference together threads shared soaked"
    for name in sizes.split():
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if min(options.lengths) < 1 or options.reference not in options.lengths:
        parser.error("--lengths must be at least 1, and --reference one of them")
    if options.minutes <= 0:
        parser.error("--minutes must be above 0")
    if options.what == ALL and (options.out is None or arguments[0] != ALL):
        parser.error("all comes first, and needs --out")
    return options


def main() -> None:
    """Measure, write and print."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    arguments = sys.argv[1:]
    options = parse(arguments)
    if options.what == ALL:
        sys.exit(measure_all(arguments[1:]))
    try:
        measure(options)
    except (ContestantError, EnduranceError, EmlbError) as error:
        sys.exit(f"{options.what}: {error}")
    except Exception as error:  # its own text may quote a note: only its kind and place are told
        place = traceback.extract_tb(error.__traceback__)[-1]
        kind, file = type(error).__name__, Path(place.filename).name
        sys.exit(f"{options.what}: {kind} in {file}, line {place.lineno}")


if __name__ == "__main__":
    main()
