"""The ablation as Markdown, after the paper's Tables 5 and 6, and as CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence

from .modules import MODULES, REFERENCE
from .scoring import Dataset, Measure

_RATES = (("P", "precision"), ("R", "recall"), ("F1", "f1"))
_MICRO: dict[str, list[tuple[str, Measure]]] = {
    section: [(title, (section, "micro", value)) for title, value in _RATES]
    for section in ("entities", "relations", "relations_on_gold")
}
_ENTITIES: list[tuple[str, Measure]] = [
    *_MICRO["entities"],
    ("macro F1", ("entities", "macro", "f1")),
    ("mDice", ("entities", "macro", "mdice")),
]
_RELATIONS: list[tuple[str, Measure]] = [
    *_MICRO["relations"],
    ("macro F1", ("relations", "macro", "f1")),
    *((f"{title} (gold)", measure) for title, measure in _MICRO["relations_on_gold"]),
]
_PARTS = {"test": "test", "dev": "development"}


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and the sample standard deviation of two values or more."""
    mean = statistics.fmean(values)
    return mean, statistics.stdev(values) if len(values) > 1 else None


def render(datasets: Sequence[Dataset], *, command: str) -> str:
    """The Markdown page: how it was made, what was scored, a table each of entities and relations.

    Args:
        datasets: in the order to show them.
        command: what makes it again.
    """
    lines = ["# Ablation", "", "```", command, "```", "", *_legend(), ""]
    for dataset in datasets:
        seeds = dict.fromkeys(figures.seed for figures in dataset.figures)
        lines.append(
            f"* {dataset.name}: {dataset.documents} {_PARTS[dataset.part]} documents; "
            f"seeds {', '.join(map(str, seeds))}"
        )
    lines += ["", "## Entities", "", *_table(datasets, _ENTITIES)]
    lines += ["", "## Relations", "", *_table(datasets, _RELATIONS)]
    return "\n".join(lines) + "\n"


def _legend() -> list[str]:
    modules = "; ".join(
        f"{m.name} = {m.entity_head} + {m.relation_head}, "
        + ("one joint model" if m.sharing == "joint" else "a model each")
        for m in MODULES
    )
    return [
        f"{modules}.",
        "",
        "Strict matching, in percent, mean ± standard deviation over the seeds. P, R and F1 pool "
        "all types (micro); macro F1 is the mean over types; mDice is that of the `paper` "
        "protocol. Relations end to end, between the mentions that the module finds; (gold): "
        "between the annotated ones.",
        "",
        f"\\* differs from {REFERENCE}: the 95 % interval of the difference (paired bootstrap "
        "over documents, the tallies of all seeds summed per document) does not hold zero.",
    ]


def _table(datasets: Sequence[Dataset], columns: Sequence[tuple[str, Measure]]) -> list[str]:
    lines = [
        _line(["dataset", "module", *(title for title, _ in columns)]),
        _line(["---", "---", *("---:" for _ in columns)]),
    ]
    for dataset in datasets:
        for module in MODULES:
            cells = [_cell(dataset, module.name, measure) for _, measure in columns]
            lines.append(_line([dataset.name, module.name, *cells]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(dataset: Dataset, module: str, measure: Measure) -> str:
    mean, deviation = mean_and_deviation(dataset.of(module, measure))
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    star = "\\*" if dataset.is_apart(module, measure) else ""
    return f"{100 * mean:.1f}{spread}{star}"


def to_csv(datasets: Sequence[Dataset]) -> str:
    """Every run's figures, one a line, as fractions of one."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["dataset", "part", "module", "seed", "section", "average", "value", "figure"])
    for dataset in datasets:
        for figures in dataset.figures:
            for measure, value in figures.values.items():
                where = (dataset.name, dataset.part, figures.module, figures.seed)
                writer.writerow([*where, *measure, f"{value:.6f}"])
    return lines.getvalue()
