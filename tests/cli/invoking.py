"""Runs `emlb-run` within the test's own process."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from emlb_cli import run
from emlb_runtime.extraction.recipe import Recipe

DEFAULT_RECIPE = Recipe(None, "auto", None, None, 0.0, None)
"""How the stand-ins for an extractor say that they were loaded."""


@dataclass(frozen=True)
class Result:
    """What a command has left: its exit code, and what it wrote."""

    exit_code: int
    stdout_bytes: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """As text, line ends untouched."""
        return self.stdout_bytes.decode()


def invoke(arguments: Sequence[str], input: bytes | None = None) -> Result:
    """Run the command; an exception that it does not handle is raised here."""
    given, out, error = (
        # As the interpreter opens them; names that are not Unicode go to standard error too.
        io.TextIOWrapper(io.BytesIO(data), "utf-8", errors=errors, newline="")
        for data, errors in ((input or b"", "strict"), (b"", "strict"), (b"", "backslashreplace"))
    )
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(sys, "stdin", given))
        stack.enter_context(redirect_stdout(out))
        stack.enter_context(redirect_stderr(error))
        code = 0
        try:
            run.command(arguments)
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            code = stop.code
        written = []
        for stream in (out, error):
            stream.flush()
            assert isinstance(stream.buffer, io.BytesIO)
            written.append(stream.buffer.getvalue())
    return Result(code, written[0], written[1].decode())
