"""Arguments and options that several commands share, so that they mean and say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path,
    typer.Argument(
        metavar="DATA", help="Annotated documents: any corpus that emlb data inspect reads."
    ),
]
Corpora = Annotated[
    list[str] | None,
    typer.Option("--corpus", metavar="NAME", help="Only this corpus of a JSONL file. Repeatable."),
]
Split = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A run's splits.json, or a file of emlb data split: only the documents of --part.",
    ),
]
Part = Annotated[str, typer.Option(help="train, dev or test of the split.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first notes, this many of each corpus.")
]
Task = Annotated[
    str | None, typer.Option(metavar="TASK", help="The task to score, if there are several.")
]
Format = Annotated[
    str, typer.Option(metavar="NAME", help="The format, where it is not to be found out.")
]
Texts = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", help="The notes' texts, where they lie elsewhere; or MIMIC's table."
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="The column or member that names the notes of --text-column."
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Read raw notes from tables and JSON lines: their texts are in this column or member.",
    ),
]
