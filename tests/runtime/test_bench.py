"""Measuring: what is counted is true, times are of the stages they name, no text gets out."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from emlb_runtime import Extractor, Note
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import BackendError, BundleError, ConfigError, DataError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.formats.notes import find_notes
from emlb_runtime.profiling import benchmark as bench
from emlb_runtime.profiling.benchmark import (
    Measured,
    Setting,
    extract_files,
    measure,
    measure_apart,
)
from emlb_runtime.profiling.stages import STAGES, CountingBackend, StageTimer, time_stages

MARKER = "zebrafish"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two notes that can be extracted, and one that cannot be read."""
    (tmp_path / "a.txt").write_text(f"Rash after amoxicillin. {MARKER}", encoding="utf-8")
    (tmp_path / "b.txt").write_text("INR 6.8 on warfarin 5 mg daily.\n" * 40, encoding="utf-8")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe\xff" + MARKER.encode())
    return tmp_path


@pytest.fixture(scope="module")
def measured() -> Measured:
    """A measurement of which every figure is known."""
    return Measured(
        bundle="m 1",
        provider="P",
        precision="int8",
        workers=1,
        batch=1,
        notes=10,
        failed=1,
        characters=100,
        entities=5,
        relations=3,
        windows=20,
        tokens=900,
        cells=1000,
        load=0.5,
        passes=[2.0, 1.0, 4.0],
        stages={"read": [0.1, 0.3, 0.2], "encode": [1.0, 1.0, 1.0]},
        stage_passes=[1.5, 1.4, 1.6],
        memory_loaded=1,
        memory=2,
        remarks=[],
    )


def test_figures(measured: Measured) -> None:
    assert measured.padding == pytest.approx(0.1)
    assert measured.rate(measured.notes) == 5.0
    assert measured.spread == 1.5
    assert measured.stage_medians() == pytest.approx({"read": 0.2, "encode": 1.0, "between": 0.3})


def test_the_timer_adds_up_even_what_fails() -> None:
    timer = StageTimer()
    for _ in range(2):
        with pytest.raises(KeyError), timer("decode"):
            time.sleep(0.01)
            raise KeyError
    assert timer.seconds["decode"] >= 0.02
    assert sum(timer.seconds.values()) == timer.seconds["decode"]


def test_a_pipeline_that_is_observed_finds_the_same(folder: Path) -> None:
    pipeline = load_pipeline(Bundle.load())
    notes = [Note("b", (folder / "b.txt").read_text(encoding="utf-8"))]
    expected = pipeline.run(notes)
    timer, before = StageTimer(), pipeline.observe
    pipeline.observe = timer
    assert pipeline.run(notes) == expected
    assert all(timer.seconds[stage] > 0 for stage in STAGES if stage not in ("read", "write"))
    pipeline.observe = before


def test_stages_are_counted_and_leave_the_pipeline_as_it_was(folder: Path) -> None:
    pipeline = load_pipeline(Bundle.load(), batch=4)
    backend, observe = pipeline.backend, pipeline.observe
    look = time_stages(pipeline, find_notes([str(folder)]))
    assert (pipeline.backend, pipeline.observe) == (backend, observe)
    assert sum(look.stages.values()) <= look.seconds
    assert min(look.stages.values()) > 0
    states = [
        pipeline.prepare(Note("", (folder / name).read_text(encoding="utf-8")))
        for name in ("a.txt", "b.txt")
    ]
    pieces = [
        len(pipeline.window_pieces(state, index)[0])
        for state in states
        for index in range(len(state.windows))
    ]
    assert (look.windows, look.tokens) == (len(pieces), sum(pieces))
    assert look.cells > look.tokens  # four windows a run, of different lengths


def test_a_note_that_fails_does_not_end_the_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load_pipeline(Bundle.load())
    run = pipeline.run

    def fail(notes: Sequence[Note]) -> object:
        if any(MARKER in note.text for note in notes):
            raise ValueError(notes[0].text)
        return run(notes)

    monkeypatch.setattr(pipeline, "run", fail)
    assert time_stages(pipeline, find_notes([str(folder)])).windows > 0


def test_padding_is_counted() -> None:
    pipeline = load_pipeline(Bundle.load())
    counter = CountingBackend(pipeline.backend)
    ids = np.full((2, 8), 5, dtype=np.int64)
    mask = np.ones_like(ids)
    mask[1, 3:] = 0
    counter.encode(ids, mask)
    assert (counter.windows, counter.tokens, counter.cells) == (2, 11, 16)
    assert (counter.provider, counter.precision) == (
        pipeline.backend.provider,
        pipeline.backend.precision,
    )


def test_one_pass_over_files(folder: Path) -> None:
    counts = extract_files(Extractor.load(provider="cpu"), find_notes([str(folder)]))
    assert (counts.notes, counts.failed) == (2, 1)
    assert counts.entities > 0 and counts.relations > 0


def test_an_interrupt_is_told_by_the_other_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(setting: Setting) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "measure", interrupted)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asdict(Setting(("notes",))))))
    with pytest.raises(SystemExit) as stop:
        bench.main()
    assert (stop.value.code, capsys.readouterr()) == (130, ("", ""))


def test_in_a_process_of_its_own(folder: Path) -> None:
    found = measure_apart(Setting((str(folder),), provider="cpu", workers=2, repeat=2))
    assert (found.workers, found.batch, found.notes, found.failed) == (2, 1, 2, 1)
    assert found.provider == "CPUExecutionProvider"
    assert found.padding == 0.0
    assert len(found.passes) == len(found.stage_passes) == 2
    assert tuple(found.stages) == STAGES
    assert 0 < found.memory_loaded <= found.memory
    assert found.load > 0
    assert MARKER not in json.dumps(asdict(found))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"inputs": ("nothing-here.txt",)}, DataError, "no note that can be extracted"),
        ({"provider": "tpu"}, BackendError, "'tpu' is unknown"),
        ({"model": "no-bundle"}, BundleError, "no such bundle folder"),
        ({"inputs": ("-",)}, ConfigError, "several times"),
        ({"repeat": 0}, ConfigError, "at least 1"),
    ],
)
def test_what_is_wrong_is_told_as_in_this_process(
    folder: Path, change: dict[str, object], error: type[Exception], message: str
) -> None:
    values = {"inputs": (str(folder),), "repeat": 1, **change}
    with pytest.raises(error, match=message):
        measure_apart(Setting(**values))  # type: ignore[arg-type]


def test_measuring_loads_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from emlb_runtime.profiling.benchmark import Setting, measure;"
        f" measure(Setting(({str(folder)!r},), repeat=1));"
        " print(*sorted({'torch', 'transformers', 'onnx', 'matplotlib', 'psutil'}"
        " & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_peak_memory_grows() -> None:
    code = (
        "from emlb_runtime.profiling.stages import peak_memory; before = peak_memory();"
        " held = b'x' * (100 << 20); print(before, peak_memory()); del held;"
        " print(peak_memory())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, during, after = map(int, done.stdout.split())
    if not before:
        pytest.skip("this system does not tell")
    assert 90 << 20 < during - before < 150 << 20  # the kernel counts by the hundred pages
    assert after - before > 90 << 20


def test_measure_needs_a_note(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="emlb-run says why"):
        measure(Setting((str(tmp_path),), provider="cpu", repeat=1))
