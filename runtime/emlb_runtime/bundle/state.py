"""The weights of a bundle as those of a trainable model: names and shapes of its ``state_dict``.

Export folds some of a model's tensors into others and drops what changes nothing. The model
that is given here computes the same function; the weights of an int8 bundle are levels times
scales.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.errors import BundleError
from emlb_runtime.inference.weights import LEVELS, SCALES, UNNAMED, Weights

from .loader import Bundle

Floats = NDArray[np.float32]


def read_state(bundle: Bundle) -> dict[str, Floats]:
    """The state of the trainable model that a bundle was made of, up to rounding.

    Args:
        bundle: of format 4, with the architecture in its configuration.

    Returns:
        float32 arrays that own their memory, by the names in ``EmlbModel.state_dict``.

    Raises:
        BundleError: if the bundle does not hold what a trainable model needs.
    """
    config = bundle.config
    if config.weights is None or config.architecture is None:
        raise BundleError(
            f"{bundle.folder}: training cannot start from this bundle, which does not keep its "
            "weights by name: export its model again, or take another bundle"
        )
    state: dict[str, Floats] = {}
    weights = Weights(bundle.read(config.weights))
    for name in weights.names:
        if not name.endswith(SCALES) and not name.startswith(UNNAMED):
            _add(state, name.removesuffix(LEVELS), weights)
    _unfold_bert(state, config.architecture)
    for task in config.tasks:
        base = f"heads.{task.name}.relation"
        if f"{base}.distance.weight" in state and f"{base}.value.bias" not in state:
            width = state[f"{base}.distance.weight"].shape[1] // 2
            state[f"{base}.value.bias"] = np.zeros(width, np.float32)
    if config.architecture.get("entity_head") == "crf":
        _add_crf(state, bundle)
    return state


def _add(state: dict[str, Floats], name: str, weights: Weights) -> None:
    value = weights.value(name)
    whole = name.removesuffix(".T")
    if whole != name:
        value = value.T
    parts = whole.split("+")
    for part, values in zip(parts, np.split(value, len(parts)), strict=True):
        state[part] = np.array(values, np.float32, order="C")


def _unfold_bert(state: dict[str, Floats], architecture: Any) -> None:
    """Undo what ``emlb_export.graph.plain_bert`` folds; it folds nothing of other encoders."""
    encoder = architecture.get("encoder", {})
    layers = {match[1] for name in state if (match := _QUERY.fullmatch(name))}
    for base in layers:
        if f"{base}.self.key.bias" in state:
            continue  # not folded
        width, heads = encoder["hidden_size"], encoder["num_attention_heads"]
        scale = np.float32(math.sqrt(width // heads))
        for name in ("weight", "bias"):
            state[f"{base}.self.query.{name}"] *= scale
        zeros = np.zeros_like(state[f"{base}.self.query.bias"])
        state[f"{base}.self.key.bias"] = zeros
        state[f"{base}.self.value.bias"] = zeros.copy()
        types = "encoder.embeddings.token_type_embeddings.weight"
        state.setdefault(types, np.zeros((encoder["type_vocab_size"], width), np.float32))


_QUERY = re.compile(r"(encoder\.encoder\.layer\.\d+\.attention)\.self\.query\.weight")


def _add_crf(state: dict[str, Floats], bundle: Bundle) -> None:
    from safetensors.numpy import load

    values = load(bundle.read(bundle.config.crf))
    for task in bundle.config.tasks:
        base = f"heads.{task.name}.crf"
        state[f"{base}.start_transitions"] = values[f"{task.name}.start"]
        state[f"{base}.end_transitions"] = values[f"{task.name}.end"]
        state[f"{base}.transitions"] = values[f"{task.name}.transitions"]
