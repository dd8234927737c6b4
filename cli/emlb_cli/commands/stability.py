"""`emlb stability`: how far retrained models agree with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors
from emlb_cli.shared.options import Corpora, Data, Format, Limit, Part, Split, Task, Texts

PROGRAM = "emlb stability"


def command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL MODEL…",
            help="Trained models' folders, bundles, or predicted documents: two at least.",
        ),
    ],
    data: Data,
    corpora: Corpora = None,
    split: Split = None,
    part: Part = "test",
    limit: Limit = None,
    task: Task = None,
    samples: Annotated[
        int,
        typer.Option(
            "--bootstrap",
            metavar="SAMPLES",
            min=0,
            help="Resamplings of the documents for the 95 % intervals; 0 for none.",
        ),
    ] = 1000,
    format: Format = "auto",
    texts: Texts = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON too.")
    ] = None,
) -> None:
    """Compare what retrained models predict: jitter, churn, local instability.

    Gold says only how accurate each of them is; a model that is retrained can change much of
    what it predicts and score the same.
    """
    with one_sentence_errors(PROGRAM, extra="train"):
        from emlb.evaluation.comparison.stability_report import compare_models

        report = compare_models(
            models,
            data,
            corpora=corpora or [],
            split=split,
            part=part,
            limit=limit,
            task=task,
            format=format,
            texts=texts,
            samples=samples,
            json_path=json_path,
        )
        typer.echo(report.table())
