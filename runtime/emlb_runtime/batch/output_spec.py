"""What `emlb-run` is asked to write, and whether that can be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from emlb_runtime.errors import ConfigError
from emlb_runtime.formats.writers import FORMATS

from .compression import Compression, check_compression, compression_of
from .writers import part_of

STDOUT = "-"
FOLDER_FORMAT = "brat"
STATE = ".state"
FOLDER_STATE = "emlb-run.state"


@dataclass(frozen=True)
class OutputSpec:
    """What is to be written, and where.

    Attributes:
        out: a file, a folder for brat and for shards, or ``-``.
        format: ``triples``, ``documents`` or ``brat``.
        compress: of the file or the shards; None goes by how the file's name ends.
        shard_notes: notes to a shard; None for a single file.
        redact_text: leave the text of mentions out.
        keep_text: write the text of notes into documents.
        asserted: leave out relations that are no facts.

    Raises:
        ConfigError: if the format is unknown.
    """

    out: str
    format: str = "triples"
    compress: Compression | None = None
    shard_notes: int | None = None
    redact_text: bool = False
    keep_text: bool = False
    asserted: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", str(self.out))  # a Path says the same
        if self.format not in FORMATS:
            raise ConfigError(
                f"unknown output format {str(self.format)!r}; choose {', '.join(FORMATS)}"
            )

    def settings(self) -> dict[str, str]:
        """The options by name, as a run's fingerprint has them: all but the place."""
        return {
            f"--{field.name.replace('_', '-')}": str(getattr(self, field.name))
            for field in fields(self)
            if field.name not in ("out", "compress")
        } | {"--compress": str(self.compression)}

    @property
    def compression(self) -> Compression:
        """How files are compressed."""
        if self.compress is not None:
            return self.compress
        is_named = not self.is_folder and self.out != STDOUT
        return compression_of(self.out) if is_named else Compression.NONE

    @property
    def is_folder(self) -> bool:
        """Whether many files are written."""
        return self.format == FOLDER_FORMAT or self.shard_notes is not None

    @property
    def is_resumable(self) -> bool:
        """Whether a broken run can be continued."""
        return self.is_folder or not (self.out == STDOUT or _is_special(self.out))

    @property
    def path(self) -> Path:
        """The file or folder, links resolved."""
        return Path(os.path.realpath(self.out))

    @property
    def growing(self) -> Path:
        """Where what is written so far lies."""
        return self.path if self.is_folder else part_of(self.path)

    @property
    def state(self) -> Path:
        """The state file of an unfinished run."""
        if self.is_folder:
            return self.path / FOLDER_STATE
        return self.path.with_name(self.path.name + STATE)

    def leftovers(self) -> list[Path]:
        """What an unfinished run may have written where inputs are looked for."""
        if not self.is_resumable or not self.state.exists():
            return []
        return [self.path, self.growing, self.state]


def check_output(target: OutputSpec, *, notes: Sequence[Path]) -> None:
    """Refuse an output that cannot be written, or that would overwrite a note.

    Args:
        target: what is to be written.
        notes: the files that will be read.

    Raises:
        ConfigError: saying what to name instead.
    """
    _check_options(target)
    if target.is_folder:
        _check_folder(target, notes)
    elif target.out != STDOUT:
        _check_file(target.out, notes)


def check_part(part: Path) -> None:
    """Refuse to grow a file where one lies already that no unfinished run has left.

    Raises:
        ConfigError: naming it.
    """
    if os.path.lexists(part):
        raise ConfigError(
            f"{part} is there, without the state file of an unfinished run: move it away, or name"
            " another --out"
        )


def _is_special(out: str) -> bool:
    """A pipe or a device, which is written as it stands."""
    return os.path.exists(out) and not os.path.isfile(out)


def _check_options(target: OutputSpec) -> None:
    check_compression(target.compression)
    if target.keep_text and (target.format != "documents" or target.redact_text):
        raise ConfigError(
            "--keep-text writes whole notes into documents: choose --format documents without"
            " --redact-text"
        )
    if target.format == FOLDER_FORMAT:
        if target.redact_text:
            raise ConfigError(
                "--redact-text: brat keeps every note beside its annotations, so that no text"
                " can be left out; choose --format triples or documents"
            )
        for option, is_given in (
            ("--shard-notes", target.shard_notes is not None),
            ("--compress", target.compression is not Compression.NONE),
        ):
            if is_given:
                raise ConfigError(f"{option} is for triples and documents, not for brat's files")
    elif not target.is_resumable and target.compression is not Compression.NONE:
        raise ConfigError("--compress is for files: name one with --out, or pipe through gzip")


def _check_file(out: str, notes: Sequence[Path]) -> None:
    if os.path.isdir(out):
        raise ConfigError(
            f"--out {out} is a folder: name a file, or choose --format brat or --shard-notes"
        )
    parent = os.path.dirname(os.path.realpath(out))
    if not os.path.isdir(parent):
        raise ConfigError(f"--out {out}: there is no folder {parent}; create it first")
    if _absolute(out) in map(_absolute, notes):
        raise ConfigError(f"--out {out} is one of the notes: name another file")


def _check_folder(target: OutputSpec, notes: Sequence[Path]) -> None:
    out = target.out
    option = "--format brat" if target.format == FOLDER_FORMAT else "--shard-notes"
    if out == STDOUT:
        raise ConfigError(f"{option} writes a folder: name it with --out")
    if os.path.exists(out) and not os.path.isdir(out):
        raise ConfigError(f"--out {out} is a file, but {option} writes a folder: name one")
    # Each note is written again beside its annotations, so it would overwrite itself.
    if _absolute(out) in (os.path.dirname(_absolute(note)) for note in notes):
        raise ConfigError(f"--out {out} holds some of the notes: name another folder")


def _absolute(path: str | Path) -> str:
    return os.path.abspath(path)
