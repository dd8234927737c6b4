"""What an ONNX graph declares of its inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass

from emlb_runtime.errors import BundleError

from .wire import BYTES, VARINT, Field, Reader, key, signed

_MAX_RANK = 8
_NAME, _TYPE, _TENSOR = key(1, BYTES), key(2, BYTES), key(1, BYTES)
_KIND, _SHAPE, _DIM = key(1, VARINT), key(2, BYTES), key(1, BYTES)
_SIZE, _SYMBOL = key(1, VARINT), key(2, BYTES)
_NOTES = {key(3, BYTES), key(4, BYTES)}
_DENOTATIONS = {key(6, BYTES), key(3, BYTES)}


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that a graph takes or gives.

    Attributes:
        name: of it.
        kind: ONNX's number of the element type; 0 if it has none.
        dims: the fixed size of each axis, None where it is open; None if it has no shape.
    """

    name: str
    kind: int
    dims: tuple[int | None, ...] | None


def read_value(reader: Reader, start: int, end: int, *, typed: bool) -> Value:
    """Read the declaration in ``[start, end)``.

    Args:
        reader: of the file.
        start: first byte.
        end: one past the last.
        typed: whether it must be a tensor of a known type and shape.

    Raises:
        BundleError: if it is malformed, or no tensor though it must be one.
    """
    parts = _parts(reader.fields(start, end), {_NAME, _TYPE}, _NOTES)
    name = reader.text(parts[_NAME]) if _NAME in parts else ""
    if not name:
        raise BundleError("one of its inputs or outputs has no name")
    if not typed:
        return Value(name, 0, None)
    try:
        tensor = _inside(reader, parts[_TYPE], {_TENSOR})[_TENSOR]
        described = _inside(reader, tensor, {_KIND, _SHAPE})
        kind, shape = described[_KIND][1], described[_SHAPE]
    except KeyError:
        raise BundleError(f"{name} is not declared as a tensor with a type and a shape") from None
    axes = reader.fields(shape[1], shape[2])
    if len(axes) > _MAX_RANK or any(axis[0] != _DIM for axis in axes):
        raise BundleError(f"{name} has an impossible shape")
    return Value(name, kind, tuple(_size(reader, axis) for axis in axes))


def _size(reader: Reader, axis: Field) -> int | None:
    described = _inside(reader, axis, {_SIZE, _SYMBOL})
    if len(described) > 1:
        raise BundleError("an axis has both a size and a name")
    return signed(described[_SIZE][1]) if _SIZE in described else None


def _inside(reader: Reader, field: Field, wanted: set[int]) -> dict[int, Field]:
    return _parts(reader.fields(field[1], field[2]), wanted, _DENOTATIONS)


def _parts(fields: list[Field], wanted: set[int], ignored: set[int]) -> dict[int, Field]:
    found: dict[int, Field] = {}
    for field in fields:
        if field[0] in found or field[0] not in wanted | ignored:
            raise BundleError("an input or output is no tensor, or states something twice")
        found[field[0]] = field
    return {tag: field for tag, field in found.items() if tag in wanted}
