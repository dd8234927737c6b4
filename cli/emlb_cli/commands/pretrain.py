"""`emlb pretrain`: a base encoder for `emlb train`, from raw notes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors
from emlb_cli.shared.options import IdColumn, TextColumn
from emlb_runtime.batch.inputs import choose_columns

PROGRAM = "emlb pretrain"


def command(
    notes: Annotated[
        list[str],
        typer.Argument(
            metavar="NOTES...",
            help="Notes: .txt files, JSON lines with a text each, MIMIC's NOTEEVENTS.csv[.gz], "
            "annotated corpora; folders and patterns of them. Each text is used once.",
        ),
    ],
    base: Annotated[
        str, typer.Option(help="An encoder: a folder, a hub id, or package:NAME/FOLDER.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the encoder goes.")],
    epochs: Annotated[float, typer.Option(help="Passes over the notes at most.")] = 3.0,
    steps: Annotated[int, typer.Option(min=0, help="Updates at most, in place of --epochs.")] = 0,
    minutes: Annotated[
        float, typer.Option(min=0, help="Minutes of training at most; 0 is without limit.")
    ] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows per step.")] = 32,
    accumulate: Annotated[int, typer.Option(min=1, help="Steps per update.")] = 1,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = 1e-4,
    max_pieces: Annotated[int, typer.Option(help="Pieces of a window.")] = 160,
    held_out: Annotated[
        float,
        typer.Option(help="Share of the notes kept to measure the perplexity on; 0 for none."),
    ] = 0.05,
    precision: Annotated[
        str,
        typer.Option(help="auto (what the machine computes natively), bf16, fp16 or fp32."),
    ] = "auto",
    id_column: IdColumn = None,
    text_column: TextColumn = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 13,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard what a run left in the folder.")
    ] = False,
) -> None:
    """Train an encoder further on raw notes, to guess words that are hidden from it.

    What is reached first, epochs (or steps) or minutes, ends the run. A run that was cut off
    goes on from its last checkpoint when the same command is given again.
    """
    interrupted = "interrupted; the same command goes on from the last checkpoint"
    with one_sentence_errors(PROGRAM, extra="train", if_interrupted=interrupted):
        from emlb.pretraining.options import PretrainingOptions
        from emlb.pretraining.pretrain import pretrain

        options = PretrainingOptions(
            epochs=epochs,
            steps=steps,
            minutes=minutes,
            batch_size=batch_size,
            gradient_accumulation=accumulate,
            rate=rate,
            max_pieces=max_pieces,
            held_out=held_out,
            precision=precision,  # type: ignore[arg-type]  # checked there
            seed=seed,
        )
        folder = pretrain(
            notes,
            base,
            out=out,
            options=options,
            columns=choose_columns(id_column, text_column),
            fresh=fresh,
            say=typer.echo,
        )
        typer.echo(folder)
