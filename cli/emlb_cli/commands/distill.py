"""`emlb distill`: one model from an ensemble of the same size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors

PROGRAM = "emlb distill"


def command(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", help="A TOML file, or the name of a recipe that comes along."
        ),
    ],
    teachers: Annotated[
        list[Path],
        typer.Argument(metavar="TEACHER…", help="Trained models of the same tasks."),
    ],
    notes: Annotated[
        list[str],
        typer.Option(
            metavar="PATH",
            help="Raw notes for the teachers to label, below the data folder. Repeatable.",
        ),
    ],
    windows: Annotated[
        int | None, typer.Option(min=1, help="How many windows of them to label.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting. Repeatable."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard what a run of this name left, and start over.")
    ] = False,
) -> None:
    """Train a model on what an ensemble is sure of in raw notes, beside the corpora.

    The same as emlb train with a [distillation] section in CONFIG. Give the student a name of
    its own with --set name=…. With --set distillation.targets=soft it learns the ensemble's
    probabilities, on the corpora too, and the teachers may have another tokenizer.
    """
    interrupted = "interrupted; the same command goes on from the last checkpoint"
    with one_sentence_errors(PROGRAM, extra="train", if_interrupted=interrupted):
        from emlb.training.train import train

        section = {
            "teachers": json.dumps([str(teacher) for teacher in teachers]),
            "notes": json.dumps(notes),
            **({"windows": str(windows)} if windows else {}),
        }
        settings = [f"distillation.{key}={value}" for key, value in section.items()]
        folder = train(
            config, overrides=[*(overrides or []), *settings], fresh=fresh, say=typer.echo
        )
        typer.echo(folder)
