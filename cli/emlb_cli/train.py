"""`emlb train`: a model from corpora, as a configuration file says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.common import one_sentence_errors
from emlb_runtime.errors import ConfigError

PROGRAM = "emlb train"


def command(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="The training recipe, a TOML file.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a setting of the recipe, such as training.epochs=4. Repeatable.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over, though the run has checkpoints.")
    ] = False,
) -> None:
    """Train a model."""
    interrupted = f"interrupted; emlb train {config} --resume goes on from the last checkpoint"
    with one_sentence_errors(PROGRAM, extra="train", if_interrupted=interrupted):
        if resume and fresh:
            raise ConfigError("--resume and --fresh exclude each other: give one of them")
        from emlb.training.run import train

        folder = train(config, overrides=overrides or [], resume=resume, fresh=fresh)
        typer.echo(folder)
