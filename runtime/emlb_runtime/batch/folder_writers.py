"""Outputs of many files that can be continued: a folder of shards, or of brat pairs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.formats.files import atomic as disk
from emlb_runtime.formats.writers import ERRORS_FILE, brat_stem, error_line, write_brat_pair
from emlb_runtime.records import Document, ErrorRecord

from .append_only import AppendOnlyFile
from .compression import Compression
from .journal import Checkpoint
from .writers import FileWriter

_NO_PAIR = (-1, -1)


class ShardWriter:
    """JSON lines in ``part-00001.jsonl`` and so on, so many notes in each.

    A shard gets its name when it is complete, after the checkpoint that says so. No checkpoint ever
    describes the middle of a shard that has its name.

    Args:
        folder: where they lie.
        notes: to a shard, error records included.
        format: ``triples`` or ``documents``.
        compression: of each shard.
        redact_text: leave the text of mentions out.
        keep_text: write the text of notes into documents.
    """

    def __init__(
        self,
        folder: Path,
        *,
        notes: int,
        format: str,
        compression: Compression,
        redact_text: bool,
        keep_text: bool = False,
    ) -> None:
        self._folder = folder
        self._notes = notes
        self._format = format
        self._compression = compression
        self._redact_text = redact_text
        self._keep_text = keep_text
        self.sizes: list[int] = []
        self._number = 1
        self._held = 0
        self._shard = self._open_shard(1)

    @property
    def settled(self) -> bool:
        return self._shard.settled

    @property
    def full(self) -> bool:
        return self._held == self._notes

    @property
    def size(self) -> int:
        return self._shard.size

    @property
    def crc(self) -> int:
        return self._shard.crc

    def begin(self) -> None:
        self._clear()
        self._shard.begin()

    def resume(self, checkpoint: Checkpoint, sizes: Sequence[int]) -> None:
        number, self._held = divmod(checkpoint.notes, self._notes)
        named = (
            bool(checkpoint.notes) and not self._held
        )  # the checkpoint before a shard gets its name
        self._number = number if named and not checkpoint.complete else number + 1
        for earlier in range(1, self._number):
            _check_finished(self._path(earlier), sizes[earlier - 1])
        self._shard = self._open_shard(self._number)
        if not named:
            self._shard.resume(checkpoint)
        elif not checkpoint.complete:
            self._shard.resume(replace(checkpoint, complete=True))
            self.roll()

    def pass_over(self, name: str) -> None:
        pass

    def write(self, document: Document) -> None:
        self._shard.write(document)
        self._count()

    def write_error(self, record: ErrorRecord) -> None:
        self._shard.write_error(record)
        self._count()

    def end(self) -> None:
        self._shard.end()

    def sync(self) -> None:
        self._shard.sync()

    def roll(self) -> None:
        self._shard.publish()
        self._number += 1
        self._held = 0
        self._shard = self._open_shard(self._number)
        self._shard.begin()

    def publish(self) -> None:
        if self._number > 1 and not self._held:
            self._shard.discard()  # the notes ended where a shard does
        else:
            self._shard.publish()

    def discard(self) -> None:
        self._shard.close()
        self._clear()

    def close(self) -> None:
        self._shard.close()

    def _clear(self) -> None:
        for path in list(shards_in(self._folder)):
            disk.remove(path)

    def _count(self) -> None:
        self._held += 1
        if self.full:
            self._shard.end()
            self.sizes.append(self._shard.size)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:05}.jsonl{self._compression.suffix}"

    def _open_shard(self, number: int) -> FileWriter:
        return FileWriter(
            self._path(number),
            format=self._format,
            compression=self._compression,
            redact_text=self._redact_text,
            keep_text=self._keep_text,
        )


class BratFolderWriter:
    """A pair of files per note, each whole or not there, and the errors in one that grows.

    Every file is synced before it gets its name, for a torn one would look like another note.
    To begin again all pairs are removed: unlike for ``open_writer``, there must have been none.

    Args:
        folder: where they lie.
    """

    settled = True
    full = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sizes: list[int] = []
        self._finished: Iterator[tuple[int, int]] = iter(())
        self._errors = AppendOnlyFile(folder / ERRORS_FILE)

    @property
    def size(self) -> int:
        return self._errors.size

    @property
    def crc(self) -> int:
        return self._errors.crc

    def begin(self) -> None:
        self._clear()
        self._errors.begin()

    def resume(self, checkpoint: Checkpoint, sizes: Sequence[int]) -> None:
        for path in self._folder.glob(f".*{disk.PARTIAL}"):
            disk.remove(path)
        self._errors.resume(checkpoint.size, checkpoint.crc)
        self._finished = zip(sizes[::2], sizes[1::2], strict=True)

    def pass_over(self, name: str) -> None:
        pair = next(self._finished, _NO_PAIR)
        if pair == _NO_PAIR:
            return
        stem = brat_stem(name)
        for ending, size in zip((".txt", ".ann"), pair, strict=True):
            _check_finished(self._folder / f"{stem}{ending}", size)

    def write(self, document: Document) -> None:
        self.sizes += write_brat_pair(self._folder, document, durable=True)

    def write_error(self, record: ErrorRecord) -> None:
        self._errors.append(error_line(record))
        self.sizes += _NO_PAIR

    def end(self) -> None:
        pass

    def sync(self) -> None:
        self._errors.sync()
        disk.sync_folder(self._folder)

    def roll(self) -> None:
        pass

    def publish(self) -> None:
        self._errors.close()

    def discard(self) -> None:
        self._errors.close()
        disk.remove(self._errors.path)
        self._clear()

    def close(self) -> None:
        self._errors.close()

    def _clear(self) -> None:
        for path in list(brat_files_in(self._folder)):
            disk.remove(path)


def shards_in(folder: Path) -> Iterator[Path]:
    """The shards of a folder, complete or not."""
    return folder.glob("part-[0-9][0-9][0-9][0-9][0-9]*.jsonl*")


def brat_files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder that a brat output consists of."""
    for pattern in ("*.txt", "*.ann", f".*{disk.PARTIAL}"):
        yield from folder.glob(pattern)


def _check_finished(path: Path, size: int) -> None:
    """Refuse to go on behind a file that is not there as it was written."""
    if not path.is_file():
        raise ArtefactError(f"{path} is gone: put it back, or use --restart")
    if path.stat().st_size != size:
        raise ArtefactError(f"{path} is not what the unfinished run wrote: use --restart")


def check_empty(folder: Path, *, format: str) -> None:
    """Refuse a folder with files that would mix with those to be written.

    Raises:
        ConfigError: naming the folder.
    """
    brat = format == "brat"
    files = brat_files_in(folder) if brat else shards_in(folder)
    is_taken = brat and os.path.lexists(folder / ERRORS_FILE)
    if is_taken or next(iter(files), None) is not None:
        what = f".txt or .ann files, or {ERRORS_FILE}" if brat else "shards (part-*.jsonl)"
        raise ConfigError(f"{folder} already holds {what}: choose an empty folder")
