"""`emlb info`: what a bundle is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from emlb_cli.common import one_sentence_errors

PROGRAM = "emlb info"


def command(
    bundle: Annotated[
        Path | None,
        typer.Argument(metavar="BUNDLE", help="A bundle's folder.  [default: bundled model]"),
    ] = None,
) -> None:
    """Check a bundle and show its configuration as JSON."""
    with one_sentence_errors(PROGRAM):
        from emlb_runtime.bundle import Bundle

        checked = Bundle.load(bundle)
        checked.verify()
        typer.echo(json.dumps(checked.config.to_json(), ensure_ascii=False, indent=2))
