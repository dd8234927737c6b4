"""The provider asked for is the provider used, or there is an error that says what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emlb_runtime import Note
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import BackendError, BundleError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.extraction.session_plan import products_for
from emlb_runtime.inference import onnx_backend as session
from emlb_runtime.inference.onnx_backend import (
    OnnxBackend,
    count_nodes,
    describe_placement,
    open_session,
)
from emlb_runtime.inference.providers import PROVIDERS
from emlb_runtime.profiling.stages import CountingBackend

CPU, CUDA, TENSORRT = PROVIDERS["cpu"], PROVIDERS["cuda"], PROVIDERS["tensorrt"]


def test_a_model_that_is_none() -> None:
    with pytest.raises(BundleError, match=r"encoder\.onnx: ONNX Runtime cannot load it"):
        open_session(b"no model", CPU, threads=1, name="encoder.onnx")


@dataclass
class Node:
    op_type: str


@dataclass
class Part:
    ep_name: str
    operators: Sequence[str]

    def get_nodes(self) -> list[Node]:
        return [Node(name) for name in self.operators]


@dataclass
class FakeRuntime:
    """An ``onnxruntime`` whose sessions come up on ``got`` with nodes in these places."""

    got: Sequence[str]
    places: Mapping[str, Sequence[str]] = field(default_factory=dict)
    failure: Exception | None = None
    options: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)

    class GraphOptimizationLevel:
        ORT_DISABLE_ALL = 0

    def set_default_logger_severity(self, level: int) -> None: ...

    def SessionOptions(self) -> FakeRuntime:
        return self

    def add_session_config_entry(self, key: str, value: str) -> None:
        self.entries[key] = value

    def InferenceSession(self, onnx: bytes, options: object, **more: Any) -> FakeRuntime:
        self.options = more
        if self.failure:
            raise self.failure
        return self

    def get_providers(self) -> list[str]:
        return [*self.got, CPU]

    def get_provider_graph_assignment_info(self) -> list[Part]:
        # ONNX Runtime gives the nodes of a compiling provider together, others one by one.
        return [Part(name, [op]) for name, ops in self.places.items() for op in ops]


def open_with(runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch, provider: str = CUDA) -> Any:
    monkeypatch.setattr(session, "import_onnxruntime", lambda: runtime)
    return open_session(b"", provider, threads=1, name="encoder.onnx")


def test_a_silent_fallback_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="CUDAExecutionProvider was asked for, but encoder.onnx"):
        open_with(FakeRuntime([]), monkeypatch)


def test_no_fallback_while_running_either(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in (CPU, CUDA):
        runtime = FakeRuntime([provider])
        open_with(runtime, monkeypatch, provider)
        assert runtime.options["enable_fallback"] == 0


def test_fp32_is_not_shortened_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider, asked in ((CUDA, [CUDA]), (TENSORRT, [TENSORRT, CUDA])):
        runtime = FakeRuntime([provider])
        open_with(runtime, monkeypatch, provider)
        given = runtime.options["providers"]
        assert [item if isinstance(item, str) else item[0] for item in given] == asked
        assert given[-1][1]["use_tf32"] == "0"


def test_a_provider_that_cannot_take_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = FakeRuntime([], failure=RuntimeError("the text of a note"))
    with pytest.raises(BackendError, match=r"cannot run it here \(RuntimeError\); --prov") as error:
        open_with(runtime, monkeypatch)
    assert "text" not in str(error.value)


def test_matrix_products_left_to_the_cpu_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {CUDA: ["Add", "Softmax"], CPU: ["MatMulInteger", "Shape", "MatMulInteger"]}
    runtime = FakeRuntime([CUDA], places)
    with pytest.raises(BackendError) as error:
        open_with(runtime, monkeypatch)
    assert "leaves 3 of its 5 nodes to the CPU, matrix products among them (MatMulInteger)" in str(
        error.value
    )
    assert "--precision fp16 or fp32" in str(error.value)
    assert runtime.entries == {"session.record_ep_graph_assignment_info": "1"}


def test_other_nodes_left_to_the_cpu_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {CUDA: ["MatMul"], CPU: ["Shape", "Gather", "Gather"]}
    opened = open_with(FakeRuntime([CUDA], places), monkeypatch)
    said = describe_placement(opened, CUDA, "encoder")
    assert said == f"encoder: {CUDA} leaves of 4 nodes 3 to cpu (Gather 2, Shape 1)"
    assert describe_placement(FakeRuntime([CUDA], {CUDA: ["MatMul"]}), CUDA, "encoder") == ""
    assert describe_placement(opened, CPU, "encoder") == ""


def test_an_older_onnxruntime_cannot_say() -> None:
    assert "only ONNX Runtime 1.24 and later" in describe_placement(object(), CUDA, "encoder")


def test_nodes_are_counted_in_a_real_session() -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    bundle = Bundle.load()
    (name,) = bundle.config.relations.values()
    opened = onnxruntime.InferenceSession(bundle.whole(name), options, providers=[CPU])
    if not hasattr(opened, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime cannot say where nodes run")
    counts = count_nodes(opened)
    assert counts is not None and list(counts) == [CPU]
    assert counts[CPU]["MatMul"] > 1


def test_hidden_states_held_on_a_device_give_the_same_documents(
    example_notes: Sequence[Path],
) -> None:
    """On the CPU the device is the same memory; bound as it is for a GPU all the same."""
    bundle = Bundle.load()
    texts = [path.read_bytes().decode("utf-8") for path in example_notes[:3]]
    notes = [Note(str(number), text) for number, text in enumerate(texts)]
    pipeline = load_pipeline(bundle, batch=4)
    expected = pipeline.run(notes)
    assert sum(len(document.relations) for document in expected) > 50
    precision = bundle.config.default_precision
    contents, config = bundle.contents(precision), bundle.config

    def opened(name: str, graph: bytes) -> Any:
        products = products_for(config, precision) or "u8s8"
        given = contents.given[name]
        return open_session(graph, CPU, threads=1, name=name, given=given, products=products)

    pipeline.backend = OnnxBackend(
        opened(config.encoders[precision], contents.encoder),
        {
            task: opened(name, contents.relations[task])
            for task, name in config.relations_of(precision).items()
        },
        provider=CPU,
        precision=precision,
        device="cpu",
    )
    counter = CountingBackend(pipeline.backend)
    pipeline.backend = counter
    assert pipeline.run(notes) == expected
    assert counter.cells > counter.tokens  # batches were padded, so that parts were cut


class Failing:
    """A session that fails with the given words."""

    def __init__(self, words: str) -> None:
        self._words = words

    def get_outputs(self) -> list[Any]:
        return []

    def run(self, names: object, inputs: object) -> list[Any]:
        raise RuntimeError(self._words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("BFCArena::AllocateRawInternal Failed to allocate memory for 7 of rash", MemoryError),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED", MemoryError),
        ("std::bad_alloc", MemoryError),
        ("Got invalid dimensions", RuntimeError),
    ],
)
def test_want_of_memory_is_told_apart(words: str, expected: type[Exception]) -> None:
    backend = OnnxBackend(Failing(words), {}, provider=CPU, precision="fp32")
    ids = np.ones((2, 3), dtype=np.int64)
    with pytest.raises(expected) as raised:
        backend.encode(ids, ids)
    assert ("rash" in str(raised.value)) is False
