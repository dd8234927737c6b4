"""Where the time goes: the pipeline's stages timed, and what its networks are fed counted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from emlb_runtime.extraction.stream import note_chunks
from emlb_runtime.formats.notes import NoteFile, read_notes
from emlb_runtime.formats.writers import open_writer
from emlb_runtime.inference.backend import Backend, Encoded, Floats, Ints
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document, ErrorRecord, Note

STAGES = ("read", "tokenise", "encode", "decode", "relate", "merge", "write")
"""In order: reading files; tokenising and cutting windows; the encoder; Viterbi and mentions;
pairs and the relation heads; documents; JSON lines."""


@dataclass
class StageTimer:
    """Adds up the wall time of stages; give it to ``Pipeline.observe``. For one thread.

    Attributes:
        seconds: by stage.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - started


class CountingBackend:
    """A backend that counts what another one is fed; its results are the other's.

    Attributes:
        windows: that were encoded.
        tokens: word pieces of those windows, special tokens included, padding not.
        cells: word pieces with padding: what the encoder computed.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.windows = self.tokens = self.cells = 0

    @property
    def provider(self) -> str:
        """See ``Backend``."""
        return self._backend.provider

    @property
    def precision(self) -> str:
        """See ``Backend``."""
        return self._backend.precision

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        """See ``Backend``."""
        self.windows += len(input_ids)
        self.tokens += int(attention_mask.sum())
        self.cells += attention_mask.size
        return self._backend.encode(input_ids, attention_mask)

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        """See ``Backend``."""
        return self._backend.relate(task, hidden, attention_mask, spans, pairs)

    def describe(self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints) -> Floats:
        """See ``Backend``."""
        return self._backend.describe(task, hidden, attention_mask, spans)


@dataclass(frozen=True)
class StagePass:
    """One pass over the notes in one thread, nothing overlapped.

    Attributes:
        seconds: of the whole pass.
        stages: seconds by stage.
        windows: see ``CountingBackend``.
        tokens: see ``CountingBackend``.
        cells: see ``CountingBackend``.
    """

    seconds: float
    stages: dict[str, float]
    windows: int
    tokens: int
    cells: int


def time_stages(pipeline: Pipeline, files: Sequence[NoteFile | ErrorRecord]) -> StagePass:
    """Read, extract and write notes in this thread alone, each stage timed.

    The pipeline's networks run on the calling thread too, so that times add up: with workers
    the stages of different notes overlap. Nothing else may use the pipeline meanwhile.

    Args:
        pipeline: whose ``backend`` and ``observe`` are replaced meanwhile.
        files: what ``find_notes`` returned; a note that cannot be extracted is passed over.
    """
    timer, counter = StageTimer(), CountingBackend(pipeline.backend)
    backend, observe = pipeline.backend, pipeline.observe
    pipeline.backend, pipeline.observe = counter, timer
    chunks = note_chunks(read_notes(files))
    started = time.perf_counter()
    try:
        with open(os.devnull, "w", encoding="utf-8") as out, open_writer("triples", out) as writer:
            while chunk := _next(chunks, timer):
                documents = _extract(pipeline, [i for i in chunk if isinstance(i, Note)])
                with timer("write"):
                    for document in documents:
                        writer.write(document)
    finally:
        pipeline.backend, pipeline.observe = backend, observe
    seconds = time.perf_counter() - started
    return StagePass(seconds, timer.seconds, counter.windows, counter.tokens, counter.cells)


def _next(
    chunks: Iterator[list[Note | ErrorRecord]], timer: StageTimer
) -> list[Note | ErrorRecord]:
    with timer("read"):
        return next(chunks, [])


def _extract(pipeline: Pipeline, notes: Sequence[Note]) -> list[Document]:
    try:
        return pipeline.run(notes)
    except Exception:  # which note it was shows when each runs alone
        documents: list[Document] = []
        for note in notes:
            with suppress(Exception):
                documents += pipeline.run([note])
        return documents


def peak_memory() -> int:
    """The most memory this process has held so far, resident, in bytes; 0 if unknown."""
    # Not getrusage on Linux: it would count the parent's, from before this program began.
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return int(peak if sys.platform == "darwin" else peak * 1024)
    return 0
