"""`emlb train`: a model from corpora, as a configuration file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors

PROGRAM = "emlb train"


def command(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG", help="A TOML file, or the name of a recipe that comes along."
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a setting of the recipe, such as training.epochs=4. Repeatable.",
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Discard what a run of this name left, and start over.")
    ] = False,
) -> None:
    """Train a model.

    A run that was cut off goes on from its last checkpoint when the same command is given
    again.
    """
    interrupted = "interrupted; the same command goes on from the last checkpoint"
    with one_sentence_errors(PROGRAM, extra="train", if_interrupted=interrupted):
        from emlb.training.train import train

        folder = train(config, overrides=overrides or [], fresh=fresh, say=typer.echo)
        typer.echo(folder)
