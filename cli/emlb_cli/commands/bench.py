"""`emlb bench`: how fast a bundle is on your notes and your machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors
from emlb_cli.shared.enums import Precision, Provider
from emlb_runtime.errors import ConfigError

PROGRAM = "emlb bench"


def command(
    notes: Annotated[
        list[str],
        typer.Argument(
            metavar="NOTES", help="Note files, patterns, folders or tables, as emlb-run takes them."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(metavar="BUNDLE", help="Folder of an exported model.  [default: bundled]"),
    ] = None,
    provider: Annotated[Provider, typer.Option(help="See emlb-run.")] = Provider.AUTO,
    precision: Annotated[
        Precision | None, typer.Option(help="Which encoder to run.  [default: the bundle's own]")
    ] = None,
    workers: Annotated[
        str,
        typer.Option(
            metavar="N,N", help="Numbers of workers to compare, such as 1,2.  [default: emlb-run's]"
        ),
    ] = "",
    repeat: Annotated[
        int, typer.Option(metavar="N", min=1, help="Measured passes, after one to warm up.")
    ] = 3,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write every measured time as JSON too."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw speed and stages; .png and .pdf work too."),
    ] = None,
) -> None:
    """Measure speed, stages and memory on your notes, and show them as a table in Markdown.

    Each number of workers has a process of its own. Figures of a machine that does other work
    meanwhile say little. Neither the notes nor what is found in them is shown or kept.
    """
    with one_sentence_errors(PROGRAM):
        from emlb_cli.shared import bench_tables as bench_output
        from emlb_runtime.profiling.benchmark import Setting, measure_apart

        if plot is not None:
            bench_output.check_plot(plot)
        setting = Setting(
            tuple(notes),
            model=None if model is None else str(model),
            provider=provider,
            precision=precision,
            repeat=repeat,
        )
        measured = [
            measure_apart(replace(setting, workers=number)) for number in parse_workers(workers)
        ]
        typer.echo(bench_output.render(measured))
        if json_path is not None:
            bench_output.write_json(measured, json_path)
        if plot is not None:
            bench_output.draw(measured, plot)


def parse_workers(text: str) -> list[int | None]:
    """The numbers in ``1,2,4``; one None for nothing.

    Raises:
        ConfigError: if one is no number, or below 1.
    """
    numbers: list[int | None] = []
    for part in text.split(",") if text else []:
        if not part.strip().isdecimal() or int(part) < 1:
            raise ConfigError(f"--workers is {text!r}; give numbers from 1, such as 1,2,4")
        numbers.append(int(part))
    return numbers or [None]
