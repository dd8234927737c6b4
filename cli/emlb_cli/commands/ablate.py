"""`emlb ablate`: the paper's four modules over several seeds, compared."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors

PROGRAM = "emlb ablate"


def command(
    configs: Annotated[
        list[Path],
        typer.Argument(
            metavar="CONFIG…", help="TOML files, or names of recipes that come along: the datasets."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where tables, figures and scores go.")
    ],
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each module, a seed each.")] = 3,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting of every CONFIG. Repeatable."
        ),
    ] = None,
) -> None:
    """Show what each part of the model adds.

    Four modules are trained on every dataset: baseline (softmax and linear heads, a model for
    entities and one for relations), ete (CRF and bilinear heads), MTL (the plain heads in one
    joint model) and ete+MTL (the whole). FOLDER receives ablation.md, .csv and .json, and
    figures if matplotlib is installed.

    Finished runs are kept and one that was cut off goes on: give the same command again.
    """
    interrupted = "interrupted; the same command goes on from the last checkpoint"
    with one_sentence_errors(PROGRAM, extra="train", if_interrupted=interrupted):
        from emlb.ablation.ablate import ablate

        typer.echo(ablate(configs, seeds=seeds, out=out, overrides=overrides or [], say=typer.echo))
