"""Compressed output in members of its own, so that it can be cut off and continued.

A member ends after so many notes or bytes of output, never after so much time: the same notes
give the same bytes however often the run was broken. What is decompressed is the members' content
one after the other, as every tool for these formats does it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from enum import StrEnum
from importlib import import_module

from emlb_runtime.errors import ConfigError

MEMBER_NOTES = 128
MEMBER_BYTES = 1 << 20
_LEVEL = 6


class Compression(StrEnum):
    """How output files are compressed; the value ends their names."""

    NONE = "none"
    GZIP = "gz"
    ZSTANDARD = "zst"

    @property
    def suffix(self) -> str:
        """What a file's name ends in."""
        return "" if self is Compression.NONE else f".{self.value}"


def compression_of(name: str) -> Compression:
    """The compression that a file's name asks for."""
    for compression in (Compression.GZIP, Compression.ZSTANDARD):
        if name.lower().endswith(compression.suffix):
            return compression
    return Compression.NONE


def check_compression(compression: Compression) -> None:
    """Refuse what this Python cannot compress.

    Raises:
        ConfigError: saying what to choose instead.
    """
    if compression is Compression.ZSTANDARD and sys.version_info < (3, 14):
        raise ConfigError(
            "Zstandard (.zst) comes with Python 3.14 and later, and this is"
            f" {sys.version_info.major}.{sys.version_info.minor}: choose gz"
        )


class Members:
    """Collects lines and gives them back compressed, a member at a time.

    Args:
        compression: of the output.
    """

    def __init__(self, compression: Compression) -> None:
        self._compress = _compressor(compression)
        self._waiting: list[bytes] = []
        self._size = 0
        self._notes = 0

    @property
    def settled(self) -> bool:
        """Whether all that was added has been given back."""
        return not self._notes

    def add(self, data: bytes) -> bytes:
        """Take a note's lines, maybe none; returns what is to be written now, if anything."""
        if self._compress is None:
            return data
        self._waiting.append(data)
        self._size += len(data)
        self._notes += 1
        is_full = self._notes >= MEMBER_NOTES or self._size >= MEMBER_BYTES
        return self.end() if is_full else b""

    def end(self, *, even_empty: bool = False) -> bytes:
        """End the member under way.

        Args:
            even_empty: make a member of nothing too, since a file of no bytes is not valid.
        """
        data = b"".join(self._waiting)
        self._waiting, self._size, self._notes = [], 0, 0
        if self._compress is None or not (data or even_empty):
            return b""
        return self._compress(data)


def _compressor(compression: Compression) -> Callable[[bytes], bytes] | None:
    if compression is Compression.GZIP:
        return _gzip
    if compression is Compression.ZSTANDARD:
        compress: Callable[[bytes], bytes] = import_module("compression.zstd").compress
        return compress
    return None


def _gzip(data: bytes) -> bytes:
    # zlib's own header has neither a time nor a name.
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()
