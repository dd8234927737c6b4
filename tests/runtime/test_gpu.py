"""On a GPU: what the CPU finds, no silent way back to the CPU, and flat memory.

Run with ``pytest -m gpu`` where ``emlb[gpu]`` is installed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emlb_runtime import Document, Extractor, Note
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import BackendError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.inference.device_tensor import HeldFloats
from emlb_runtime.inference.onnx_backend import OnnxBackend, count_nodes, open_session
from emlb_runtime.inference.providers import PROVIDERS, import_onnxruntime, what_is_missing
from tests.tiny import TinyRun

pytestmark = pytest.mark.gpu

CPU, CUDA = PROVIDERS["cpu"], PROVIDERS["cuda"]
TOLERANCE = 1e-3
"""Of scores; sums run in another order on a GPU."""


# Of the whole session, so that it skips before a model is trained for these tests.
@pytest.fixture(scope="session", autouse=True)
def cuda() -> None:
    """Skip, saying why, where CUDA cannot run."""
    runtime = import_onnxruntime()
    if CUDA not in runtime.get_available_providers():
        pytest.skip("the installed ONNX Runtime has no CUDA: install emlb[gpu]")
    if missing := what_is_missing(CUDA, runtime):
        pytest.skip(f"CUDA cannot run here: {'; '.join(missing)}")


@pytest.fixture(scope="module")
def notes(tiny_run: TinyRun) -> list[Note]:
    """Notes of many lengths, of one window and of several."""
    texts = [document.note.text for document in tiny_run.documents]
    return [
        Note(f"note-{number}", "\n".join(texts[: number % 7 + 1] * (1 + number % 3)))
        for number in range(80)
    ]


@pytest.fixture(scope="module")
def on_gpu(tiny_bundle: Path) -> Extractor:
    return Extractor.load(tiny_bundle, provider="cuda", precision="fp32")


def scores(document: Document) -> list[float]:
    return [e.score for e in document.entities] + [r.score for r in document.relations]


def assert_alike(left: Sequence[Document], right: Sequence[Document]) -> None:
    assert sum(len(document.relations) for document in left) > 0
    for one, other in zip(left, right, strict=True):
        assert [(e.type, e.start, e.end) for e in one.entities] == [
            (e.type, e.start, e.end) for e in other.entities
        ]
        assert [(r.type, r.head, r.tail) for r in one.relations] == [
            (r.type, r.head, r.tail) for r in other.relations
        ]
        assert scores(other) == pytest.approx(scores(one), abs=TOLERANCE)


def test_cuda_finds_what_the_cpu_finds(
    tiny_bundle: Path, on_gpu: Extractor, notes: Sequence[Note]
) -> None:
    on_cpu = Extractor.load(tiny_bundle, provider="cpu", precision="fp32")
    found = list(on_gpu.extract_many(notes))
    assert_alike(list(on_cpu.extract_many(notes)), found)
    assert {document.status.provider for document in found if document.status} == {CUDA}


def test_the_whole_model_is_on_the_gpu(tiny_bundle: Path, on_gpu: Extractor) -> None:
    assert on_gpu.info.provider == CUDA
    bundle = Bundle.load(tiny_bundle)
    for name in (bundle.config.encoders["fp32"], *bundle.config.relations.values()):
        opened = open_session(bundle.whole(name), CUDA, threads=1, name=name)
        assert opened.get_providers()[0] == CUDA
        assert opened._enable_fallback is False
        counts = count_nodes(opened)
        if counts is not None:
            assert counts[CUDA]["MatMul"] + counts[CUDA]["FusedMatMul"] > 0


def test_auto_takes_the_gpu_and_a_float_encoder(tiny_bundle: Path) -> None:
    info = Extractor.load(tiny_bundle).info
    assert (info.asked, info.provider) == ("auto", CUDA)
    assert info.precision in ("fp16", "fp32")


def test_int8_is_on_the_gpu_or_refused(tiny_bundle: Path) -> None:
    try:
        pipeline = load_pipeline(Bundle.load(tiny_bundle), provider=CUDA, precision="int8")
    except BackendError as error:
        assert "choose --precision fp16 or fp32" in str(error)
    else:
        assert pipeline.backend.provider == CUDA


def test_the_size_of_a_batch_does_not_matter(tiny_bundle: Path, notes: Sequence[Note]) -> None:
    one, many = (
        Extractor.load(tiny_bundle, provider="cuda", precision="fp32", batch=batch)
        for batch in (1, 32)
    )
    assert_alike(list(one.extract_many(notes)), list(many.extract_many(notes)))


def test_held_hidden_states_give_the_same_documents(
    tiny_bundle: Path, notes: Sequence[Note]
) -> None:
    bundle = Bundle.load(tiny_bundle)

    def networks(device: str | None) -> OnnxBackend:
        def opened(name: str) -> Any:
            return open_session(bundle.whole(name), CUDA, threads=1, name=name)

        return OnnxBackend(
            opened(bundle.config.encoders["fp32"]),
            {task: opened(name) for task, name in bundle.config.relations.items()},
            provider=CUDA,
            precision="fp32",
            device=device,
        )

    pipeline = load_pipeline(bundle, provider=CUDA, precision="fp32", batch=8)
    pipeline.backend = networks(None)
    expected = pipeline.run(notes)
    pipeline.backend = held = networks("cuda")
    assert_alike(expected, pipeline.run(notes))
    ids = np.full((2, 7), 5, dtype=np.int64)
    assert isinstance(held.encode(ids, np.ones_like(ids)).hidden, HeldFloats)


def test_memory_is_flat(on_gpu: Extractor, notes: Sequence[Note]) -> None:
    for _ in on_gpu.extract_many(notes):
        pass
    before = free_memory()
    for _ in range(10):
        for _ in on_gpu.extract_many(notes):
            pass
    assert before - free_memory() <= 32 << 20


def free_memory() -> int:
    """Bytes free on the first GPU; another process there may disturb it."""
    driver = ctypes.CDLL("libcuda.so.1")
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    assert driver.cuInit(0) == 0
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0) == 0
    try:
        assert driver.cuCtxSetCurrent(context) == 0
        assert driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(0)
    return free.value
