"""On a GPU: what the CPU finds, and no silent way back to the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from emlb_runtime import Extractor
from tests.tiny import TinyRun

pytestmark = pytest.mark.gpu


def test_cuda_finds_what_the_cpu_finds(tiny_run: TinyRun, tiny_bundle: Path) -> None:
    notes = [document.note for document in tiny_run.documents] * 10
    on_cpu = Extractor.load(tiny_bundle, provider="cpu", precision="fp32")
    on_gpu = Extractor.load(tiny_bundle, provider="cuda", precision="fp32")
    assert on_gpu.info.provider == "CUDAExecutionProvider"
    for left, right in zip(on_cpu.extract_many(notes), on_gpu.extract_many(notes), strict=True):
        assert [(e.type, e.start, e.end) for e in left.entities] == [
            (e.type, e.start, e.end) for e in right.entities
        ]
        assert [(r.type, r.head, r.tail) for r in left.relations] == [
            (r.type, r.head, r.tail) for r in right.relations
        ]
