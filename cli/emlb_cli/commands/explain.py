"""`emlb explain`: where a model looked when it found the triples of a note."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.shared.console import one_sentence_errors
from emlb_cli.shared.enums import Precision

PROGRAM = "emlb explain"


def command(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A trained model's folder. Or a bundle: the relation head alone, for its "
            "encoder does not give its attention.",
        ),
    ],
    note: Annotated[
        str, typer.Argument(metavar="NOTE", help="One note's file, or - for standard input.")
    ],
    triple: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Only this triple, as numbered in the listing."),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Words to list, heaviest first.")
    ] = 8,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page that shades the words by weight."),
    ] = None,
    json_path: Annotated[
        Path | None,
        typer.Option(
            "--json", metavar="FILE", help="Write all weights, of every attention head, as JSON."
        ),
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Which of a bundle's encoders to run.")
    ] = None,
    encoding: Annotated[str, typer.Option(metavar="NAME", help="Encoding of the note.")] = "utf-8",
) -> None:
    """Show where the model looked for each triple that it finds in a note.

    The triples are those of emlb-run. Of each, the window that decided it is shown with the
    weights of its words: those that the relation head gave on behalf of the head mention and
    of the tail mention, and those of the encoder's last layer from the head mention. Each
    sums to one with the share of the special tokens. They say where the model looked, not
    why it decided.

    The listing and the two files hold text of the note: keep them as you keep the note.
    """
    with one_sentence_errors(PROGRAM):
        from emlb_export.explain_bundle import explain_file

        listing = explain_file(
            model,
            note,
            number=triple,
            top=top,
            html_path=html,
            json_path=json_path,
            precision=precision,
            encoding=encoding,
        )
        # As bytes: what a note holds need not be in the terminal's encoding.
        typer.echo(listing.encode("utf-8"))
