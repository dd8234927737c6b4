"""How fast a bundle is on someone's notes and machine; each setting in a process of its own.

``python -m emlb_runtime.profiling.benchmark`` is such a process. It reads a setting as JSON from
standard input and writes what it measured as JSON to standard output. Memory and start-up are then
those of a fresh process that did nothing else. No text of a note is printed or written anywhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from emlb_runtime import errors
from emlb_runtime.errors import ConfigError, DataError, EmlbError
from emlb_runtime.formats.notes import NoteFile, find_notes, read_notes
from emlb_runtime.formats.writers import open_writer
from emlb_runtime.records import Document, ErrorRecord

TIMED = "emlb_runtime.profiling.benchmark"


@dataclass(frozen=True)
class Setting:
    """What to measure.

    Attributes:
        inputs: note files, patterns, folders and tables, as ``find_notes`` takes them.
        model: a bundle's folder; None is the default model.
        provider: see ``Extractor.load``.
        precision: see ``Extractor.load``.
        workers: see ``Extractor.load``.
        repeat: measured passes over the notes, after one to warm up.
    """

    inputs: tuple[str, ...]
    model: str | None = None
    provider: str = "auto"
    precision: str | None = None
    workers: int | None = None
    repeat: int = 3


@dataclass(frozen=True)
class Measured:
    """What was measured under one setting. Times are seconds, memory bytes.

    Attributes:
        bundle: name and version of the model.
        provider: that ran, by ONNX Runtime's name.
        precision: that ran.
        workers: that ran.
        batch: windows per run of the network.
        notes: notes per pass.
        failed: inputs and notes that have an error record instead.
        characters: code points per pass.
        windows: per pass.
        tokens: word pieces per pass, padding not counted.
        cells: word pieces with padding.
        entities: found per pass.
        relations: found per pass.
        load: from a process with this module imported to an extractor that is ready.
        passes: of every measured pass, reading and writing included.
        stages: by stage, of every measured pass in one thread; see ``time_stages``.
        stage_passes: of those passes as a whole.
        memory_loaded: peak after loading.
        memory: peak after all passes with the workers.
        remarks: what the plan has to say; see ``Plan.notes``.
    """

    bundle: str
    provider: str
    precision: str
    workers: int
    batch: int
    notes: int
    failed: int
    characters: int
    windows: int
    tokens: int
    cells: int
    entities: int
    relations: int
    load: float
    passes: list[float]
    stages: dict[str, list[float]]
    stage_passes: list[float]
    memory_loaded: int
    memory: int
    remarks: list[str]

    @property
    def padding(self) -> float:
        """The share of what the encoder computed that is padding."""
        return 1 - self.tokens / self.cells if self.cells else 0.0

    def rate(self, count: int) -> float:
        """So many a second, in the median pass."""
        return count / median(self.passes)

    @property
    def spread(self) -> float:
        """Slowest pass less the fastest, as a share of the median."""
        return (max(self.passes) - min(self.passes)) / median(self.passes)

    def stage_medians(self) -> dict[str, float]:
        """Seconds of each stage in its median pass, and of what lies between the stages."""
        seconds = {stage: median(values) for stage, values in self.stages.items()}
        seconds["between"] = max(0.0, median(self.stage_passes) - sum(seconds.values()))
        return seconds


@dataclass(slots=True)
class Counts:
    """What one pass found."""

    notes: int = 0
    failed: int = 0
    characters: int = 0
    entities: int = 0
    relations: int = 0


def timed(work: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def extract_files(extractor: Any, files: Sequence[NoteFile | ErrorRecord]) -> Counts:
    """Read, extract and write notes with an ``Extractor``, as ``emlb-run`` does; keep nothing."""
    counts = Counts()
    with open(os.devnull, "w", encoding="utf-8") as out, open_writer("triples", out) as writer:
        for result in extractor.extract_each(read_notes(files)):
            if isinstance(result, Document):
                writer.write(result)
                counts.notes += 1
                counts.characters += len(result.note.text)
                counts.entities += len(result.entities)
                counts.relations += len(result.relations)
            else:
                counts.failed += 1
    return counts


def measure(setting: Setting) -> Measured:
    """Measure a setting in this process.

    Raises:
        DataError: if there is no note that can be extracted.
        EmlbError: whatever keeps the extractor from loading.
    """
    started = time.perf_counter()
    from emlb_runtime.extract import Extractor

    from .stages import STAGES, peak_memory, time_stages

    extractor = Extractor.load(
        setting.model,
        provider=setting.provider,
        precision=setting.precision,
        workers=setting.workers,
    )
    load = time.perf_counter() - started
    memory_loaded = peak_memory()
    files = find_notes(setting.inputs)
    counts = extract_files(extractor, files)
    if not counts.notes:
        raise DataError("there is no note that can be extracted; emlb-run says why, note by note")
    passes = [timed(lambda: extract_files(extractor, files)) for _ in range(setting.repeat)]
    memory = peak_memory()
    looks = [time_stages(extractor.pipeline, files) for _ in range(setting.repeat)]
    info = extractor.info
    return Measured(
        bundle=f"{info.name} {info.version}",
        provider=info.provider,
        precision=info.precision,
        workers=info.workers,
        batch=info.batch,
        **asdict(counts),
        windows=looks[0].windows,
        tokens=looks[0].tokens,
        cells=looks[0].cells,
        load=load,
        passes=passes,
        stages={stage: [look.stages[stage] for look in looks] for stage in STAGES},
        stage_passes=[look.seconds for look in looks],
        memory_loaded=memory_loaded,
        memory=memory,
        remarks=list(info.notes),
    )


def measure_apart(setting: Setting) -> Measured:
    """Measure a setting in a process of its own.

    Raises:
        EmlbError: what ``measure`` raises there.
    """
    if setting.repeat < 1 or "-" in setting.inputs:
        raise ConfigError("bench reads the notes several times: files and a repeat of at least 1")
    done = subprocess.run(
        [sys.executable, "-m", TIMED],
        input=json.dumps(asdict(setting)),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise EmlbError(f"the measuring process died with exit code {done.returncode}") from None
    if "error" in answer:
        raise getattr(errors, answer["kind"], EmlbError)(answer["error"])
    return Measured(**answer)


def main() -> None:
    """The measuring process."""
    try:
        values = json.load(sys.stdin)
        values["inputs"] = tuple(values["inputs"])
        answer: dict[str, Any] = asdict(measure(Setting(**values)))
    except EmlbError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except Exception as error:  # its own text may quote a note: only its kind is told
        answer = {"error": f"measuring failed: {type(error).__name__}", "kind": "EmlbError"}
    except KeyboardInterrupt:  # Ctrl-C reaches both processes; the other one tells of it
        sys.exit(130)
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
