"""What the measurements come to: a JSON file that each adds to, and one Markdown table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

NAME = "endurance"
"""Of the two files, before their suffixes."""


class EnduranceError(Exception):
    """Why a measurement cannot be made, in one sentence without any text of a note."""


@dataclass(frozen=True)
class Row:
    """A target and what was measured.

    Attributes:
        what: was measured, in words.
        target: in words.
        measured: in words.
        reached: whether the target was; None if it is to be stated only.
    """

    what: str
    target: str
    measured: str
    reached: bool | None


@dataclass(frozen=True)
class Measurement:
    """What one measurement gave.

    Attributes:
        name: of it, as on the command line.
        rows: of the table.
        figures: everything that was measured, JSON-ready.
        remark: how it was measured, in sentences.
    """

    name: str
    rows: Sequence[Row]
    figures: Mapping[str, Any]
    remark: str


def write_report(
    folder: Path, measurement: Measurement, *, order: Sequence[str], facts: Mapping[str, Any]
) -> list[Path]:
    """Add a measurement to the files in a folder, in place of an earlier one of its name.

    Args:
        folder: is made if it is not there.
        measurement: what to add.
        order: of the measurements in the table.
        facts: where and on what it was made; ``run`` says so in words.

    Returns:
        The two files.

    Raises:
        EnduranceError: if the JSON file that is there is of another kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{NAME}.json", folder / f"{NAME}.md"]
    there = _read(paths[0]) | {measurement.name: asdict(measurement) | {"facts": dict(facts)}}
    values = {name: there[name] for name in order if name in there}
    paths[0].write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(to_markdown(values), encoding="utf-8")
    return paths


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if all("rows" in value and "facts" in value for value in values.values()):
            return dict(values)
    except (ValueError, AttributeError, TypeError):
        pass
    raise EnduranceError(f"{path} is not what this benchmark writes: name another --out")


def to_markdown(measurements: Mapping[str, Any]) -> str:
    """The table of all measurements, and what one has to know to read it.

    Args:
        measurements: by name, as ``write_report`` keeps them.
    """
    lines = ["# Endurance", "", "| what | target | measured | reached |", "|---|---|---|---|"]
    for value in measurements.values():
        for row in value["rows"]:
            reached = _REACHED[row["reached"]]
            lines.append(f"| {row['what']} | {row['target']} | {row['measured']} | {reached} |")
    lines += ["", "How it was measured:", ""]
    lines += [f"* `{name}`: {value['remark']}" for name, value in measurements.items()]
    runs: dict[str, list[str]] = {}
    for name, value in measurements.items():
        runs.setdefault(value["facts"]["run"], []).append(f"`{name}`")
    lines += ["", *(f"{', '.join(names)}: {run}." for run, names in runs.items()), ""]
    return "\n".join(lines)


_REACHED = {None: "–", True: "yes", False: "**no**"}


def megabytes(size: float) -> str:
    """Bytes in words."""
    return f"{size / 2**20:,.0f} MB"


def percent(share: float) -> str:
    """A signed share in words."""
    return f"{100 * share:+.1f} %"
