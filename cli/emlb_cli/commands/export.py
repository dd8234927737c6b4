"""`emlb export`: a trained model as a bundle that runs without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors
from emlb_cli.shared.enums import Precision, Quantizer
from emlb_runtime.errors import ConfigError

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
        bool,
        typer.Option("--quantize", help="Keep int8 weights: the bundle runs in int8, or fp32."),
    ] = False,
    quantizer: Annotated[
        Quantizer | None,
        typer.Option(
            help="As --quantize: the int8 encoder is EMLB's own, or optimum's for a kind of"
            " processor (pip install 'emlb[optimum]').  [default: emlb]",
        ),
    ] = None,
    int8_only: Annotated[
        bool,
        typer.Option("--int8-only", help="The same as --quantize; for older scripts."),
    ] = False,
    precisions: Annotated[
        list[Precision] | None,
        typer.Option(
            "--precision",
            help="What the bundle can run in, fp16 being for GPUs; repeat for several."
            "  [default: fp32]",
        ),
    ] = None,
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
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The corpora of the training, if they moved: on their development parts"
            " thresholds and calibration of each precision are chosen.",
        ),
    ] = None,
    tuned: Annotated[
        bool,
        typer.Option(
            "--tune/--no-tune",
            help="Choose them for each precision, or keep those of the training.",
        ),
    ] = True,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RELATION=SCORE",
            help="Report a relation from this score, in place of the best for F1. Repeatable.",
        ),
    ] = None,
    max_loss: Annotated[
        float,
        typer.Option(
            metavar="POINTS", min=0.0, help="F1 that int8 may cost on the development parts."
        ),
    ] = 0.3,
    force: Annotated[
        bool, typer.Option("--force", help="Write the bundle even if int8 costs more.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the bundle if there is one.")
    ] = False,
) -> None:
    """Export a model to ONNX, verify it, and write the bundle."""
    with one_sentence_errors(PROGRAM, extra="export"):
        from emlb_export.export import export

        bundle = export(
            model,
            out=out,
            quantize=quantize,
            quantizer=quantizer.value if quantizer else None,
            int8_only=int8_only,
            precisions=[precision.value for precision in precisions or ()],
            name=name,
            version=version,
            notes=notes,
            overwrite=overwrite,
            eval_data=eval_data,
            data=data,
            tuned=tuned,
            thresholds=_parse(threshold or ()),
            max_loss=max_loss,
            force=force,
            say=typer.echo,
        )
        typer.echo(bundle)


def _parse(given: Sequence[str]) -> dict[str, float]:
    """Thresholds by relation type.

    Raises:
        ConfigError: if one is not RELATION=SCORE.
    """
    thresholds: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            thresholds[name] = float(value)
        except ValueError:
            raise ConfigError(f"--threshold {text}: write it as RELATION=SCORE") from None
    return thresholds
