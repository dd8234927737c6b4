"""Fill pages from the code as the site is built: the help of each command."""

from __future__ import annotations

import re
import shlex
from typing import Any

_HELP = re.compile(r"^\{\{ help: (.+) \}\}$", re.MULTILINE)
_WIDTH = 96


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace ``{{ help: COMMAND }}`` by what that command prints for ``--help``."""
    return _HELP.sub(lambda found: f"```text\n{command_help(found[1])}\n```", markdown)


def command_help(command: str) -> str:
    """The help of ``emlb-run`` or of a command of ``emlb``.

    Raises:
        KeyError: if there is no such command.
    """
    program, *path = shlex.split(command)
    if program == "emlb-run":
        return _run_help()
    import typer.main

    from emlb_cli.app import app

    found: Any = typer.main.get_command(app)
    context = found.make_context("emlb", [], resilient_parsing=True)
    for name in path:
        found = found.commands[name]
        context = type(context)(found, parent=context, info_name=name)
    context.terminal_width = context.max_content_width = _WIDTH
    return str(found.get_help(context)).rstrip()


def _run_help() -> str:
    import os
    from unittest import mock

    from emlb_cli.shared.run_parser import _parser

    with mock.patch.dict(os.environ, {"COLUMNS": str(_WIDTH)}):
        return _parser("emlb-run").format_help().rstrip()
