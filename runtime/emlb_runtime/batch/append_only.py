"""A file that is only added to, and can be cut off where it was known to be right."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from emlb_runtime.errors import ArtefactError
from emlb_runtime.formats.files import atomic as disk

_BLOCK = 1 << 20


class AppendOnlyFile:
    """A file that is only added to, with the checksum of all it holds.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.crc = 0
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Make it, or empty it."""
        self._descriptor = disk.open_private(self.path, fresh=True)
        self.size = self.crc = 0
        disk.sync_folder(self.path.parent)

    def resume(self, size: int, crc: int) -> None:
        """Cut it to a size at which it had this checksum.

        Raises:
            ArtefactError: if it never had.
        """
        if not self.path.is_file() or self.path.is_symlink() or self.path.stat().st_size < size:
            raise ArtefactError(
                f"{self.path} is gone, or shorter than the unfinished run left it: use --restart"
            )
        self._descriptor = disk.open_private(self.path)
        if _crc_of(self._descriptor, size) != crc:
            raise ArtefactError(f"{self.path} is not what the unfinished run wrote: use --restart")
        disk.truncate(self._descriptor, size, self.path)
        self.size, self.crc = size, crc

    def append(self, data: bytes) -> None:
        """Add data, whole unless it raises."""
        if data and self._descriptor is not None:
            disk.write_all(self._descriptor, data, self.path)
            self.size += len(data)
            self.crc = zlib.crc32(data, self.crc)

    def sync(self) -> None:
        """Wait until it would survive a power cut."""
        if self._descriptor is not None:
            disk.sync(self._descriptor, self.path)

    def close(self) -> None:
        """Close it."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)


def _crc_of(descriptor: int, size: int) -> int:
    os.lseek(descriptor, 0, os.SEEK_SET)
    crc, left = 0, size
    while left and (block := os.read(descriptor, min(left, _BLOCK))):
        crc = zlib.crc32(block, crc)
        left -= len(block)
    return crc
