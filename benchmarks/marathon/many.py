"""Many notes in one `emlb-run`: is memory as it was with few?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .report import Measurement, Row, megabytes
from .texts import short_notes, spread_lengths, write_folder, write_table
from .watch import Presence, Watched, check_presence, run_watched

RATIO = 1.1
"""Peak memory with many notes may be so many times that with few."""

LIMIT = 500 * 2**20
"""Bytes that no run may need."""

WRITERS: dict[str, Callable[[Path, Iterator[str]], list[str]]] = {
    "folder": write_folder,
    "table": write_table,
}


def extract(
    folder: Path, texts: Iterable[str], *, name: str, kind: str, model: str | None
) -> tuple[Watched, Presence]:
    """Write notes, extract them, look for each in the output, and remove the output.

    Raises:
        EnduranceError: if `emlb-run` fails.
    """
    inputs = folder / (f"{name}.csv" if kind == "table" else name)
    names = WRITERS[kind](inputs, iter(texts))
    out = folder / f"{name}.jsonl"
    watched = run_watched(inputs.as_posix(), out, model=model)
    presence = check_presence(out, names)
    out.unlink()
    return watched, presence


def measure_memory(
    texts: Sequence[str], folder: Path, *, few: int, many: int, kind: str, model: str | None
) -> Measurement:
    """Peak memory of `emlb-run` over few and over many notes.

    Args:
        texts: real notes, repeated as often as needed.
        folder: for what is written meanwhile.
        few: so many notes.
        many: so many.
        kind: of input, a key of ``WRITERS``.
        model: a bundle; None is the bundled one.

    Raises:
        EnduranceError: if a run fails.
    """
    runs: dict[int, Watched] = {}
    presences: dict[int, Presence] = {}
    for count in (few, many):
        chosen = spread_lengths(texts, count)
        runs[count], presences[count] = extract(
            folder, chosen, name=str(count), kind=kind, model=model
        )
    peaks = {count: run.peak for count, run in runs.items()}
    ratio = peaks[many] / peaks[few]
    told = f"{megabytes(peaks[many])} against {megabytes(peaks[few])}"
    return Measurement(
        "memory",
        [
            Row(
                f"peak memory, {many:,} notes against {few:,}",
                f"≤ {RATIO}×",
                f"{ratio:.3f}× ({told})",
                ratio <= RATIO,
            ),
            Row(
                f"peak memory, {many:,} notes",
                f"< {megabytes(LIMIT)}",
                megabytes(peaks[many]),
                peaks[many] < LIMIT,
            ),
            Row(
                f"{many:,} notes: each in the output",
                "once",
                str(presences[many]),
                all(presence.is_complete for presence in presences.values()),
            ),
        ],
        {
            "input": kind,
            "peak_ratio": ratio,
            "runs": {
                count: {"presence": asdict(presences[count]), **_figures(run, notes=count)}
                for count, run in runs.items()
            },
        },
        "`emlb-run --format documents` in a process of its own, whose peak is the kernel's mark"
        f" (VmHWM). Real notes, from a {kind}, repeated under new names; the few are spread over"
        " all lengths, with the longest among them. Every note is looked for in the output.",
    )


def measure_short(
    texts: Sequence[str], folder: Path, *, count: int, kind: str, model: str | None
) -> Measurement:
    """Memory and speed of `emlb-run` over very many short notes.

    Args:
        texts: real notes, which short ones are cut from.
        folder: for what is written meanwhile.
        count: how many short notes.
        kind: of input, a key of ``WRITERS``.
        model: a bundle; None is the bundled one.

    Raises:
        EnduranceError: if the run fails.
    """
    made = short_notes(texts, count)
    watched, presence = extract(folder, made, name="short", kind=kind, model=model)
    early, late = watched.resident_when(0.1), watched.resident_when(0.99)
    what = f"{count:,} short notes in one run"
    return Measurement(
        "short-notes",
        [
            Row(f"{what}: each in the output", "once", str(presence), presence.is_complete),
            Row(
                f"{what}: memory at the end against that at 10 %",
                f"flat: ≤ {RATIO}×",
                f"{late / early:.3f}× ({megabytes(late)} against {megabytes(early)};"
                f" peak {megabytes(watched.peak)})",
                late / early <= RATIO and watched.peak < LIMIT,
            ),
            Row(
                f"{what}: speed",
                "stated",
                f"{count / watched.seconds:,.0f} notes/s",
                None,
            ),
        ],
        {
            "input": kind,
            "presence": asdict(presence),
            "resident_at_10_percent": early,
            "resident_at_the_end": late,
            **_figures(watched, notes=count),
        },
        "two to four successive sentences or lines of real notes, each a note of its own, from a"
        f" {kind}. Memory is the median of what was resident while the output had grown to 7 to"
        " 13 %, and from 96 % on; the time is that of the whole process.",
    )


def _figures(run: Watched, *, notes: int) -> dict[str, Any]:
    """A run's, with a thinned course of its memory."""
    step = max(1, len(run.samples) // 200)
    return {
        "notes": notes,
        "seconds": run.seconds,
        "notes_per_second": notes / run.seconds,
        "peak_bytes": run.peak,
        "output_bytes": run.size,
        "course": [
            {"seconds": round(s.seconds, 2), "resident": s.resident, "written": s.written}
            for s in run.samples[::step]
        ],
    }
