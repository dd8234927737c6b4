"""The encoders that `quantisation.py` compares: each made from one fp32 encoder, ready to run.

ONNX Runtime's own tools make them as their documentation advises. What can be fused is fused
when they are made, as in a bundle. A bundle would refuse some of their operators, so that each
runs as a backend of the pipeline instead, beside the fp32 relation heads.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.onnx_model import ONNXModel

from emlb_export.fp16 import convert, float_tensors, give_types
from emlb_export.graph.optimise import optimise
from emlb_export.precision.int8 import MIN_EMBEDDING_ROWS, quantize
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.inference.backend import Backend, Encoded, Floats, Ints
from emlb_runtime.inference.onnx_backend import OnnxBackend, name_outputs, open_session
from emlb_runtime.inference.providers import PROVIDERS
from emlb_runtime.machine.info import BF16_INSTRUCTIONS, available_cores, read_machine

BLOCK = 32
"""Weights that share a scale in MatMulNBits."""

INT8_COMPUTE = 4
"""MatMulNBits' level of accuracy at which products are of 8-bit numbers."""

Windows = Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Variant:
    """An encoder to compare.

    Attributes:
        name: for the table.
        file: its ONNX file.
        backend: that runs it.
    """

    name: str
    file: Path
    backend: Backend

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return self.file.stat().st_size

    @property
    def table_size(self) -> int:
        """Bytes of those that are lookup tables (embeddings)."""
        graph = onnx.load(str(self.file)).graph
        tables = {node.input[0] for node in graph.node if node.op_type == "Gather"}
        return sum(
            weight.ByteSize()
            for weight in graph.initializer
            if len(weight.dims) == 2
            and weight.dims[0] >= MIN_EMBEDDING_ROWS
            and weight.name in tables
        )


def make_variants(
    bundle: Bundle, reference: Backend, scratch: Path, *, calibration: Windows
) -> tuple[list[Variant], dict[str, str]]:
    """All variants that can be had here, fp32 first; and why others cannot.

    Args:
        bundle: with an fp32 encoder.
        reference: which runs it; the relation heads of others are its own.
        scratch: folder for their files.
        calibration: (T,) piece ids each, of raw notes.
    """
    source, apart = scratch / "fp32.onnx", scratch / "apart.onnx"
    source.write_bytes(bundle.whole(bundle.config.encoders["fp32"]))
    _without_gemm(source, apart)
    variants = [Variant("fp32", source, reference)]
    for name, make in _makers(calibration).items():
        file = scratch / f"{name.replace(' ', '_').replace(',', '')}.onnx"
        make(source if name == OURS else apart, file)
        variants.append(Variant(name, file, _open(bundle, file, name)))
    left_out = {}
    static = next(variant.file for variant in variants if variant.name == STATIC)
    for name, file, hint in (
        ("openvino fp32", source, "f32"),
        ("openvino bf16", source, "bf16"),
        ("openvino static int8", static.with_suffix(".qdq"), "f32"),
    ):
        if reason := _missing(hint):
            left_out[name] = reason
        else:
            variants.append(Variant(name, file, OpenVinoBackend(file, hint, reference)))
    return variants, left_out


def _without_gemm(source: Path, target: Path) -> None:
    """The same graph with products and sums apart: not every tool quantises them in one node."""
    model = ONNXModel(onnx.load(str(source)))
    model.replace_gemm_with_matmul()
    model.topological_sort()
    model.save_model_to_file(str(target))


STATIC, OURS = "static int8", "ours int8"
Maker = Callable[[Path, Path], None]


def _makers(calibration: Windows) -> Mapping[str, Maker]:
    """Per variant of ONNX Runtime, what writes it: source, target."""
    return {
        "dynamic int8 per tensor": lambda source, target: _dynamic(source, target, False),
        "dynamic int8 per channel": lambda source, target: _dynamic(source, target, True),
        STATIC: lambda source, target: _static(source, target, calibration),
        "MatMulNBits 8 bit": lambda source, target: _blocks(source, target, 8),
        "MatMulNBits 4 bit": lambda source, target: _blocks(source, target, 4),
        OURS: _ours,
        "fp16": lambda source, target: _half(source, target, calibration),
    }


def _dynamic(source: Path, target: Path, per_channel: bool) -> None:
    logging.disable(logging.WARNING)  # it advises to fuse first, which export has done
    plain = target.with_suffix(".plain")
    quantize_dynamic(
        source,
        plain,
        per_channel=per_channel,
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )
    logging.disable(logging.NOTSET)
    optimise(plain, target)


