"""Torch to ONNX through optimum, for every encoder that ``plain_bert`` does not rewrite.

optimum knows what each architecture of `transformers` needs before it can be traced: which
operators to patch, which versions work. Two configurations of our own tell it what this
library exports: an encoder with the emissions of all tasks, and a task's relation head.
optimum then compares every graph with the module that it came from.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from optimum.exporters.onnx import export, validate_model_outputs
from optimum.exporters.onnx.base import OnnxConfig
from optimum.exporters.onnx.config import TextEncoderOnnxConfig
from optimum.exporters.tasks import TasksManager
from optimum.utils import DummyInputGenerator, NormalizedConfig, NormalizedTextConfig
from optimum.utils import logging as optimum_logging
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.utils import logging as transformers_logging

from emlb.model.model import EmlbModel
from emlb_export.graph.tolerance import TOLERANCE
from emlb_runtime.errors import ArtefactError

Axes = dict[str, dict[int, str]]
"""Per input or output the names of its dynamic axes."""

VALIDATED: tuple[dict[str, int], ...] = (
    {},
    {"batch_size": 3, "sequence_length": 33},
    {"batch_size": 1, "sequence_length": 5},
)
"""The shapes on which optimum compares a graph with its module; the first are optimum's own."""

_PIECES = {0: "windows", 1: "pieces"}
_PAIRS = {0: "windows", 1: "pairs"}


