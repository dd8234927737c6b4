"""Optimise a graph once, at export."""

from __future__ import annotations

from pathlib import Path

import onnxruntime


def optimise(source: Path, target: Path) -> None:
    """Fuse and fold with ONNX Runtime now, so that sessions need not do it at every start.

    The source is deleted: a bundle holds the optimised graph alone.
    """
    # OpenVINO takes a product with transposed batches without a word, and gives nothing.
    left_out = ["MatmulTransposeFusion"]
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        str(source), options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out
    )
    source.unlink()
