"""What `emlb bench` shows: tables in Markdown, JSON, a figure."""

from __future__ import annotations

import importlib.util
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emlb_cli.shared.progress import count
from emlb_runtime import __version__
from emlb_runtime.errors import ConfigError
from emlb_runtime.inference.providers import describe_builds, runtime_builds
from emlb_runtime.machine.info import read_machine
from emlb_runtime.profiling.benchmark import Measured

SUFFIXES = (".svg", ".png", ".pdf")
SHORT = 1.0
"""Seconds; a pass that is over sooner is mostly noise."""

# Okabe and Ito's colours, told apart whatever one's colour vision.
_COLOURS = (
    *("#56B4E9", "#E69F00", "#009E73", "#F0E442"),
    *("#0072B2", "#D55E00", "#CC79A7", "#999999"),
)


def render(measured: Sequence[Measured]) -> str:
    """Everything measured, as Markdown. At least one setting."""
    first = measured[0]
    lines = [
        f"{first.bundle} · {first.precision} · {first.provider} · "
        f"{describe_builds(runtime_builds())} · EMLB {__version__}",
        describe_machine(),
        f"{count(first.notes, 'note')} ({first.failed:,} failed), "
        f"{count(first.characters, 'character')}, {count(first.windows, 'window')}, "
        f"{count(first.tokens, 'word piece')}, {count(first.entities, 'entity', 'entities')}, "
        f"{count(first.relations, 'relation')}",
        "",
        *_speed_table(measured),
        "",
        *_stage_table(measured),
        "",
        f"Medians of {count(len(first.passes), 'pass', 'passes')} after one to warm up; spread: "
        "slowest less fastest. Speed counts reading and writing, but not loading. Stages: one "
        "thread, nothing overlapped. Memory: peak of the process, resident.",
    ]
    if min(m.passes[0] for m in measured) < SHORT:
        lines.append("A pass takes less than a second: more notes give steadier figures.")
    remarks = dict.fromkeys(remark for m in measured for remark in m.remarks)
    return "\n".join([*lines, *remarks])


def describe_machine() -> str:
    """Processor, cores, instruction sets, memory, system and Python, in a line."""
    machine = read_machine()
    known = machine.instructions
    return " · ".join(
        [
            machine.processor or machine.architecture,
            count(machine.cores, "core"),
            "instruction sets unknown" if known is None else " ".join(known) or "no vectors",
            f"{machine.memory / 2**30:.1f} GiB",
            machine.system,
            f"Python {platform.python_version()}",
        ]
    )


def _speed_table(measured: Sequence[Measured]) -> list[str]:
    rows = [
        [
            f"{m.workers}",
            f"{m.batch}",
            f"{m.rate(m.notes):,.1f}",
            f"{m.rate(m.windows):,.1f}",
            f"{m.rate(m.tokens):,.0f}",
            f"{m.spread:.0%}",
            f"{m.padding:.1%}",
            f"{m.memory / 2**20:,.0f} MiB",
            f"{m.memory_loaded / 2**20:,.0f} MiB",
            f"{m.load:.2f} s",
        ]
        for m in measured
    ]
    names = "workers, windows per run, notes/s, windows/s, tokens/s, spread, padding, memory, "
    return markdown([*(names + "once loaded, load").split(", ")], rows)


def _stage_table(measured: Sequence[Measured]) -> list[str]:
    # Stages run in one thread whatever the workers: the first setting's are as good as any.
    seconds = measured[0].stage_medians()
    total = sum(seconds.values()) or 1.0
    rows = [[name, f"{value:.4f}", f"{value / total:.1%}"] for name, value in seconds.items()]
    return markdown(["stage", "seconds per pass", "share"], rows)


def markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose columns line up as plain text too; the first to the left."""
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        parts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(parts)} |"

    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return [line(names), line(rule), *(line(row) for row in rows)]


def write_json(measured: Sequence[Measured], path: Path) -> None:
    """Write machine, versions and every measured time."""
    values = {
        "emlb": __version__,
        "python": platform.python_version(),
        "onnxruntime": runtime_builds(),
        "machine": asdict(read_machine()),
        "settings": [asdict(m) | {"padding": m.padding, "spread": m.spread} for m in measured],
    }
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def check_plot(path: Path) -> None:
    """Make sure that the figure can be drawn, before anything is measured.

    Raises:
        ConfigError: if matplotlib is missing or the suffix is no format.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--plot is {path}; its name must end in {', '.join(SUFFIXES)}")
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("--plot: matplotlib is not installed: pip install 'emlb[figures]'")


def draw(measured: Sequence[Measured], path: Path) -> None:
    """Draw word pieces per second by workers, and the stages' shares."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "emlb", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        speed, stages = figure.subplots(1, 2, width_ratios=[1, 1.4])
        _draw_speed(speed, measured)
        _draw_stages(stages, measured[0])
        figure.suptitle(f"{measured[0].bundle}, {measured[0].precision}, {measured[0].provider}")
        figure.savefig(path, dpi=150)


def _draw_speed(axes: Any, measured: Sequence[Measured]) -> None:
    middles = [m.rate(m.tokens) for m in measured]
    low = [rate - m.tokens / max(m.passes) for rate, m in zip(middles, measured, strict=True)]
    high = [m.tokens / min(m.passes) - rate for rate, m in zip(middles, measured, strict=True)]
    names = [str(m.workers) for m in measured]
    axes.bar(names, middles, yerr=[low, high], capsize=4, color=_COLOURS[0])
    axes.set_xlabel("workers")
    axes.set_ylabel("word pieces per second")


def _draw_stages(axes: Any, measured: Measured) -> None:
    seconds = measured.stage_medians()
    total = sum(seconds.values()) or 1.0
    names = list(seconds)
    shares = [100 * seconds[name] / total for name in names]
    bars = axes.barh(names, shares, color=_COLOURS[: len(names)])
    axes.bar_label(bars, fmt="%.1f %%", padding=3)
    axes.set_xlim(0, 115)
    axes.invert_yaxis()
    axes.set_xlabel("share of the time in one thread (%)")
