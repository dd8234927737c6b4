"""`emlb evaluate`: the scores of a model or a bundle on annotated notes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors
from emlb_cli.shared.enums import Precision
from emlb_cli.shared.options import Corpora, Data, Format, Limit, Part, Split, Task, Texts

PROGRAM = "emlb evaluate"


def command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A trained model's folder, a bundle, or predicted documents."
        ),
    ],
    data: Data,
    corpora: Corpora = None,
    split: Split = None,
    part: Part = "test",
    limit: Limit = None,
    gold_mentions: Annotated[
        bool, typer.Option("--gold-mentions", help="Score relations on annotated mentions too.")
    ] = False,
    calibration: Annotated[
        bool,
        typer.Option(
            "--calibration", help="Say how far scores are probabilities: ECE, and bins of scores."
        ),
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the scores as JSON too.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Which of a bundle's encoders to score.")
    ] = None,
    task: Task = None,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Score by the rules of a shared task or paper: n2c2, tempeval, shareclef, "
            "semeval2015, ade, paper; or standard, EMLB's own.",
        ),
    ] = "",
    samples: Annotated[
        int,
        typer.Option(
            "--bootstrap",
            metavar="SAMPLES",
            min=0,
            help="Give 95 % intervals, from so many resamplings of the documents.",
        ),
    ] = 0,
    compare: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Another model, bundle or predictions: give the difference to it and its "
            "interval.",
        ),
    ] = None,
    format: Format = "auto",
    texts: Texts = None,
) -> None:
    """Score a model on annotated notes.

    The decoder is the one that is deployed, so that a score holds for emlb-run too.
    """
    with one_sentence_errors(PROGRAM, extra="train"):
        from emlb.evaluation.evaluate import evaluate
        from emlb.evaluation.protocol_scores import Judging

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
            format=format,
            texts=texts,
            judging=Judging(protocol, samples, compare),
            calibrated=calibration,
        )
        typer.echo(report.table())