class _Windows(CalibrationDataReader):  # type: ignore[misc]  # it ships no types
    def __init__(self, windows: Windows) -> None:
        self._left: Iterator[NDArray[np.int64]] = iter(windows)

    def get_next(self) -> dict[str, Ints] | None:
        ids = next(self._left, None)
        return None if ids is None else _inputs(ids)


def _static(source: Path, target: Path, calibration: Windows) -> None:
    """QDQ; what narrows (the second feed-forward matrix, whose inputs have outliers) stays fp32.

    The file before fusion stays beside the target, for OpenVINO.
    """
    typed, plain = target.with_suffix(".typed"), target.with_suffix(".qdq")
    model = onnx.load(str(source))
    give_types(model, float_tensors(model))
    onnx.save(model, str(typed))
    graph = model.graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    narrowing = [
        node.name
        for node in graph.node
        if node.op_type == "MatMul"
        and len(shape := shapes.get(node.input[1], ())) == 2
        and shape[0] > shape[1]
    ]
    logging.disable(logging.WARNING)
    quantize_static(
        typed,
        plain,
        _Windows(calibration),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=narrowing,
        extra_options={
            "MatMulConstBOnly": True,
            # Sums stay fp32: to round them too costs accuracy and saves nothing.
            "OpTypesToExcludeOutputQuantization": ["MatMul"],
        },
    )
    logging.disable(logging.NOTSET)
    typed.unlink()
    spare = target.with_suffix(".spare")
    shutil.copy(plain, spare)
    optimise(spare, target)


def _blocks(source: Path, target: Path, bits: int) -> None:
    logging.disable(logging.INFO)
    quantizer = MatMulNBitsQuantizer(
        onnx.load(str(source)),
        bits=bits,
        block_size=BLOCK,
        is_symmetric=True,
        accuracy_level=INT8_COMPUTE,
    )
    quantizer.process()
    logging.disable(logging.NOTSET)
    plain = target.with_suffix(".plain")
    onnx.save(quantizer.model.model, str(plain))
    optimise(plain, target)


def _ours(source: Path, target: Path) -> None:
    plain = target.with_suffix(".plain")
    quantize(source, plain)
    optimise(plain, target)


def _half(source: Path, target: Path, windows: Windows) -> None:
    convert(source, target, windows=windows)


def _open(bundle: Bundle, file: Path, name: str) -> OnnxBackend:
    provider = PROVIDERS["cpu"]
    return OnnxBackend(
        open_session(file.read_bytes(), provider, threads=1, name=name),
        {
            task: open_session(bundle.whole(head), provider, threads=1, name=task)
            for task, head in bundle.config.relations.items()
        },
        provider=provider,
        precision=name,
    )


def _missing(hint: str) -> str:
    if importlib.util.find_spec("openvino") is None:
        return "openvino is not installed: pip install openvino"
    instructions = read_machine().instructions
    if hint == "bf16" and not {*BF16_INSTRUCTIONS} & {*(instructions or ())}:
        return f"the processor has none of {', '.join(BF16_INSTRUCTIONS)}"
    return ""


class OpenVinoBackend:
    """An encoder run by the `openvino` package on the CPU, one stream per core.

    Args:
        file: ONNX.
        precision: OpenVINO's name of the precision it may compute in.
        relations: runs the relation heads.
    """

    def __init__(self, file: Path, precision: str, relations: Backend) -> None:
        openvino, cores = importlib.import_module("openvino"), available_cores()
        model, core = onnx.load(str(file)), openvino.Core()
        self._model = core.compile_model(
            core.read_model(model.SerializeToString()),
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "NUM_STREAMS": cores,
                "INFERENCE_NUM_THREADS": cores,
            },
        )
        self._names = [output.name for output in model.graph.output]  # OpenVINO keeps the order
        self._relations = relations
        self._of_thread = threading.local()

    @property
    def provider(self) -> str:
        """See ``Backend``."""
        return "openvino"

    @property
    def precision(self) -> str:
        """See ``Backend``."""
        return str(self._model.get_property("INFERENCE_PRECISION_HINT"))

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        """See ``Backend``."""
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._model.create_infer_request()
        request: Any = self._of_thread.request
        request.infer({"input_ids": input_ids, "attention_mask": attention_mask})
        # The next run writes to the same memory.
        values = [request.get_output_tensor(i).data.copy() for i in range(len(self._names))]
        return name_outputs(self._names, values)

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        """See ``Backend``."""
        return self._relations.relate(task, hidden, attention_mask, spans, pairs)


def _inputs(ids: NDArray[np.int64]) -> dict[str, Ints]:
    return {"input_ids": ids[None], "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
