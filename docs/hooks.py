"""Fill pages as the site is built: the help of each command, and pages kept at the root."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any
from unittest import mock

_ROOT = Path(__file__).resolve().parent.parent
_INCLUDE = re.compile(r"^\{\{ include: (.+) \}\}$", re.MULTILINE)
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:]+)\)")
_HELP = re.compile(r"^\{\{ help: (.+) \}\}$", re.MULTILINE)
_WIDTH = 96


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace ``{{ help: COMMAND }}`` by that command's help, ``{{ include: FILE }}`` by a file."""
    markdown = _INCLUDE.sub(lambda found: include(found[1], Path(page.file.src_uri)), markdown)
    return _HELP.sub(lambda found: f"```text\n{command_help(found[1])}\n```", markdown)


def include(name: str, page: Path) -> str:
    """A file of the repository's root. Its links into ``docs`` lead on; others become words."""

    def link(found: re.Match[str]) -> str:
        words, target = found[1], Path(found[2])
        if target.parts[0] != "docs":
            return words
        return f"[{words}]({os.path.relpath(Path(*target.parts[1:]), page.parent)})"

    return _LINK.sub(link, (_ROOT / name).read_text(encoding="utf-8"))


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
    from emlb_cli.shared.run_parser import _parser

    with mock.patch.dict(os.environ, {"COLUMNS": str(_WIDTH)}):
        return _parser("emlb-run").format_help().rstrip()
