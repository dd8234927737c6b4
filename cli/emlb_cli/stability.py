"""`emlb stability`: how far retrained models agree with each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.common import one_sentence_errors

PROGRAM = "emlb stability"


def command(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL MODEL…",
            help="Trained models' folders, bundles, or predicted documents: two at least.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="Annotated documents: any corpus that emlb data inspect reads."
        ),
    ],
    corpora: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus", metavar="NAME", help="Only this corpus of a JSONL file. Repeatable."
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A run's splits.json, or a file of emlb data split: only the documents of --part.",
        ),
    ] = None,
    part: Annotated[str, typer.Option(help="train, dev or test of the split.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first notes, this many of each corpus.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="The task to look at, if there are several.")
    ] = None,
    samples: Annotated[
        int,
        typer.Option(
            "--bootstrap",
            metavar="SAMPLES",
            min=0,
            help="Resamplings of the documents for the 95 % intervals; 0 for none.",
        ),
    ] = 1000,
    format: Annotated[
        str, typer.Option(metavar="NAME", help="The data's format, where it is not found out.")
    ] = "auto",
    texts: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The notes' texts, where they lie elsewhere."),
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON too.")
    ] = None,
) -> None:
    """Compare what retrained models predict: jitter, churn, local instability.

    Gold says only how accurate each of them is; a model that is retrained can change much of
    what it predicts and score the same.
    """
    with one_sentence_errors(PROGRAM, extra="train"):
        from emlb.evaluation.stability_report import compare_models

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
