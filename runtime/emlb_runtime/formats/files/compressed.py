"""Files read as they are, or decompressed where their first bytes say that they must be.

What is compressed may come to a thousand times its size, and far more if it was made to: it is
decompressed piece by piece, and refused when it expands further than written output can.
"""

from __future__ import annotations

import errno
import io
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, cast

from emlb_runtime.formats.files.limits import EXPANSION, MIB, TooLarge

ENDINGS = ("", ".gz", ".zst")
"""What the name of a file may end in that is read so, after its own ending."""

_GZIP = b"\x1f\x8b"
_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_PIECE = 2**16
_FREE = 4 * MIB
"""So much is decompressed whatever it expands to: a few short lines can be much alike."""


@contextmanager
def open_unzipped(path: Path) -> Iterator[BinaryIO]:
    """A file's content, decompressed if it is gzip or Zstandard by its first bytes.

    Reading raises ``TooLarge`` once it has expanded beyond ``EXPANSION``.

    Raises:
        OSError: naming the path, if it cannot be read, is damaged, or is Zstandard and this
            Python is older than 3.14.
    """
    with path.open("rb") as file:
        start = file.peek(len(_ZSTANDARD))
        if start.startswith(_GZIP):
            unzipped = _open_gzip(file, path)
        elif start.startswith(_ZSTANDARD):
            unzipped = _open_zstandard(file, path)
        else:
            yield file
            return
        with io.BufferedReader(unzipped, _PIECE) as buffered:
            yield cast(BinaryIO, buffered)


def unzipped_name(path: Path) -> str:
    """A file's name without the ending that says how it is compressed."""
    return path.stem if path.suffix.lower() in ENDINGS else path.name


def without_twins(files: Sequence[Path]) -> list[Path]:
    """The files, of one that lies there zipped and unzipped only the unzipped."""
    there = set(files)
    unzipped = ((path, path.with_name(unzipped_name(path))) for path in files)
    return [path for path, plain in unzipped if path == plain or plain not in there]


class _Unzipped(io.RawIOBase):
    """What a decompressor gives, counted against what it has read.

    Args:
        stream: the decompressor.
        damaged: what it raises where the data is damaged or ends early.
        file: what it reads.
        path: for messages.
    """

    def __init__(
        self, stream: Any, damaged: tuple[type[Exception], ...], file: BinaryIO, path: Path
    ) -> None:
        self._stream = stream
        self._damaged = damaged
        self._file = file
        self._path = path
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self._stream.read1(len(buffer))
        except self._damaged:
            what = "it is compressed, and ends early or is damaged"
            raise OSError(errno.EIO, what, str(self._path)) from None
        self._size += len(data)
        if self._size > _FREE and self._size > EXPANSION.value * self._file.tell():
            raise TooLarge(EXPANSION)
        buffer[: len(data)] = data
        return len(data)


def _open_gzip(file: BinaryIO, path: Path) -> _Unzipped:
    import gzip  # only where there is something to decompress: `emlb-run` starts without it

    damaged = (gzip.BadGzipFile, EOFError, zlib.error)
    return _Unzipped(gzip.GzipFile(fileobj=file), damaged, file, path)


def _open_zstandard(file: BinaryIO, path: Path) -> _Unzipped:
    if sys.version_info < (3, 14):
        what = "it is Zstandard, which Python reads from 3.14 on; decompress it first"
        raise OSError(errno.ENOTSUP, what, str(path))
    zstd = import_module("compression.zstd")
    return _Unzipped(zstd.ZstdFile(file), (zstd.ZstdError, EOFError), file, path)
