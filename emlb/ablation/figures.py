"""Bars of the modules per dataset, after the paper's Figures 10 and 11."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .modules import MODULES
from .scoring import Dataset, Measure
from .table import mean_and_deviation

MISSING = (
    "no figures: matplotlib is not installed; pip install 'emlb[figures]' and give the command "
    "again"
)
FIGURES: dict[str, tuple[str, Measure]] = {
    "entities": ("Entities, strict micro F1 (%)", ("entities", "micro", "f1")),
    "relations": ("Relations end to end, strict micro F1 (%)", ("relations", "micro", "f1")),
}
"""By file name, the axis and what is drawn."""

# Okabe and Ito's colours, told apart whatever one's colour vision; they differ in lightness too.
_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#0072B2")
_WIDTH = 0.8  # of a dataset's bars together, in units of the distance between datasets


def draw(datasets: Sequence[Dataset], folder: Path, say: Callable[[str], None]) -> list[Path]:
    """Write a PNG and an SVG for entities and for relations; the same figures, the same bytes.

    Args:
        datasets: one group of bars each.
        folder: where to write.
        say: is told if matplotlib is not installed.

    Returns:
        The files; none without matplotlib.
    """
    if importlib.util.find_spec("matplotlib") is None:
        say(MISSING)
        return []
    import matplotlib

    written = []
    # Ids in an SVG are random and text is curves, unless told otherwise.
    with matplotlib.rc_context({"svg.hashsalt": "emlb", "svg.fonttype": "none"}):
        for name, (title, measure) in FIGURES.items():
            figure = _figure(datasets, title, measure)
            for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                path = folder / f"{name}.{suffix}"
                figure.savefig(path, dpi=150, metadata=metadata)
                written.append(path)
    return written


def _figure(datasets: Sequence[Dataset], title: str, measure: Measure) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.5 + 1.8 * len(datasets), 3.6), layout="constrained")
    axes = figure.add_subplot()
    width = _WIDTH / len(MODULES)
    for index, (module, colour) in enumerate(zip(MODULES, _COLOURS, strict=True)):
        spread = [mean_and_deviation(dataset.of(module.name, measure)) for dataset in datasets]
        axes.bar(
            [group + (index + 0.5) * width - _WIDTH / 2 for group in range(len(datasets))],
            [100 * mean for mean, _ in spread],
            width=0.92 * width,
            yerr=[math.nan if sd is None else 100 * sd for _, sd in spread],
            color=colour,
            label=module.name,
            error_kw={"elinewidth": 1, "capsize": 3, "ecolor": "#333333"},
        )
    axes.set_xticks(range(len(datasets)), [dataset.name for dataset in datasets])
    axes.set_ylabel(title)
    axes.set_ylim(bottom=0)
    axes.set_axisbelow(True)
    axes.yaxis.grid(visible=True, color="#DDDDDD", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(MODULES), frameon=False)
    return figure
