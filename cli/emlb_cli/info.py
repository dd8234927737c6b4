"""`emlb info`: what a bundle is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

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

        config = Bundle.load(bundle).config
        typer.echo(json.dumps(config, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    """What JSON lacks: records as objects, everything else as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: getattr(value, item.name) for item in dataclasses.fields(value)}
    return list(value) if isinstance(value, set | frozenset) else str(value)
