"""ONNX Runtime sessions on the provider that was asked for, or an error."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .backend import Encoded, Floats, Ints
from .errors import BackendError, BundleError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def import_onnxruntime() -> Any:
    """The ``onnxruntime`` module.

    Raises:
        BackendError: if no build of it is installed, or two.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise BackendError(
            "ONNX Runtime is not installed: pip install 'emlb[cpu]' (or 'emlb[gpu]' for CUDA)"
        )
    if len(installed_builds(Path(spec.origin).parent.parent)) > 1:
        raise BackendError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
            "pip uninstall both, then install one, emlb[cpu] or emlb[gpu]"
        )
    import onnxruntime

    return onnxruntime


def installed_builds(folder: Path) -> set[str]:
    """The builds of ONNX Runtime whose metadata lie in a folder of packages.

    Read off the folder's names: ``importlib.metadata`` alone takes a tenth of the start-up.
    """
    found = {path.name.partition("-")[0] for path in folder.glob("onnxruntime*.dist-info")}
    return found & {"onnxruntime", "onnxruntime_gpu"}


def choose_provider(asked: str, available: list[str]) -> str:
    """ONNX Runtime's name of the provider to use.

    Args:
        asked: ``auto``, ``cpu`` or ``cuda``.
        available: what the installed build has.

    Raises:
        BackendError: if the one asked for is unknown or not to be had.
    """
    if asked == "auto":
        return PROVIDERS["cuda"] if PROVIDERS["cuda"] in available else PROVIDERS["cpu"]
    if asked not in PROVIDERS:
        raise BackendError(f"provider {asked!r} is unknown; choose auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[asked] not in available:
        raise BackendError(
            f"provider {asked} ({PROVIDERS[asked]}) was asked for, but the installed ONNX "
            f"Runtime has only {', '.join(available)}: install emlb[{asked.replace('cuda', 'gpu')}]"
        )
    return PROVIDERS[asked]


def open_session(onnx: bytes, provider: str, *, threads: int, name: str) -> Any:
    """A session that runs on that provider and no other.

    Args:
        onnx: the model.
        provider: ONNX Runtime's name of it.
        threads: within one run.
        name: of the model's file, for messages.

    Raises:
        BackendError: if the session came up on another provider.
        BundleError: if ONNX Runtime cannot load the model.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Export has fused and folded the graph; doing it again would double the start-up time.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # Every window has its own length: a memory plan per shape would only grow.
    options.enable_mem_pattern = False
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=[provider])
    except Exception as error:  # ONNX Runtime raises several kinds, none public
        raise BundleError(
            f"{name}: ONNX Runtime cannot load it ({type(error).__name__})"
        ) from error
    got = session.get_providers()[0]
    if got != provider:
        raise BackendError(f"{provider} was asked for, but {name} came up on {got}")
    return session


class OnnxBackend:
    """The networks of a bundle as ONNX sessions; safe to call from many threads.

    Args:
        encoder: session of the encoder.
        relations: session per task.
        provider: that all of them run on.
        precision: of the encoder.
    """

    def __init__(
        self, encoder: Any, relations: Mapping[str, Any], *, provider: str, precision: str
    ) -> None:
        self._encoder = encoder
        self._relations = dict(relations)
        self._provider = provider
        self._precision = precision
        self._outputs = [output.name for output in encoder.get_outputs()]

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider."""
        return self._provider

    @property
    def precision(self) -> str:
        """``int8``, ``fp16`` or ``fp32``."""
        return self._precision

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        """See ``Backend``."""
        values = self._encoder.run(
            self._outputs, {"input_ids": input_ids, "attention_mask": attention_mask}
        )
        named = dict(zip(self._outputs, values, strict=True))
        hidden = named.pop("hidden")
        return Encoded(
            hidden, {name.removeprefix("emissions_"): scores for name, scores in named.items()}
        )

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        """See ``Backend``."""
        logits: Floats = self._relations[task].run(
            ["logits"],
            {"hidden": hidden, "attention_mask": attention_mask, "spans": spans, "pairs": pairs},
        )[0]
        return logits
