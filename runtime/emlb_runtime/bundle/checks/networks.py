"""The signatures that a bundle's networks must have, which are those that export writes.

Axes: B windows, T pieces, S spans, P pairs; D hidden width, E labels, R relation types,
V attribute values.
"""

from __future__ import annotations

from collections.abc import Mapping

from emlb_runtime.errors import BundleError

from .graph import Network
from .tensors import FLOAT, FLOAT16, INT64
from .values import Value

_NAMES = {FLOAT: "float", FLOAT16: "float16", INT64: "int64"}
Signature = dict[str, tuple[tuple[int, ...], tuple[int | None, ...]]]
"""Per name the element types allowed, and the axes; None is one of any length."""


def check_encoder(network: Network, *, width: int, labels: Mapping[str, int]) -> int:
    """Check ``input_ids, attention_mask → hidden, emissions_<task>…``.

    Args:
        network: as read.
        width: D.
        labels: per task, E.

    Returns:
        ONNX's number of the hidden states' element type.

    Raises:
        BundleError: naming the input or output that differs.
    """
    _check("input", network.inputs, dict.fromkeys(("input_ids", "attention_mask"), _ids()))
    outputs: Signature = {"hidden": _floats(width)}
    outputs |= {f"emissions_{task}": _floats(n_labels) for task, n_labels in labels.items()}
    _check("output", network.outputs, outputs)
    return next(value.kind for value in network.outputs if value.name == "hidden")


def check_relations(network: Network, *, width: int, n_relations: int, hidden_kind: int) -> None:
    """Check ``hidden, attention_mask, spans, pairs → logits``.

    Args:
        network: as read.
        width: D.
        n_relations: R.
        hidden_kind: the element type that the encoder gives.

    Raises:
        BundleError: naming the input or output that differs.
    """
    inputs = _head_inputs(width, hidden_kind) | {"pairs": _ids(2)}
    _check("input", network.inputs, inputs)
    _check("output", network.outputs, {"logits": _floats(n_relations)})


def check_attributes(network: Network, *, width: int, n_values: int, hidden_kind: int) -> None:
    """Check ``hidden, attention_mask, spans → scores``.

    Args:
        network: as read.
        width: D.
        n_values: V.
        hidden_kind: the element type that the encoder gives.

    Raises:
        BundleError: naming the input or output that differs.
    """
    _check("input", network.inputs, _head_inputs(width, hidden_kind))
    _check("output", network.outputs, {"scores": _floats(n_values)})


def _head_inputs(width: int, hidden_kind: int) -> Signature:
    """What every head takes: hidden states, their mask, and spans with their types."""
    return {
        "hidden": ((hidden_kind,), (None, None, width)),
        "attention_mask": _ids(),
        "spans": _ids(3),
    }


def _ids(*last: int) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    return (INT64,), (None, None, *last)


def _floats(last: int) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    return (FLOAT, FLOAT16), (None, None, last)


def _check(side: str, values: tuple[Value, ...], wanted: Signature) -> None:
    names = [value.name for value in values]
    if sorted(names) != sorted(wanted):
        shown = ", ".join(name[:80] for name in names[:8])
        raise BundleError(f"its {side}s are {shown or 'none'}; they must be {', '.join(wanted)}")
    for value in values:
        kinds, axes = wanted[value.name]
        if value.kind not in kinds or value.dims != axes:
            raise BundleError(
                f"its {side} {value.name} is not {' or '.join(_NAMES[kind] for kind in kinds)} "
                f"of shape ({', '.join('any' if axis is None else str(axis) for axis in axes)})"
            )
