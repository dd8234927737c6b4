"""ONNX Runtime sessions on the provider that was asked for, or an error."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from emlb_runtime.errors import BackendError, BundleError
from emlb_runtime.inference.onnx_bytes import declared, held, with_tensors
from emlb_runtime.inference.weights import Given

from .arithmetic import Products
from .backend import Encoded, Floats, Ints
from .device_tensor import HeldFloats
from .providers import PROVIDERS, import_onnxruntime, short_name

CPU, CUDA = PROVIDERS["cpu"], PROVIDERS["cuda"]
TENSORRT, OPENVINO = PROVIDERS["tensorrt"], PROVIDERS["openvino"]

DEVICES = {CUDA: "cuda", TENSORRT: "cuda"}
"""Where hidden states stay between encoder and relation head, where that is not the CPU."""

_SMALL = 128
"""Bytes below which a weight is held by the graph."""

_NO_MEMORY = re.compile(
    "failed to allocate|out of memory|bad.alloc|bad allocation|ALLOC_FAILED", re.IGNORECASE
)

# With these on the CPU, the model runs there: what else is left are shapes and indices.
_PRODUCTS = frozenset(
    "Attention DynamicQuantizeMatMul FusedMatMul Gemm MatMul MatMulInteger "
    "MatMulIntegerToFloat MatMulNBits MultiHeadAttention QAttention QGemm QLinearMatMul".split()
)


@contextmanager
def _memory_errors() -> Iterator[None]:
    """ONNX Runtime's several errors for want of memory as ``MemoryError``, without its words."""
    try:
        yield
    except Exception as error:
        if _NO_MEMORY.search(str(error)) is None:
            raise
        raise MemoryError("ONNX Runtime could not get the memory for a batch") from None


