"""`emlb evaluate`: the scores of a model or a bundle on annotated notes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.common import one_sentence_errors
from emlb_cli.run import Precision

PROGRAM = "emlb evaluate"


def command(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A trained model's folder, or a bundle.")
    ],
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="A brat folder, or a JSONL file of corpora.")
    ],
    corpora: Annotated[
        list[str] | None,
        typer.Option(
            "--corpus", metavar="NAME", help="Only this corpus of a JSONL file. Repeatable."
        ),
    ] = None,
    split: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A run's splits.json: only the documents of --part."),
    ] = None,
    part: Annotated[str, typer.Option(help="train, dev or test of the split.")] = "test",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first notes, this many of each corpus.")
    ] = None,
    gold_mentions: Annotated[
        bool, typer.Option("--gold-mentions", help="Score relations on annotated mentions too.")
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the scores as JSON too.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Which of a bundle's encoders to score.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="The task to score, if there are several.")
    ] = None,
) -> None:
    """Score a model on annotated notes.

    The decoder is the one that is deployed, so that a score holds for emlb-run too.
    """
    with one_sentence_errors(PROGRAM, extra="train"):
        from emlb.evaluation.run import evaluate

        report = evaluate(
            model,
            data,
            corpora=corpora or [],
            split=split,
            part=part,
            limit=limit,
            gold_mentions=gold_mentions,
            json_path=json_path,
            precision=precision,
            task=task,
        )
        typer.echo(report.table())
