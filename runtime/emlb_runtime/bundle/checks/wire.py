"""Protocol buffer messages as the fields that they hold; no length in them is trusted.

Only what ONNX files use is read: varints, fixed 32 and 64 bits, and length-delimited fields.
Groups, which no ONNX message has, are refused, and so is whatever two parsers could read in
two ways.
"""

from __future__ import annotations

from emlb_runtime.errors import BundleError

Field = tuple[int, int, int]
"""(key, start, end) of a field's bytes; for a varint (key, value, 0)."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_NUMBER = (1 << 29) - 1
_WIDTHS = {FIXED64: 8, FIXED32: 4}


def key(number: int, wire: int) -> int:
    """A field's key: its number and how it is written."""
    return number << 3 | wire


class Reader:
    """Reads messages that lie in one file.

    Args:
        data: the file.
        max_fields: how many fields are read in all, so that a file of empty fields costs no
            more than the limit.
    """

    def __init__(self, data: bytes, *, max_fields: int) -> None:
        self.data = data
        self._max_fields = max_fields
        self._left = max_fields

    def fields(self, start: int, end: int) -> list[Field]:
        """The fields of the message in ``[start, end)``, in order.

        Raises:
            BundleError: if it is cut short or not well formed.
        """
        data, found, position = self.data, [], start
        for _ in range(self._left):
            if position >= end:
                break
            tag = data[position]
            position += 1
            if tag >= 0x80:
                tag, position = self._varint(position - 1, end, 5)
            wire = tag & 7
            if wire == BYTES:
                length = data[position] if position < end else 0x80
                if length < 0x80:
                    position += 1
                else:
                    length, position = self._varint(position, end, 10)
                if length > end - position:
                    raise BundleError("it is cut short: a field is longer than what holds it")
                found.append((tag, position, position + length))
                position += length
            elif wire == VARINT:
                value, position = self._varint(position, end, 10)
                found.append((tag, value, 0))
            elif wire in _WIDTHS and _WIDTHS[wire] <= end - position:
                found.append((tag, position, position + _WIDTHS[wire]))
                position += _WIDTHS[wire]
            else:
                raise BundleError("it is not a well-formed ONNX file")
            if not 8 <= tag <= MAX_NUMBER << 3 | 7:
                raise BundleError("it is not a well-formed ONNX file")
        if position < end:
            raise BundleError(f"it has more than {self._max_fields:,} fields")
        self._left -= len(found)
        return found

    def _varint(self, position: int, end: int, longest: int) -> tuple[int, int]:
        """A number of up to 64 bits and where it ends."""
        value = 0
        for shift in range(0, 7 * longest, 7):
            if position >= end:
                raise BundleError("it is cut short within a number")
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value, position
        raise BundleError("it is not a well-formed ONNX file: a number is too long")

    def text(self, field: Field, *, most: int = 1024) -> str:
        """A field's bytes as a text.

        Raises:
            BundleError: if it is too long, not UTF-8 or not printable.
        """
        _, start, end = field
        if end - start > most:
            raise BundleError(f"a name in it has more than {most:,} bytes")
        try:
            found = self.data[start:end].decode("utf-8")
        except UnicodeDecodeError:
            found = "\0"
        if not found.isprintable():
            raise BundleError("a name in it has characters that cannot be shown")
        return found


def signed(value: int) -> int:
    """A varint as the signed 64-bit number that it stands for."""
    return value - (1 << 64) if value >> 63 else value
