"""EMLB itself: the whole pipeline, and its networks alone as the limit of what it can reach."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from pipeline_speed import Recorder, record

from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.extract import Extractor, load_pipeline
from emlb_runtime.formats.notes import find_notes, read_notes
from emlb_runtime.formats.writers import open_writer
from emlb_runtime.inference.backend import Backend, Ints
from emlb_runtime.pipeline import Head, Pipeline, pad_windows
from emlb_runtime.records import Document, Note

from .records import ContestantError, Counts, Job, Setting

OWN_WINDOWS = "the pipeline's"
SHAPES: tuple[Setting, ...] = (
    {"windows": OWN_WINDOWS, "batch": 1},
    *({"windows": pieces, "batch": batch} for pieces in (64, 128, 256) for batch in (1, 8)),
)
"""One thread per run, and as many runs at a time as there are cores."""


class WholePipeline:
    """Files in, JSON lines out, under the plan that EMLB makes for the machine."""

    def __init__(self, job: Job, *, relations: bool, **options: Any) -> None:
        self._extractor = Extractor.load(job.model, workers=job.cores, **options)
        pipeline, info = self._extractor.pipeline, self._extractor.info
        if not relations:
            pipeline.heads = tuple(entities_alone(head) for head in pipeline.heads)
        self._relations = relations
        self.settings: Sequence[Setting] = ({"workers": info.workers, "batch": info.batch},)

    def use(self, setting: Setting) -> None:
        """Nothing: the plan is EMLB's own."""

    def prepare(self, paths: Sequence[str]) -> None:
        """Nothing: reading and tokenising are part of the work."""

    def run(self, paths: Sequence[str]) -> Counts:
        """Read, extract and write."""
        counts = Counts(entities=0, relations=0 if self._relations else None)
        with open(os.devnull, "w", encoding="utf-8") as out, open_writer("documents", out) as to:
            for result in self._extractor.extract_each(read_notes(find_notes(paths))):
                if not isinstance(result, Document):
                    raise ContestantError("a note could not be extracted; emlb-run says which")
                to.write(result)
                counts.notes += 1
                counts.characters += len(result.note.text)
                counts.entities = (counts.entities or 0) + len(result.entities)
                if counts.relations is not None:
                    counts.relations += len(result.relations)
        return counts


def entities_alone(head: Head) -> Head:
    """A task's head without relations: no pair is formed, and no relation network runs."""
    calibration = head.task.calibration
    if calibration is not None:
        calibration = replace(calibration, triple_offsets={})
    task = replace(
        head.task,
        relation_types=(),
        signatures=(),
        thresholds=None,
        reach=None,
        calibration=calibration,
    )
    return replace(head, task=task)


class Replayed:
    """Networks that are run again on inputs made beforehand, several at a time.

    Args:
        job: see ``Job``.
        precision: of the encoder.
        settings: what to try.
        make_work: from a setting, the pipeline and the notes to the runs of the networks.
    """

    def __init__(
        self,
        job: Job,
        *,
        precision: str,
        settings: Sequence[Setting],
        make_work: Callable[[Setting, Pipeline, list[Note]], list[Callable[[], Any]]],
    ) -> None:
        self.settings = settings
        self._pipeline = load_pipeline(Bundle.load(job.model), precision=precision)
        self._pool = ThreadPoolExecutor(job.cores)
        self._setting = settings[0]
        self._make_work = make_work
        self._work: list[Callable[[], Any]] = []
        self._counts = Counts()

    def use(self, setting: Setting) -> None:
        """Windows of this shape from the next notes on."""
        self._setting = setting
        self._work = []

    def prepare(self, paths: Sequence[str]) -> None:
        """Tokenise the notes and cut them."""
        notes = [item for item in read_notes(find_notes(paths)) if isinstance(item, Note)]
        self._work = self._make_work(self._setting, self._pipeline, notes)
        self._counts = Counts(len(notes), sum(len(note.text) for note in notes))

    def run(self, paths: Sequence[str]) -> Counts:
        """Run the networks."""
        for future in [self._pool.submit(_drop_result, work) for work in self._work]:
            future.result()
        return self._counts


def make_pipeline(job: Job, *, relations: bool = True, **options: Any) -> WholePipeline:
    """EMLB as it is used; ``options`` are those of ``Extractor.load``."""
    return WholePipeline(job, relations=relations, **{"provider": "cpu", **options})


def make_networks(job: Job, *, precision: str) -> Replayed:
    """Encoder and relation head on the very windows and pairs that the pipeline gives them."""
    return Replayed(
        job, precision=precision, settings=({"batch": 1},), make_work=_recorded_networks
    )


def make_session(job: Job, *, precision: str) -> Replayed:
    """The encoder on the pipeline's windows, or on ones that do not overlap, the fastest shape."""
    return Replayed(job, precision=precision, settings=SHAPES, make_work=_encoder_runs)


def _recorded_networks(
    setting: Setting, pipeline: Pipeline, notes: list[Note]
) -> list[Callable[[], Any]]:
    recorder: Recorder = record(pipeline, notes)
    backend = pipeline.backend
    encodings = [_encoding(backend, *item) for item in recorder.inputs]
    return [*encodings, *(_relating(backend, item) for item in recorder.pairs)]


def _encoder_runs(
    setting: Setting, pipeline: Pipeline, notes: list[Note]
) -> list[Callable[[], Any]]:
    states = [pipeline.prepare(note) for note in notes]
    if setting["windows"] == OWN_WINDOWS:
        rows = [
            pipeline.window_pieces(state, index)[0]
            for state in states
            for index in range(len(state.windows))
        ]
    else:
        rows = [
            np.concatenate((ids[:1], pieces, ids[-1:]))
            for state in states
            if state.windows
            for ids in [pipeline.window_pieces(state, 0)[0]]
            for pieces in _cut(state.tokens.ids, setting["windows"] - 2)
        ]
    rows.sort(key=len, reverse=True)  # neighbours alike, so that batches have little padding
    size = setting["batch"]
    batches = [rows[first : first + size] for first in range(0, len(rows), size)]
    # Any piece may fill up what the mask hides.
    return [_encoding(pipeline.backend, *pad_windows(batch, 0)) for batch in batches]


def _cut(ids: Ints, size: int) -> list[Ints]:
    return [ids[first : first + size] for first in range(0, len(ids), size)]


def _encoding(backend: Backend, ids: Ints, mask: Ints) -> Callable[[], Any]:
    return lambda: backend.encode(ids, mask)


def _relating(backend: Backend, item: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: backend.relate(*item)


def _drop_result(work: Callable[[], Any]) -> None:
    work()
