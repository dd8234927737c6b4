"""The journal of an unfinished run: what it was asked, and how far its output can be relied on.

The file lies next to the output and is removed when that is complete. The first line is the run's
fingerprint. Each further line is a checkpoint: how many notes are done, how many bytes the output
had then, their checksum, and the files that were finished. Lines are JSON with a checksum of their
own, and are only ever added:

    {"format":2,"fingerprint":{…}} 5f0c2b1e
    {"notes":64,"size":48211,"crc":2868210402,"tally":[64,512,201,0,0],"sizes":[],…} 0a3c…

The order of writes is what makes a run survive. The output is written and synced first; only then
is the checkpoint that describes it written and synced. A checkpoint is therefore never ahead of the
output. What the output holds beyond the last whole checkpoint is cut off and extracted again, which
gives the same bytes. A checkpoint that the crash tore counts for nothing. So a kill, a full disk or
a power cut at any instant costs at most the work since the last checkpoint.

The file holds no text of a note and no note's name, only hashes. Whoever runs holds a lock on it,
which the system releases when the process dies.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.formats.files import atomic as disk

from .fingerprint import Fingerprint

FORMAT = 2

_START = b'{"format":'


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far an output can be relied on.

    Attributes:
        notes: notes and error records that are dealt with.
        size: bytes of the file that grows.
        crc: CRC-32 of these bytes.
        tally: what has been counted, as ``RunStats.counts`` gives it.
        sizes: what the writer says of the files that were finished since the checkpoint before; see
            ``BatchWriter.sizes``.
        complete: nothing is left to do but to give the output its name.
    """

    notes: int = 0
    size: int = 0
    crc: int = 0
    tally: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()
    complete: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``.

        Raises:
            KeyError, TypeError, ValueError: if a value is missing or malformed.
        """
        return cls(
            int(values["notes"]),
            int(values["size"]),
            int(values["crc"]),
            tuple(int(value) for value in values["tally"]),
            tuple(int(value) for value in values["sizes"]),
            bool(values["complete"]),
        )


class Journal:
    """An open and locked state file; make one with ``Journal.open``.

    Attributes:
        path: the file.
        checkpoint: the last checkpoint; one of no notes for a run that has just begun.
        sizes: what all checkpoints of an earlier run say of finished files.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.checkpoint = Checkpoint()
        self.sizes = array("q")
        self._descriptor = descriptor

    @classmethod
    def open(cls, path: Path) -> Self:
        """Lock a state file, made if it is not there; ``begin`` or ``resume`` comes next.

        Raises:
            ConfigError: if another run holds it, the file system has no locks, or another
                program's file has the name.
            OSError: if it cannot be made.
        """
        _refuse_foreign(path)
        while True:
            descriptor = disk.open_private(path)
            try:
                _lock(descriptor, path)
                # Whoever held the lock may have removed the file when done.
                if _is_at(descriptor, path):
                    return cls(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def read(self) -> Fingerprint | None:
        """The fingerprint of the run that left the file, and in ``checkpoint`` how far it came.

        Returns:
            None if there is none: the file is new, or the run was killed before it began.

        Raises:
            ArtefactError: if the file is damaged, or of another version of EMLB.
        """
        data = self.path.read_bytes()
        header, newline, rest = data.partition(b"\n")
        if not newline:
            return None
        values = _unseal(header)
        try:
            if values is None or values.get("format") != FORMAT:
                raise ValueError
            fingerprint = Fingerprint.from_json(values["fingerprint"])
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ArtefactError(
                f"{self.path} is damaged, or of another version of EMLB: use --restart"
            ) from None
        size = len(header) + 1
        for line in rest.splitlines(keepends=True):
            checkpoint = _read_checkpoint(line)
            if checkpoint is None:  # torn; nothing behind it can be relied on
                break
            self.checkpoint = checkpoint
            self.sizes.extend(checkpoint.sizes)
            size += len(line)
        disk.truncate(self._descriptor, size, self.path)
        return fingerprint

    def begin(self, fingerprint: Fingerprint) -> None:
        """Begin the file again.

        Raises:
            OSError: if it cannot be written.
        """
        self.checkpoint = Checkpoint()
        self.sizes = array("q")
        disk.truncate(self._descriptor, 0, self.path)
        self._append({"format": FORMAT, "fingerprint": fingerprint.to_json()})
        disk.sync_folder(self.path.parent)

    def record(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint; what it says of the output must have been synced.

        Raises:
            OSError: if it cannot be written; the checkpoint before it still holds.
        """
        self._append(asdict(checkpoint))
        self.checkpoint = checkpoint

    def remove(self) -> None:
        """Remove the file, still locked: the output is complete, or there is none."""
        disk.remove(self.path)
        disk.sync_folder(self.path.parent)

    def close(self) -> None:
        """Let the lock go."""
        os.close(self._descriptor)

    def _append(self, values: Mapping[str, Any]) -> None:
        disk.write_all(self._descriptor, _seal(values), self.path)
        disk.sync(self._descriptor, self.path)


def _seal(values: Mapping[str, Any]) -> bytes:
    body = json.dumps(values, separators=(",", ":")).encode("ascii")
    return body + f" {zlib.crc32(body):08x}\n".encode("ascii")


def _unseal(line: bytes) -> dict[str, Any] | None:
    """The values of a line without its end; None if it is not whole."""
    body, _, seal = line.rpartition(b" ")
    if seal != f"{zlib.crc32(body):08x}".encode("ascii"):
        return None
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def _read_checkpoint(line: bytes) -> Checkpoint | None:
    values = _unseal(line[:-1]) if line.endswith(b"\n") else None
    try:
        return None if values is None else Checkpoint.from_json(values)
    except (KeyError, TypeError, ValueError):
        return None


def _refuse_foreign(path: Path) -> None:
    """Refuse a file that happens to have the name, before its mode or content is changed."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(len(_START)).rstrip(b"\0")  # a power cut can leave zeros
    if not _START.startswith(start):
        raise ConfigError(
            f"{path} is there, and is not the state file of an unfinished run: move it away, or"
            " name another --out"
        )


def _lock(descriptor: int, path: Path) -> None:
    if sys.platform == "win32":  # two runs on one output are not noticed there
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"another run is writing this output (it holds {path}): wait for it, or name"
            " another --out"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be locked ({error.strerror}): write to a local disk, or to standard"
            " output"
        ) from None


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
