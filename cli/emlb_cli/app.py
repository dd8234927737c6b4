"""`emlb`: the commands around a model. Each imports what it needs when it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from emlb_cli.commands import (
    ablate,
    bench,
    data,
    distill,
    evaluate,
    explain,
    export,
    info,
    pretrain,
    stability,
    train,
)
from emlb_cli.shared.console import print_version

PROGRAM = "emlb"

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("pretrain", no_args_is_help=True)(pretrain.command)
app.command("train", no_args_is_help=True)(train.command)
app.command("distill", no_args_is_help=True)(distill.command)
app.command("ablate", no_args_is_help=True)(ablate.command)
app.command("evaluate", no_args_is_help=True)(evaluate.command)
app.command("stability", no_args_is_help=True)(stability.command)
app.command("export")(export.command)
app.command("explain", no_args_is_help=True)(explain.command)
app.command("info")(info.command)
app.command("bench", no_args_is_help=True)(bench.command)
app.add_typer(data.app, name="data", help="Look into corpora, divide them, change their format.")


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            callback=lambda asked: print_version(PROGRAM, asked),
            is_eager=True,
        ),
    ] = False,
) -> None:
    """Train, score and export the models that emlb-run extracts with."""


def main() -> None:
    """The entry point of ``emlb``."""
    app(prog_name=PROGRAM)


if __name__ == "__main__":
    main()
