"""The reliability plot: share of predictions that is right against their score."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .measure import Bin, Calibration

TITLES = {"entities": "Entities", "relations": "Triples", "attributes": "Attributes"}


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(measured: Mapping[str, Calibration], path: Path) -> None:
    """Write the plot as SVG; the same figures, the same bytes.

    Bars give the share that is right in each bin of scores, the dots the bin's mean score;
    the diagonal is where they belong. A dot's area grows with the number of predictions.

    Args:
        measured: per kind of item.
        path: the file.
    """
    import matplotlib
    from matplotlib.figure import Figure

    # Ids in an SVG are random and text is curves, unless told otherwise.
    with matplotlib.rc_context({"svg.hashsalt": "emlb", "svg.fonttype": "none"}):
        figure = Figure(figsize=(3.4 * len(measured), 3.5), layout="constrained")
        panels = figure.subplots(1, len(measured), squeeze=False, sharey=True)[0]
        for axes, (section, calibration) in zip(panels, measured.items(), strict=True):
            _panel(axes, calibration.equal_width)
            axes.set_title(
                f"{TITLES.get(section, section)}: {calibration.count:,} predicted, "
                f"ECE {100 * calibration.error:.1f} %",
                fontsize=9,
            )
        panels[0].set_ylabel("share right")
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Any, bins: tuple[Bin, ...]) -> None:
    total = sum(bin.count for bin in bins) or 1
    axes.bar(
        [bin.low for bin in bins],
        [bin.right for bin in bins],
        width=[0.96 * (bin.high - bin.low) for bin in bins],
        align="edge",
        color="#56B4E9",
    )
    axes.scatter(
        [bin.score for bin in bins],
        [bin.right for bin in bins],
        s=[8 + 200 * bin.count / total for bin in bins],
        color="#0072B2",
        zorder=3,
    )
    axes.plot([0, 1], [0, 1], color="#333333", linewidth=1, linestyle="--", zorder=2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.set_xlabel("score")
    axes.spines[["top", "right"]].set_visible(False)