class EncoderNetwork(nn.Module):
    """An encoder and the emissions of all tasks, with flat outputs.

    Args:
        model: in evaluation mode, on the CPU.
    """

    def __init__(self, model: EmlbModel) -> None:
        super().__init__()
        self.model = model
        self.config = model.config.encoder_config

    @property
    def outputs(self) -> Axes:
        """The names and axes of what ``forward`` gives, in order."""
        names = ("hidden", *(f"emissions_{name}" for name in self.model.heads))
        return dict.fromkeys(names, _PIECES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """Hidden states (B, T, D) and, per task, emissions (B, T, E)."""
        output = self.model(input_ids, attention_mask)
        return (output.hidden, *output.emissions.values())


class RelationNetwork(nn.Module):
    """The relation head of one task.

    Args:
        model: in evaluation mode, on the CPU.
        task: the task's name.
    """

    def __init__(self, model: EmlbModel, task: str) -> None:
        super().__init__()
        self.head = model.head(task).relation
        types = {each.name: each.entity_types for each in model.config.task_list}[task]
        self.config = PretrainedConfig(
            hidden_size=int(model.config.encoder_config.hidden_size), n_entity_types=len(types)
        )

    def forward(
        self, hidden: Tensor, attention_mask: Tensor, spans: Tensor, pairs: Tensor
    ) -> Tensor:
        """Logits (B, P, R); see ``RelationHead.forward``."""
        logits: Tensor = self.head(hidden, attention_mask, spans, pairs)
        return logits


class _EmissionSignature:
    """Mixed into an architecture's own configuration: other inputs and outputs, the rest kept."""

    ATOL_FOR_VALIDATION = TOLERANCE
    emission_outputs: Axes

    @property
    def inputs(self) -> Axes:
        """``input_ids`` and ``attention_mask``."""
        return {"input_ids": _PIECES, "attention_mask": _PIECES}

    @property
    def outputs(self) -> Axes:
        """Hidden states and emissions."""
        return self.emission_outputs


class _GenericOnnxConfig(TextEncoderOnnxConfig):  # type: ignore[misc]  # optimum has no types
    """For encoders that optimum does not know by name."""

    NORMALIZED_CONFIG_CLASS = NormalizedTextConfig


class RelationInputs(DummyInputGenerator):  # type: ignore[misc]
    """Seeded inputs of a relation head: three mentions and two pairs in each window.

    Args:
        task: unused, as optimum passes it.
        normalized_config: with ``hidden_size`` and ``n_entity_types``.
        batch_size: B.
        sequence_length: T, at least 5.
        **shapes: unused, as optimum passes them.
    """

    SUPPORTED_INPUT_NAMES = ("hidden", "attention_mask", "spans", "pairs")

    def __init__(
        self,
        task: str,
        normalized_config: Any,
        *,
        batch_size: int = 2,
        sequence_length: int = 16,
        **shapes: Any,
    ) -> None:
        rng = np.random.default_rng(0)
        width, n_types = normalized_config.hidden_size, normalized_config.n_entity_types
        start = rng.integers(0, sequence_length - 3, (batch_size, 3))
        types = rng.integers(0, n_types, start.shape)
        self._values = {
            "hidden": rng.standard_normal((batch_size, sequence_length, width), np.float32),
            "attention_mask": np.ones((batch_size, sequence_length), np.int64),
            "spans": np.stack([start, start + rng.integers(1, 4, start.shape), types], axis=-1),
            "pairs": np.tile(np.array([[0, 1], [2, 1]]), (batch_size, 1, 1)),
        }

    def generate(
        self,
        input_name: str,
        framework: str = "pt",
        int_dtype: str = "int64",
        float_dtype: str = "fp32",
    ) -> Any:
        """One of the inputs, as a tensor or, for ``np``, an array."""
        values = self._values[input_name]
        return torch.from_numpy(values) if framework == "pt" else values


class RelationOnnxConfig(OnnxConfig):  # type: ignore[misc]
    """optimum's description of a relation head."""

    NORMALIZED_CONFIG_CLASS = NormalizedConfig
    DUMMY_INPUT_GENERATOR_CLASSES = (RelationInputs,)
    ATOL_FOR_VALIDATION = TOLERANCE

    @property
    def inputs(self) -> Axes:
        """``hidden, attention_mask, spans, pairs``."""
        return {
            "hidden": _PIECES,
            "attention_mask": _PIECES,
            "spans": {0: "windows", 1: "spans"},
            "pairs": _PAIRS,
        }

    @property
    def outputs(self) -> Axes:
        """``logits``."""
        return {"logits": _PAIRS}


def encoder_onnx_config(network: EncoderNetwork) -> Any:
    """optimum's description of an encoder with emissions.

    It inherits from optimum's own description of the architecture, and with it that
    architecture's patches and minimum versions. An architecture that optimum does not know gets
    those of any text encoder.

    Args:
        network: what is exported.

    Returns:
        An ``OnnxConfig``.
    """
    try:
        known = TasksManager.get_exporter_config_constructor(
            "onnx",
            model_type=network.config.model_type,
            task="feature-extraction",
            library_name="transformers",
        ).func
    except (KeyError, ValueError):
        known = _GenericOnnxConfig
    members = {"emission_outputs": network.outputs}
    described = type(f"Emission{known.__name__}", (_EmissionSignature, known), members)
    return described(network.config, task="feature-extraction")


def export_encoder(model: EmlbModel, path: Path, *, opset: int) -> None:
    """Write and validate ``input_ids, attention_mask → hidden, emissions_<task>…``.

    Args:
        model: in evaluation mode, on the CPU.
        path: the file to write.
        opset: version of the ONNX operator set.

    Raises:
        ArtefactError: if optimum cannot export the encoder, or its graph differs from it.
    """
    network = EncoderNetwork(model).eval()
    _export(network, encoder_onnx_config(network), path, opset=opset)


def export_relations(model: EmlbModel, task: str, path: Path, *, opset: int) -> None:
    """Write and validate ``hidden, attention_mask, spans, pairs → logits`` of one task.

    Args:
        model: in evaluation mode, on the CPU.
        task: the task's name.
        path: the file to write.
        opset: version of the ONNX operator set.

    Raises:
        ArtefactError: as ``export_encoder``.
    """
    network = RelationNetwork(model, task).eval()
    _export(network, RelationOnnxConfig(network.config), path, opset=opset)


def _export(network: nn.Module, config: Any, path: Path, *, opset: int) -> None:
    version = importlib.metadata.version("optimum-onnx")
    try:
        with quiet_optimum():
            _, outputs = export(network, config, path, opset=opset)
            for shapes in VALIDATED:
                validate_model_outputs(
                    config,
                    network,
                    path,
                    outputs,
                    input_shapes=shapes,
                    use_subprocess=False,  # it would change how this process starts others
                )
    except (ValueError, RuntimeError) as error:  # optimum's and the tracer's own kinds
        reason = str(error).strip().partition("\n")[0]
        raise ArtefactError(
            f"optimum-onnx {version} cannot export {path.name} of a "
            f"{getattr(network.config, 'model_type', '') or 'relation head'}: {reason}"
        ) from error


@contextmanager
def quiet_optimum() -> Iterator[None]:
    """Without optimum's account of each step, and without the tracer's warnings.

    The tracer warns of every shape that it reads as a constant. Validation over several shapes
    shows whether one was.
    """
    levels: Mapping[Any, int] = {
        each: each.get_verbosity() for each in (optimum_logging, transformers_logging)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in levels:
            each.set_verbosity_error()
        try:
            yield
        finally:
            for each, level in levels.items():
                each.set_verbosity(level)
