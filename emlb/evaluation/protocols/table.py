"""A protocol's rows as a text table and as JSON-ready values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emlb.evaluation.comparison.bootstrap import Interval, Measure
from emlb.evaluation.scoring.text_table import align

from .base import Row

NOTHING = "nothing in these documents is of the types that this protocol scores"

_HEADLINE = "f1"


def render(
    rows: Sequence[Row],
    *,
    title: str,
    intervals: Mapping[Measure, Interval] | None = None,
) -> str:
    """The rows as aligned text; fractions in percent.

    Args:
        rows: in the order to show them.
        title: a first line.
        intervals: of the measures; shown beside F1, or beside the row's last value where
            it has none.
    """
    lines = [title] if rows else [title, "", NOTHING]
    for section in dict.fromkeys(row.section for row in rows):
        held = [row for row in rows if row.section == section]
        names = list(dict.fromkeys(name for row in held for name in row.values))
        cells = [["", "", "gold", "predicted", *names, "95 %" if intervals else ""]]
        for row in held:
            counts = ["" if n is None else str(n) for n in (row.gold, row.predicted)]
            values = [f"{100 * row.values[n]:.2f}" if n in row.values else "" for n in names]
            cells.append([row.name, row.mode, *counts, *values, _interval(row, intervals)])
        lines += ["", section, *align(cells, words=2)]
    return "\n".join(lines)


def render_differences(
    rows: Sequence[Row],
    others: Sequence[Row],
    *,
    title: str,
    intervals: Mapping[Measure, Interval],
) -> str:
    """How much higher the other system's measures are, in points of percent.

    Args:
        rows: of the system that is compared with.
        others: of the other system.
        title: a first line.
        intervals: of the differences; one that does not hold zero is marked with a star.
    """
    after = {(row.key, name): value for row in others for name, value in row.values.items()}
    lines = [title]
    shared = [row for row in rows if any((row.key, name) in after for name in row.values)]
    for section in dict.fromkeys(row.section for row in shared):
        cells = [["", "", "measure", "from", "to", "difference", "95 %"]]
        for row in (row for row in shared if row.section == section):
            name = _headline(row)
            interval = intervals.get((row.key, name))
            if (row.key, name) not in after or interval is None:  # in none of the samples
                continue
            value = after[row.key, name]
            apart = interval.low > 0 or interval.high < 0
            cells.append(
                [
                    row.name,
                    row.mode,
                    name,
                    f"{100 * row.values[name]:.2f}",
                    f"{100 * value:.2f}",
                    f"{100 * (value - row.values[name]):+.2f}{'*' if apart else ' '}",
                    f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f}",
                ]
            )
        lines += ["", section, *align(cells, words=2)]
    return "\n".join([*lines, "", "* the interval does not hold zero"])


def to_json(
    rows: Sequence[Row], intervals: Mapping[Measure, Interval] | None = None
) -> list[dict[str, Any]]:
    """The rows as JSON-ready values; fractions of one."""
    return [
        {
            "section": row.section,
            "name": row.name,
            "mode": row.mode,
            "gold": row.gold,
            "predicted": row.predicted,
            **row.values,
            **(
                {
                    "intervals": {
                        name: [intervals[row.key, name].low, intervals[row.key, name].high]
                        for name in row.values
                        if (row.key, name) in intervals
                    }
                }
                if intervals
                else {}
            ),
        }
        for row in rows
    ]


def _headline(row: Row) -> str:
    return _HEADLINE if _HEADLINE in row.values else list(row.values)[-1]


def _interval(row: Row, intervals: Mapping[Measure, Interval] | None) -> str:
    found = (intervals or {}).get((row.key, _headline(row)))
    return f"{100 * found.low:.2f} to {100 * found.high:.2f}" if found else ""
