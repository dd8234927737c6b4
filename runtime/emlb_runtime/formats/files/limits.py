"""How much of a note, a line or a file is read before it is refused.

Files come from elsewhere, and one may be ten gigabytes by mistake or by design. No reader
takes in more than its limit, so that refusing a monster costs the limit and not the monster.
Each limit is far above what is known to exist, and can be raised or lowered in the
environment: ``EMLB_MAX_NOTE=200``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from emlb_runtime.errors import ConfigError, DataError

MIB = 2**20

_PIECE = 2**16
_COUNT = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        name: the variable of the environment that overrides it.
        default: the limit where the variable is not set.
        noun: what it counts; MiB count bytes.
    """

    name: str
    default: int
    noun: str

    @property
    def value(self) -> int:
        """The limit in force, in bytes for MiB.

        Raises:
            ConfigError: if the variable does not hold a number that makes sense.
        """
        unit = MIB if self.noun == "MiB" else 1
        given = os.environ.get(self.name)
        if given is None:
            return self.default * unit
        if not _COUNT.fullmatch(given):
            raise ConfigError(
                f"{self.name} must be a whole number from 1 to 999999999 (such as "
                f"{self.default}, its default); change it or unset it"
            )
        return int(given) * unit


NOTE = Limit("EMLB_MAX_NOTE", 64, "MiB")
"""One note's file. The longest notes of MIMIC have a tenth of one."""

ANNOTATION_FILE = Limit("EMLB_MAX_ANNOTATION_FILE", 64, "MiB")
"""One annotation file other than XML: about a million annotations."""

XML_FILE = Limit("EMLB_MAX_XML", 16, "MiB")
"""One XML file: some thirty thousand annotations. Parsing takes many times that."""

XML_ELEMENTS = Limit("EMLB_MAX_XML_ELEMENTS", 1_000_000, "elements")
"""Of one XML file: three times what fits of Anafora's annotations in 16 MiB."""

ANNOTATIONS = Limit("EMLB_MAX_ANNOTATIONS", 1_000_000, "annotations")
"""Lines of one annotation file; entities, and relations, of one document."""

MENTIONS = Limit("EMLB_MAX_MENTIONS", 128_000_000, "characters of mentions")
"""Characters that the mentions of one document have in all; each keeps its own text, so
that a few bytes of offsets can ask for a copy of the whole note."""

LINE = Limit("EMLB_MAX_LINE", 256, "MiB")
"""One line of JSON: a note at its limit with its annotations."""

VALUES = Limit("EMLB_MAX_VALUES", 16_000_000, "JSON values")
"""In one line: about a million entities with as many relations."""

ROW = Limit("EMLB_MAX_ROW", 8_000_000, "characters")
"""Characters of one CSV row. A longer one is taken for a quote that is never closed."""

EXPANSION = Limit("EMLB_MAX_EXPANSION", 200, "times its compressed size")
"""Of compressed JSON lines. Those of notes come to ten or thirty times, a bomb to a thousand."""

NESTING = 64
"""The deepest JSON that is read; the formats' own is five deep."""

XML_NESTING = 32
"""The deepest XML that is read; Anafora's own is five elements deep."""

FOLDERS = 200
"""The deepest folders are looked into; each level takes one of Python's thousand calls."""

LIMITS = (
    *(NOTE, ANNOTATION_FILE, XML_FILE, XML_ELEMENTS),
    *(ANNOTATIONS, MENTIONS, LINE, VALUES, ROW, EXPANSION),
)
"""Those that the environment can change."""


class TooLarge(DataError):
    """Something exceeds a limit; the message says which, and how to raise it.

    Attributes:
        reason: the same as a fixed sentence for reports.
    """

    def __init__(self, limit: Limit) -> None:
        self.reason = f"larger than is read: split it, or set {limit.name} higher"
        most = limit.value // (MIB if limit.noun == "MiB" else 1)
        super().__init__(
            f"it has more than {most:,} {limit.noun}, the most that is read: split it, or set "
            f"{limit.name} higher"
        )


def read_file(path: Path, limit: Limit) -> bytes:
    """A file's content; no more of it is read than the limit and a byte.

    Raises:
        TooLarge: if there is more. The size of a regular file is looked at first.
        OSError: if it cannot be read.
    """
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if S_ISREG(status.st_mode) and status.st_size > limit.value:
            raise TooLarge(limit)
        return read_stream(file, limit)


def read_stream(stream: BinaryIO, limit: Limit) -> bytes:
    """The rest of a stream of unknown length; see ``read_file``."""
    most = limit.value
    parts: list[bytes] = []
    while most >= 0 and (part := stream.read(min(most + 1, _PIECE))):
        parts.append(part)
        most -= len(part)
    if most < 0:
        raise TooLarge(limit)
    return b"".join(parts)


def read_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a stream with their ends; only a line feed ends one.

    Raises:
        TooLarge: at a line that exceeds ``LINE``; it is not read to its end.
    """
    most = LINE.value
    while line := stream.readline(most + 1):
        if len(line) > most:
            raise TooLarge(LINE)
        yield line


class Allowance:
    """How many characters of mentions a document may still have; see ``MENTIONS``."""

    def __init__(self) -> None:
        self._left = MENTIONS.value

    def take(self, spans: Sequence[tuple[int, int]]) -> bool:
        """Whether a mention of these fragments, known to be in order, is still allowed."""
        size = max(0, spans[-1][1] - spans[0][0])
        if size > self._left:
            return False
        self._left -= size
        return True
