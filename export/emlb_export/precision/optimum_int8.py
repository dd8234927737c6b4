"""optimum's int8: its ``ORTQuantizer`` with the presets that it has for each kind of processor.

The presets quantise dynamically: weights once, with a scale for each output column;
activations while running, with one scale for everything in a run. A window's result
therefore depends on what runs in the same batch, unlike that of ``emlb_export.precision.int8``.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

from emlb.model.model import EmlbModel
from emlb_export.graph.optimise import optimise
from emlb_export.graph.optimum_graphs import quiet_optimum
from emlb_export.graph.trace import export_attributes, export_encoder, export_relations
from emlb_export.presets import PRESETS
from emlb_runtime.inference.arithmetic import Products

_CONFIGS = (
    AutoQuantizationConfig.avx2,
    AutoQuantizationConfig.avx512,
    AutoQuantizationConfig.avx512_vnni,
    AutoQuantizationConfig.arm64,
)

PRODUCTS: dict[str, Products] = {
    preset: "u8u8" if preset == "optimum-avx2" else "u8s8" for preset in PRESETS
}
"""What a processor must multiply exactly; see ``emlb_runtime.inference.arithmetic``."""


def write_encoder(model: EmlbModel, target: Path, *, preset: str) -> None:
    """Write a model's int8 encoder as optimum makes it.

    optimum quantises a graph as it was exported: ONNX Runtime fuses its nodes afterwards.

    Args:
        model: in evaluation mode, on the CPU.
        target: the file to write.
        preset: one of ``emlb_export.presets.PRESETS``.
    """
    _write(partial(export_encoder, model), target, preset)


def write_relations(model: EmlbModel, targets: Mapping[str, Path], *, preset: str) -> None:
    """Write a model's int8 relation heads as optimum makes them.

    Args:
        model: in evaluation mode, on the CPU.
        targets: the file to write, per task.
        preset: one of ``emlb_export.presets.PRESETS``.
    """
    for task, target in targets.items():
        _write(partial(export_relations, model, task), target, preset)


def write_attributes(model: EmlbModel, targets: Mapping[str, Path], *, preset: str) -> None:
    """Write a model's int8 attribute heads as optimum makes them; see ``write_relations``."""
    for task, target in targets.items():
        _write(partial(export_attributes, model, task), target, preset)


def _write(export: Callable[[Path], object], target: Path, preset: str) -> None:
    """Export one network, quantise it, and let ONNX Runtime fuse its nodes."""
    with _scratch(target) as raw:
        export(raw)
        quantize(raw, raw, preset=preset)
        optimise(raw, target)


def quantize(source: Path, target: Path, *, preset: str) -> None:
    """Write the int8 form of a graph that has not been optimised.

    Args:
        source: fp32 ONNX file, of standard operators alone.
        target: the file to write; may be ``source``.
        preset: one of ``emlb_export.presets.PRESETS``.
    """
    config = dict(zip(PRESETS, _CONFIGS, strict=True))[preset](is_static=False)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".optimum-") as folder:
        with quiet_optimum(), _quiet_root():
            ORTQuantizer(source).quantize(config, save_dir=folder, file_suffix=None)
        (Path(folder) / source.name).replace(target)


@contextmanager
def _scratch(target: Path) -> Iterator[Path]:
    """A file to work on, in a folder of its own beside the target."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".optimum-") as folder:
        yield Path(folder) / "raw.onnx"


@contextmanager
def _quiet_root() -> Iterator[None]:
    """Without the warnings that ONNX Runtime's quantiser gives to the root logger.

    It names every lookup of integers, which is not to be quantised.
    """
    root = logging.getLogger()
    handler = logging.NullHandler()  # with none at all, logging.warning would set one up

    def drop(record: logging.LogRecord) -> bool:
        return False

    root.addHandler(handler)
    root.addFilter(drop)
    try:
        yield
    finally:
        root.removeFilter(drop)
        root.removeHandler(handler)
