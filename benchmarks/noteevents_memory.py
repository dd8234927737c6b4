"""How fast a NOTEEVENTS table streams, and how much memory that takes at its peak.

    python benchmarks/noteevents_memory.py [--rows 2000000] [--gzip] [--folder FOLDER]

Writes a made-up table into a temporary folder (1.3 kB a row, so 2.6 GB for the two million
rows of MIMIC-III), reads it in a process of its own, prints one line and deletes the table.
The peak is the process's largest resident set, Python and all.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEADER = (
    '"ROW_ID","SUBJECT_ID","HADM_ID","CHARTDATE","CHARTTIME","STORETIME",'
    '"CATEGORY","DESCRIPTION","CGID","ISERROR","TEXT"\n'
)
WORDS = "patient denies rash after amoxicillin 500 mg tablets; chest clear, bp 120/80 and".split()

READER = """
import json, resource, sys, time
from pathlib import Path
from emlb_runtime.formats.noteevents import read_noteevents
from emlb_runtime.records import Note
started, notes, characters, failed = time.perf_counter(), 0, 0, 0
for item in read_noteevents(Path(sys.argv[1])):
    if isinstance(item, Note):
        notes, characters = notes + 1, characters + len(item.text)
    else:
        failed += 1
seconds = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"notes": notes, "characters": characters, "failed": failed,
    "seconds": seconds, "peak_mb": peak / (2**20 if sys.platform == "darwin" else 2**10)}))
"""


def make_texts(rng: random.Random, *, count: int) -> list[str]:
    """Quoted fields of some 30 lines, a few with quotes, CRLF and characters beyond ASCII."""
    texts = []
    for number in range(count):
        lines = [" ".join(rng.choices(WORDS, k=6)) for _ in range(rng.randint(24, 36))]
        lines[0] += ' says ""no"" to it' if number % 7 == 0 else ""
        lines[1] += " 37 °C, naïve" if number % 11 == 0 else ""
        texts.append(("\r\n" if number % 5 == 0 else "\n").join(lines))
    return texts


def write_table(path: Path, *, rows: int) -> None:
    """Write a table whose rows repeat a thousand texts."""
    texts = make_texts(random.Random(0), count=1000)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", encoding="utf-8", newline="") as out:
        out.write(HEADER)
        for row in range(1, rows + 1):
            out.write(
                f"{row},{row % 46_520},{100_000 + row % 58_976},2150-01-01,2150-01-01 10:30:00,"
                f',"Nursing","Report",15331,,"{texts[row % len(texts)]}"\n'
            )


def measure(path: Path) -> dict[str, float]:
    """Read a table in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], check=True, capture_output=True, text=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--gzip", action="store_true", help="compress the table")
    parser.add_argument("--folder", type=Path, help="where to put it; the system's by default")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / ("NOTEEVENTS.csv.gz" if options.gzip else "NOTEEVENTS.csv")
        started = time.perf_counter()
        write_table(path, rows=options.rows)
        written, size = time.perf_counter() - started, path.stat().st_size
        figures = measure(path)
    if figures["notes"] != options.rows or figures["failed"]:
        sys.exit(f"read {figures['notes']:,} of {options.rows:,} rows, {figures['failed']} broken")
    print(
        f"{options.rows:,} rows, {size / 1e6:,.0f} MB (written in {written:.0f} s):"
        f" {options.rows / figures['seconds']:,.0f} rows/s,"
        f" {figures['characters'] / figures['seconds'] / 1e6:.0f} M characters/s,"
        f" peak {figures['peak_mb']:.0f} MB"
    )


if __name__ == "__main__":
    main()
