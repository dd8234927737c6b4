"""`emlb export`: a trained model as a bundle that runs without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.common import one_sentence_errors

PROGRAM = "emlb export"


def command(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="MODEL", help="A trained model's folder.  [default: the last trained run]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="The bundle's folder.  [default: a folder beside the model]"
        ),
    ] = None,
    quantize: Annotated[
        bool, typer.Option("--quantize", help="Add an int8 encoder to the bundle.")
    ] = False,
    int8_only: Annotated[
        bool,
        typer.Option("--int8-only", help="As --quantize, and leave the fp32 encoder out."),
    ] = False,
    name: Annotated[
        str | None, typer.Option(help="The bundle's name.  [default: the model's]")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="The model's version.  [default: EMLB's own]")
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Notes on which torch and ONNX must agree."),
    ] = None,
    eval_data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Annotated notes to score for the model card."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the bundle if there is one.")
    ] = False,
) -> None:
    """Export a model to ONNX, verify it, and write the bundle."""
    with one_sentence_errors(PROGRAM, extra="export"):
        from emlb_export.run import export

        bundle = export(
            model,
            out=out,
            quantize=quantize,
            int8_only=int8_only,
            name=name,
            version=version,
            notes=notes,
            overwrite=overwrite,
            eval_data=eval_data,
            say=typer.echo,
        )
        typer.echo(bundle)
