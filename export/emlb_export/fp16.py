"""fp16 encoders, for GPUs: weights and arithmetic in half precision, outputs in fp32.

Layer norms and softmax stay fp32, whose sums over a row outgrow fp16 or lose digits in it. So
does every other operator of which a value came near fp16's largest while notes were encoded.
Only what stands for minus infinity (the attention mask) is clipped to fp16's lowest, which
softmax makes zero just as well.

The relation heads keep their inputs and stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from emlb_export.bundle_writer import FP16_NAME, Whole, seal, write_stripped
from emlb_export.verify import Agreement, compare_decoded
from emlb_runtime.bundle.loader import Bundle, BundleConfig
from emlb_runtime.errors import ArtefactError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Note

FP32_OPERATORS = ("LayerNormalization", "SkipLayerNormalization", "Softmax")
MOST = float(np.finfo(np.float16).max) / 4
"""Of a value's size, for its operator to run in fp16: other notes may have larger ones."""

INFINITE = 1e30
"""Larger values stand for infinity."""

MIN_AGREEMENT = 0.99
"""F1 of fp16 against fp32 on the same notes, of entities and relations, below which it is refused.
Rounding alone tips what lies on a threshold."""

MAX_WINDOWS = 64
"""Windows on which the size of values is measured."""


def add_half(
    whole: Whole, folder: Path, config: BundleConfig, notes: Sequence[Note]
) -> tuple[BundleConfig, Agreement]:
    """Add the graph of an fp16 encoder to a bundle and compare it with the fp32 one.

    On the CPU, where it is compared, ONNX Runtime rounds as fp16 does and sums in fp32, like
    GPUs. Both precisions share thresholds and calibration.

    Args:
        whole: the model's graphs.
        folder: of the bundle, with its fp32 encoder.
        config: the bundle's.
        notes: on which both are to decode alike.

    Returns:
        The configuration with the new encoder, and how far the two agree.

    Raises:
        ArtefactError: if they agree less than ``MIN_AGREEMENT``; with the figures.
    """
    reference = load_pipeline(Bundle(folder, config), precision="fp32")
    path = whole.encoder.with_name(FP16_NAME)
    convert(whole.encoder, path, windows=sample_windows(reference, notes, most=MAX_WINDOWS))
    write_stripped(onnx.load(str(path)), whole, folder / FP16_NAME)
    config = seal(folder, replace(config, encoders={**config.encoders, "fp16": FP16_NAME}))
    half = load_pipeline(Bundle(folder, config), precision="fp16")
    agreement = compare_decoded(reference, half, notes)
    if min(agreement.entity_f1, agreement.relation_f1) < MIN_AGREEMENT:
        raise ArtefactError(
            f"fp16 and fp32 decode {agreement.notes} notes differently: F1 "
            f"{agreement.entity_f1:.4f} of {agreement.entities} entities, "
            f"{agreement.relation_f1:.4f} of {agreement.relations} relations; at least "
            f"{MIN_AGREEMENT:g} is asked: export without --precision fp16"
        )
    return config, agreement


def convert(source: Path, target: Path, *, windows: Sequence[NDArray[np.int64]]) -> tuple[str, ...]:
    """Write the fp16 form of an encoder graph.

    Args:
        source: fp32 ONNX file, as the bundle has it.
        target: the file to write.
        windows: (T,) piece ids each, on which the size of values is measured.

    Returns:
        Names of the nodes that stay fp32 for the size of their values.

    Raises:
        ArtefactError: if a weight outgrows fp16.
    """
    model = onnx.load(str(source))
    _check_weights(model.graph)
    for position, node in enumerate(model.graph.node):
        node.name = f"{position}/{node.op_type}"  # nodes are kept by name: each needs its own
    peaks = _measure(model, windows)
    large = {name for name, peak in peaks.items() if peak > MOST}
    kept = tuple(node.name for node in model.graph.node if large & {*node.input, *node.output})
    # What has its type given is cast to fp16: not what passes between nodes that stay fp32.
    give_types(model, [name for name in peaks if name not in large])
    half = OnnxModel(
        convert_float_to_float16(
            model,
            keep_io_types=True,
            disable_shape_infer=True,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, *FP32_OPERATORS],
            node_block_list=list(kept),
        )
    )
    half.topological_sort()
    onnx.save(half.model, str(target))
    return kept


def sample_windows(
    pipeline: Pipeline, notes: Sequence[Note], *, most: int
) -> list[NDArray[np.int64]]:
    """Piece ids (T,) of windows from all over the notes.

    Args:
        pipeline: that cuts them.
        notes: any number.
        most: windows at most.
    """
    states = [pipeline.prepare(note) for note in notes]
    jobs = [(state, index) for state in states for index in range(len(state.windows))]
    step = math.ceil(len(jobs) / most) or 1
    return [pipeline.window_pieces(state, index)[0] for state, index in jobs[::step]]


def _check_weights(graph: onnx.GraphProto) -> None:
    for weight in graph.initializer:
        if weight.data_type != TensorProto.FLOAT or len(weight.dims) < 2:
            continue
        largest = float(np.abs(numpy_helper.to_array(weight)).max(initial=0.0))
        if MOST < largest < INFINITE:
            raise ArtefactError(
                f"a weight is {largest:.2g}, too large for fp16: export without --precision fp16"
            )


def _measure(model: onnx.ModelProto, windows: Sequence[NDArray[np.int64]]) -> dict[str, float]:
    """Per fp32 tensor inside the graph, the size of its largest value that is not infinite."""
    names = float_tensors(model)
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.initializer.append(
        numpy_helper.from_array(np.asarray(INFINITE, dtype=np.float32), "probe_infinite")
    )
    for number, name in enumerate(names):
        probe.graph.node.extend(_largest(name, f"probe_{number}"))
        probe.graph.output.append(ValueInfoProto(name=f"probe_{number}"))
    session = _session(probe)
    peaks = np.zeros(len(names))
    for ids in windows:
        mask = np.ones((1, len(ids)), dtype=np.int64)
        sizes = session.run(None, {"input_ids": ids[None], "attention_mask": mask})
        peaks = np.maximum(peaks, [float(size) for size in sizes])
    return dict(zip(names, peaks.tolist(), strict=True))


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Names of the fp32 tensors that nodes write, as ONNX Runtime infers them."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    written = [name for node in model.graph.node for name in node.output if name]
    probe.graph.output.extend(ValueInfoProto(name=name) for name in written)
    found = _session(probe).get_outputs()
    return [output.name for output in found if output.type == "tensor(float)"]


def give_types(model: onnx.ModelProto, names: Iterable[str]) -> None:
    """State that these tensors are fp32, in place of all that the graph stated before.

    onnx itself infers no types behind ONNX Runtime's own operators.
    """
    outputs = {output.name for output in model.graph.output}
    del model.graph.value_info[:]
    model.graph.value_info.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in names
        if name not in outputs
    )


def _largest(name: str, result: str) -> list[NodeProto]:
    """Nodes that give the largest finite size in a tensor as a scalar."""
    size, finite, kept = f"{result}_size", f"{result}_finite", f"{result}_kept"
    return [
        helper.make_node("Abs", [name], [size]),
        helper.make_node("Less", [size, "probe_infinite"], [f"{finite}_mask"]),
        helper.make_node("Cast", [f"{finite}_mask"], [finite], to=TensorProto.FLOAT),
        helper.make_node("Mul", [size, finite], [kept]),
        helper.make_node("ReduceMax", [kept], [result], keepdims=0),
    ]


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
