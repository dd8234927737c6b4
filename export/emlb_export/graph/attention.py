"""The attention of a bundle's relation heads, read off their ONNX graphs.

A graph is copied in memory and its softmax made an output; the bundle stays as it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx

from emlb.explaining.attention import EncoderLook, RelationLook
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ArtefactError, BundleError
from emlb_runtime.extraction.session_plan import products_for
from emlb_runtime.inference.backend import Floats, Ints
from emlb_runtime.inference.onnx_backend import open_session
from emlb_runtime.inference.providers import PROVIDERS


class BundleAttention:
    """Looks into a bundle's relation heads; see ``emlb.explaining.attention.Attention``.

    Args:
        bundle: checked.
        precision: whose relation heads; None is the bundle's own.

    Raises:
        ArtefactError: if a relation head's graph has no attention, or more than one.
    """

    def __init__(self, bundle: Bundle, *, precision: str | None = None) -> None:
        self._sessions: dict[str, Any] = {}
        self._outputs: dict[str, str] = {}
        precision = precision or bundle.config.default_precision
        contents = bundle.contents(precision)
        products = products_for(bundle.config, precision) or "u8s8"
        for task, name in bundle.config.relations_of(precision).items():
            graph, self._outputs[task] = with_attention(contents.relations[task], name=name)
            self._sessions[task] = open_session(
                graph,
                PROVIDERS["cpu"],
                threads=1,
                name=name,
                given=contents.given.get(name),
                products=products,
            )

    @property
    def no_relation(self) -> str:
        """See ``Attention``; a bundle without it is refused."""
        return ""

    @property
    def no_encoder(self) -> str:
        """See ``Attention``."""
        return (
            "a bundle's encoder does not give it; "
            "name the trained model's folder in place of the bundle"
        )

    def relate(self, task: str, hidden: Floats, spans: Ints, pairs: Ints) -> RelationLook:
        """See ``Attention``.

        Raises:
            ArtefactError: if what the graph gives is no attention of pairs to pieces.
        """
        inputs = {
            "hidden": hidden[None],
            "attention_mask": np.ones((1, len(hidden)), dtype=np.int64),
            "spans": spans[None],
            "pairs": pairs[None],
        }
        logits, weights = self._sessions[task].run(["logits", self._outputs[task]], inputs)
        pairs_by_pieces = (len(pairs), len(hidden))
        n_heads = math.prod(weights.shape[:-2])  # a graph may have one axis for sides and heads
        if (
            n_heads % 2
            or weights.shape[-2:] != pairs_by_pieces
            or not np.allclose(weights.sum(axis=-1), 1.0, atol=1e-3)
        ):
            raise ArtefactError(f"task {task}: the relation head's softmax is not its attention")
        return RelationLook(logits[0], weights.reshape(n_heads, *pairs_by_pieces))

    def encode(self, input_ids: Ints) -> EncoderLook | None:
        """None: the bundle's encoder keeps its attention to itself."""
        return None


def with_attention(graph: bytes, *, name: str) -> tuple[bytes, str]:
    """A copy of a relation head's graph that gives its attention too.

    Args:
        graph: the ONNX file.
        name: the file's name, for messages.

    Returns:
        The copy, and the name of the output: (B, 2, heads, P, T).

    Raises:
        BundleError: if it is not an ONNX file.
        ArtefactError: if it does not have exactly one softmax.
    """
    try:
        model = onnx.load_from_string(graph)
    except Exception as error:  # protobuf's own kinds
        raise BundleError(f"{name}: not an ONNX file ({type(error).__name__})") from None
    found = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    if len(found) != 1:
        raise ArtefactError(
            f"{name}: its attention cannot be told, for it has {len(found)} softmax nodes; "
            "name the trained model's folder in place of the bundle"
        )
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(found[0], onnx.TensorProto.FLOAT, None)
    )
    return model.SerializeToString(), found[0]
