"""Writers whose output grows on disk and can be continued: what all have in common, and a file.

A writer knows nothing of checkpoints. Between two notes it says what a checkpoint would have to
state (``size``, ``crc``) and whether this is a moment for one (``settled``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from emlb_runtime.errors import ArtefactError
from emlb_runtime.formats.files import atomic as disk
from emlb_runtime.formats.writers import document_lines, error_line
from emlb_runtime.records import Document, ErrorRecord

from .append_only import AppendOnlyFile
from .compression import Compression, Members
from .journal import Checkpoint

PART = ".part"


class BatchWriter(Protocol):
    """An output that grows.

    Attributes:
        sizes: of the files that were finished since the last checkpoint, in bytes, for the next
            checkpoint to state: of each full shard; of each note's .txt and .ann file, or -1 for
            both if it has an error record.
    """

    sizes: list[int]

    @property
    def settled(self) -> bool:
        """Whether all notes so far are in the file, so that a checkpoint can speak of them."""

    @property
    def full(self) -> bool:
        """Whether a checkpoint must come now, and ``roll`` after it."""

    @property
    def size(self) -> int:
        """Bytes of the file that grows."""

    @property
    def crc(self) -> int:
        """CRC-32 of these bytes."""

    def begin(self) -> None:
        """Start empty, over what an unfinished run may have left."""

    def resume(self, checkpoint: Checkpoint, sizes: Sequence[int]) -> None:
        """Go on from a checkpoint, and drop what lies beyond it.

        Args:
            checkpoint: the last one.
            sizes: what all checkpoints state of finished files.

        Raises:
            ArtefactError: if what the checkpoints speak of is not there.
        """

    def pass_over(self, name: str) -> None:
        """A note that is done comes by, in the order in which it was written.

        Raises:
            ArtefactError: if what was written of it is not there.
        """

    def write(self, document: Document) -> None:
        """Write one note's entities and relations.

        Raises:
            DataError: if the format cannot hold the document; the next can be written.
        """

    def write_error(self, record: ErrorRecord) -> None:
        """Write what stands in place of a note that could not be extracted."""

    def end(self) -> None:
        """Write what is still waiting: there are no more notes."""

    def sync(self) -> None:
        """Wait until what was written would survive a power cut."""

    def roll(self) -> None:
        """Close one shard and go on with the next."""

    def publish(self) -> None:
        """Give the complete output its name."""

    def discard(self) -> None:
        """Remove all that was written: no checkpoint speaks of it."""

    def close(self) -> None:
        """Close what is open."""


class FileWriter:
    """JSON lines in one file, which has its own name when complete and ``.part`` until then.

    Args:
        path: the file, links resolved.
        format: ``triples`` or ``documents``.
        compression: of the file.
        redact_text: leave the text of mentions out.
        keep_text: write the text of notes into documents.
    """

    full = False

    def __init__(
        self,
        path: Path,
        *,
        format: str,
        compression: Compression,
        redact_text: bool,
        keep_text: bool = False,
    ) -> None:
        self.path = path
        self._format = format
        self._redact_text = redact_text
        self._keep_text = keep_text
        self._compression = compression
        self._members = Members(compression)
        self.sizes: list[int] = []
        self._file = AppendOnlyFile(part_of(path))

    @property
    def settled(self) -> bool:
        return self._members.settled

    @property
    def size(self) -> int:
        return self._file.size

    @property
    def crc(self) -> int:
        return self._file.crc

    def begin(self) -> None:
        self._file.begin()

    def resume(self, checkpoint: Checkpoint, sizes: Sequence[int] = ()) -> None:
        if checkpoint.complete and not self._file.path.exists():
            if not self.path.is_file() or self.path.stat().st_size != checkpoint.size:
                raise ArtefactError(f"{self._file.path} is gone: use --restart")
            return  # it got its name before it was cut off
        self._file.resume(checkpoint.size, checkpoint.crc)

    def pass_over(self, name: str) -> None:
        pass

    def write(self, document: Document) -> None:
        lines = document_lines(
            self._format, document, redact_text=self._redact_text, keep_text=self._keep_text
        )
        self._file.append(self._members.add(lines))

    def write_error(self, record: ErrorRecord) -> None:
        self._file.append(self._members.add(error_line(record)))

    def end(self) -> None:
        self._file.append(self._members.end(even_empty=not self._file.size))

    def sync(self) -> None:
        self._file.sync()

    def roll(self) -> None:
        pass

    def publish(self) -> None:
        self._file.close()
        if self._file.path.exists():
            disk.move(self._file.path, self.path)
        disk.sync_folder(self.path.parent)

    def discard(self) -> None:
        self._file.close()
        disk.remove(self._file.path)

    def close(self) -> None:
        self._file.close()


def part_of(path: Path) -> Path:
    """Where an output file grows until it is complete: beside it."""
    return path.with_name(path.name + PART)
