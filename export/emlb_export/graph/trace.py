"""Torch to ONNX: the encoder with all tasks' emissions, and the other heads of each task.

Plain BERT is written by ``PlainBert``, traced by torch's TorchScript exporter, which keeps
every axis dynamic. Every other encoder goes through optimum (``optimum_graphs``, which the
extra ``[optimum]`` brings), and so do the relation heads on it. Attribute heads are traced.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from emlb.model.model import EmlbModel
from emlb_export.graph.optimum_extra import check_extra
from emlb_runtime.errors import ArtefactError

from .plain_bert import PlainBert, is_plain_bert

OPSET = 17
MAX_BYTES = 2 << 30


def export_encoder(model: EmlbModel, path: Path) -> None:
    """Write ``input_ids, attention_mask → hidden, emissions_<task>…``.

    Args:
        model: in evaluation mode, on the CPU.
        path: the file to write.

    Raises:
        ArtefactError: if the graph is too large for one file or not well formed.
        ConfigError: if the encoder needs optimum, which is not installed.
    """
    if not is_plain_bert(model.encoder):
        check_extra(model.encoder)
        from . import optimum_graphs

        optimum_graphs.export_encoder(model, path, opset=OPSET)
        _check(path)
        return
    ids = torch.ones((2, 9), dtype=torch.long)
    outputs = ["hidden", *(f"emissions_{name}" for name in model.heads)]
    axes = {name: {0: "windows", 1: "pieces"} for name in ("input_ids", "attention_mask", *outputs)}
    _export(
        PlainBert(model).eval(), (ids, ids), path, ["input_ids", "attention_mask"], outputs, axes
    )


def export_relations(model: EmlbModel, task: str, path: Path) -> None:
    """Write ``hidden, attention_mask, spans, pairs → logits`` of one task.

    Args:
        model: in evaluation mode, on the CPU.
        task: whose head.
        path: the file to write.

    Raises:
        ArtefactError: as ``export_encoder``.
        ConfigError: as ``export_encoder``.
    """
    if not is_plain_bert(model.encoder):
        check_extra(model.encoder)
        from . import optimum_graphs

        optimum_graphs.export_relations(model, task, path, opset=OPSET)
        _check(path)
        return
    hidden = torch.zeros((2, 9, model.config.encoder_config.hidden_size))
    mask = torch.ones((2, 9), dtype=torch.long)
    spans = torch.tensor([[[1, 3, 0], [4, 5, 0], [6, 8, 0]]] * 2)
    pairs = torch.tensor([[[0, 1], [1, 2]]] * 2)
    _export(
        model.head(task).relation.eval(),
        (hidden, mask, spans, pairs),
        path,
        ["hidden", "attention_mask", "spans", "pairs"],
        ["logits"],
        {
            "hidden": {0: "windows", 1: "pieces"},
            "attention_mask": {0: "windows", 1: "pieces"},
            "spans": {0: "windows", 1: "spans"},
            "pairs": {0: "windows", 1: "pairs"},
            "logits": {0: "windows", 1: "pairs"},
        },
    )


def export_attributes(model: EmlbModel, task: str, path: Path) -> None:
    """Write ``hidden, attention_mask, spans → scores`` of one task that has attributes.

    Args:
        model: in evaluation mode, on the CPU.
        task: whose head.
        path: the file to write.

    Raises:
        ArtefactError: as ``export_encoder``.
    """
    hidden = torch.zeros((2, 9, model.config.encoder_config.hidden_size))
    mask = torch.ones((2, 9), dtype=torch.long)
    spans = torch.tensor([[[1, 3, 0], [4, 5, 0], [6, 8, 0]]] * 2)
    head = model.head(task).attribute
    assert head is not None  # the caller looks at the task
    _export(
        head.eval(),
        (hidden, mask, spans),
        path,
        ["hidden", "attention_mask", "spans"],
        ["scores"],
        {
            "hidden": {0: "windows", 1: "pieces"},
            "attention_mask": {0: "windows", 1: "pieces"},
            "spans": {0: "windows", 1: "spans"},
            "scores": {0: "windows", 1: "spans"},
        },
    )


def _export(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    path: Path,
    input_names: list[str],
    output_names: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of every shape read as a constant; verification over many shapes
        # is what shows whether one was.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            inputs,
            str(path),
            input_names=input_names,
            output_names=output_names,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    _check(path)


def _check(path: Path) -> None:
    """Refuse a graph that is too large for one file or not well formed."""
    if path.stat().st_size >= MAX_BYTES:
        raise ArtefactError(f"{path.name} is 2 GB or more; a bundle's files must be smaller")
    onnx.checker.check_model(str(path))