def open_session(
    onnx: bytes,
    provider: str,
    *,
    threads: int,
    name: str,
    given: Given | None = None,
    products: Products = "u8s8",
) -> Any:
    """A session that runs on that provider and no other.

    Args:
        onnx: the model.
        provider: ONNX Runtime's name of it.
        threads: within one run.
        name: of the model's file, for messages.
        given: the weights that the model reads and does not hold.
        products: the kind that int8 weights are made ready for.

    Raises:
        BackendError: if the session came up on another provider, or the provider leaves
            matrix products to the CPU.
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
    if provider != CPU:
        # session.disable_cpu_ep_fallback would refuse every graph whose shapes are computed.
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        options.log_severity_level = 4  # what fails is told below
        onnxruntime.set_default_logger_severity(4)
    onnx, kept = _give(onnx, options, provider, given, products)
    try:
        # With its fallback it would go on with the CPU, now or in the middle of a run.
        session = onnxruntime.InferenceSession(
            onnx, options, providers=_with_options(provider, threads), enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime raises several kinds, none public
        kind = type(error).__name__
        if provider == CPU:
            raise BundleError(f"{name}: ONNX Runtime cannot load it ({kind})") from error
        raise BackendError(
            f"{name}: {provider} cannot run it here ({kind}); --provider cpu can"
        ) from error
    got = session.get_providers()[0]
    if got != provider:
        raise BackendError(f"{provider} was asked for, but {name} came up on {got}")
    _refuse_products_on_cpu(session, provider, name)
    session.emlb_kept = kept  # ONNX Runtime reads this memory as long as the session lives
    return session


def _give(
    onnx: bytes, options: Any, provider: str, given: Given | None, products: Products
) -> tuple[bytes, list[Any]]:
    """The model with its weights declared or held, and the memory that must outlive the session.

    The CPU takes them from memory, and what is stored as it is needed is not copied. Other
    providers may compile the model as a file, which then holds them.
    """
    if given is None:
        return onnx, []
    if provider != CPU:
        return given.whole(onnx, products), []
    ort_value = import_onnxruntime().OrtValue.ortvalue_from_numpy
    tensors, names, kept = [], [], []
    for name in given.names:
        found = given.weights.value(name, products)
        if found.nbytes < _SMALL:
            tensors.append(held(name, found))
        else:
            tensors.append(declared(name, found.dtype, found.shape))
            names.append(name)
            kept.append(found)
    options.add_external_initializers(names, [ort_value(array) for array in kept])
    return with_tensors(onnx, tensors), kept


def _with_options(provider: str, threads: int) -> list[Any]:
    """A provider and the options under which it does what its precision says."""
    if provider == OPENVINO:
        # Left to itself OpenVINO may take bf16 for fp32 where the processor has it.
        exact = '{"CPU": {"INFERENCE_PRECISION_HINT": "f32"}}'
        options = {"device_type": "CPU", "num_of_threads": str(threads), "load_config": exact}
        return [(provider, options)]
    # TF32 has ten bits of mantissa: that is not fp32.
    cuda = (CUDA, {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"})
    if provider == TENSORRT:
        return [TENSORRT, cuda]
    return [cuda] if provider == CUDA else [provider]


def count_nodes(session: Any) -> dict[str, Counter[str]] | None:
    """Per provider its nodes by operator; None if ONNX Runtime cannot say (before 1.24)."""
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    if ask is None:
        return None
    counts: dict[str, Counter[str]] = {}
    for part in ask():
        here = counts.setdefault(part.ep_name, Counter())
        here.update(node.op_type for node in part.get_nodes())
    return counts


def _refuse_products_on_cpu(session: Any, provider: str, name: str) -> None:
    counts = count_nodes(session) if provider != CPU else None
    on_cpu = (counts or {}).get(CPU, Counter())
    if products := sorted(_PRODUCTS & on_cpu.keys()):
        total = sum(sum(here.values()) for here in (counts or {}).values())
        raise BackendError(
            f"{name}: {provider} leaves {sum(on_cpu.values())} of its {total} nodes to the CPU, "
            f"matrix products among them ({', '.join(products)}): choose --precision fp16 or "
            "fp32 where the bundle has it, or --provider cpu"
        )


def describe_placement(session: Any, provider: str, name: str) -> str:
    """A sentence on the nodes that a provider leaves to others; empty if it leaves none."""
    if provider == CPU:
        return ""
    counts = count_nodes(session)
    if counts is None:
        return f"{name}: only ONNX Runtime 1.24 and later can say what runs on the CPU after all"
    total = sum(sum(here.values()) for here in counts.values())
    left = {other: here for other, here in counts.items() if other != provider}
    parts = [
        f"{sum(here.values())} to {short_name(other)} "
        f"({', '.join(f'{kind} {n}' for kind, n in here.most_common(3))})"
        for other, here in left.items()
    ]
    return f"{name}: {provider} leaves of {total} nodes {', '.join(parts)}" if parts else ""


def name_outputs(names: Sequence[str], values: Sequence[Any]) -> Encoded:
    """An encoder's outputs by task: ``hidden`` and ``emissions_TASK``, in the graph's order."""
    named = dict(zip(names, values, strict=True))
    hidden = named.pop("hidden")
    return Encoded(
        hidden, {name.removeprefix("emissions_"): scores for name, scores in named.items()}
    )


class OnnxBackend:
    """The networks of a bundle as ONNX sessions; safe to call from many threads.

    Args:
        encoder: session of the encoder.
        relations: session per task.
        attributes: session per task whose mentions have attributes.
        provider: that the encoder runs on.
        precision: of the encoder.
        device: ONNX Runtime's name of the device on which hidden states stay for the relation
            heads; None hands them over as arrays.
    """

    def __init__(
        self,
        encoder: Any,
        relations: Mapping[str, Any],
        attributes: Mapping[str, Any] | None = None,
        *,
        provider: str,
        precision: str,
        device: str | None = None,
    ) -> None:
        self._encoder = encoder
        self._relations = dict(relations)
        self._attributes = dict(attributes or {})
        self._provider = provider
        self._precision = precision
        self._device = device
        self._outputs = [output.name for output in encoder.get_outputs()]

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider."""
        return self._provider

    @property
    def precision(self) -> str:
        """``int8``, ``fp16`` or ``fp32``."""
        return self._precision

    def notes(self) -> list[str]:
        """Sentences on what the provider leaves to another one."""
        sessions = {"encoder": self._encoder}
        for what, heads in (("relations", self._relations), ("attributes", self._attributes)):
            for task, session in heads.items():
                if session.get_providers()[0] == self._provider:  # another one was chosen by plan
                    sessions[f"{what} of {task}"] = session
        said = (describe_placement(s, self._provider, name) for name, s in sessions.items())
        return [sentence for sentence in said if sentence]

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        """See ``Backend``; with a device, the hidden states are ``HeldFloats``."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        with _memory_errors():
            if self._device is None:
                values = self._encoder.run(self._outputs, inputs)
            else:
                values = self._encode_on_device(inputs)
        return name_outputs(self._outputs, values)

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        """See ``Backend``; takes the hidden states as ``encode`` gave them."""
        inputs = {"attention_mask": attention_mask, "spans": spans, "pairs": pairs}
        return self._run_head(self._relations[task], hidden, inputs, "logits")

    def describe(self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints) -> Floats:
        """See ``Backend``; takes the hidden states as ``encode`` gave them."""
        inputs = {"attention_mask": attention_mask, "spans": spans}
        return self._run_head(self._attributes[task], hidden, inputs, "scores")

    def _run_head(
        self, session: Any, hidden: Floats, inputs: Mapping[str, Ints], output: str
    ) -> Floats:
        if isinstance(hidden, HeldFloats):
            return self._run_head_on_device(session, hidden, inputs, output)
        values: Floats = session.run([output], {"hidden": hidden, **inputs})[0]
        return values

    def _encode_on_device(self, inputs: Mapping[str, Ints]) -> list[Any]:
        """Outputs in order: hidden states held on the device, emissions as arrays."""
        binding = self._encoder.io_binding()
        for name, values in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        for name in self._outputs:
            binding.bind_output(name, self._device if name == "hidden" else "cpu")
        self._encoder.run_with_iobinding(binding)
        return [
            # It is cut like an array, and goes nowhere but back to ``relate``.
            cast(Floats, HeldFloats(value)) if name == "hidden" else value.numpy()
            for name, value in zip(self._outputs, binding.get_outputs(), strict=True)
        ]

    def _run_head_on_device(
        self, session: Any, hidden: HeldFloats, inputs: Mapping[str, Ints], output: str
    ) -> Floats:
        binding = session.io_binding()
        for name, values in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        binding.bind_input(
            "hidden", self._device, 0, hidden.dtype.type, hidden.shape, hidden.pointer
        )
        binding.bind_output(output, "cpu")
        session.run_with_iobinding(binding)
        found: Floats = binding.get_outputs()[0].numpy()
        return found
