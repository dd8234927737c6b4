"""Where `emlb-run` writes: standard output, a file that appears when complete, or a folder."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.errors import ConfigError

if TYPE_CHECKING:
    from emlb_runtime.formats.writers import Writer

STDOUT = "-"
FOLDER_FORMAT = "brat"


def check_output(out: str, *, format: str, notes: Sequence[Path]) -> None:
    """Refuse an output that cannot be written, or that would overwrite a note.

    Args:
        out: a file, a folder for brat, or ``-``.
        format: the output's format.
        notes: the files that will be read.

    Raises:
        ConfigError: saying what to name instead.
    """
    if format == FOLDER_FORMAT:
        _check_folder(out, notes)
    elif out != STDOUT:
        _check_file(out, notes)


@contextmanager
def open_output(out: str, *, format: str) -> Iterator[Writer]:
    """A writer for the output; a regular file takes its name only when all went well.

    Args:
        out: a file, a folder for brat, or ``-``.
        format: ``triples``, ``documents`` or ``brat``.
    """
    from emlb_runtime.formats.writers import open_writer

    if format != FOLDER_FORMAT and out == STDOUT:
        with _utf8_stdout() as stream, open_writer(format, stream) as writer:
            yield writer
    elif format == FOLDER_FORMAT or _is_special(out):
        with open_writer(format, Path(out)) as writer:
            yield writer
    else:
        partial = partial_path(out)
        try:
            with open_writer(format, partial) as writer:
                yield writer
            os.replace(partial, os.path.realpath(out))
        finally:
            if partial.exists() and partial.stat().st_size == 0:
                partial.unlink()


def partial_path(out: str) -> Path:
    """Where an output file grows until it is complete: beside it, links resolved."""
    return Path(os.path.realpath(out) + ".part")


@contextmanager
def _utf8_stdout() -> Iterator[io.TextIOWrapper]:
    """Standard output as UTF-8 with plain line ends, whatever the locale and platform."""
    sys.stdout.flush()
    stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="\n")
    try:
        yield stream
        stream.flush()
    finally:
        stream.detach()


def _is_special(out: str) -> bool:
    """A pipe or a device, which is written as it stands."""
    return os.path.exists(out) and not os.path.isfile(out)


def _check_file(out: str, notes: Sequence[Path]) -> None:
    if os.path.isdir(out):
        raise ConfigError(f"--out {out} is a folder: name a file, or choose --format brat")
    parent = os.path.dirname(os.path.realpath(out))
    if not os.path.isdir(parent):
        raise ConfigError(f"--out {out}: there is no folder {parent}; create it first")
    if _absolute(out) in map(_absolute, notes):
        raise ConfigError(f"--out {out} is one of the notes: name another file")


def _check_folder(out: str, notes: Sequence[Path]) -> None:
    if out == STDOUT:
        raise ConfigError("--format brat writes a folder: name it with --out")
    if os.path.exists(out) and not os.path.isdir(out):
        raise ConfigError(f"--out {out} is a file, but --format brat writes a folder: name one")
    # Each note is written again beside its annotations, so it would overwrite itself.
    if _absolute(out) in (os.path.dirname(_absolute(note)) for note in notes):
        raise ConfigError(f"--out {out} holds some of the notes: name another folder")


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)
