"""Where predictions come from: a model, a bundle, or files of another system."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from emlb.data.formats.detect import RAW_FORMATS, detect, scan
from emlb_runtime.bundle.loader import CONFIG_NAME, Bundle
from emlb_runtime.errors import ArtefactError, ConfigError, DataError
from emlb_runtime.extract import available_cores, load_pipeline
from emlb_runtime.formats.report import Report
from emlb_runtime.machine.threads import worker_pool
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task

from .pipeline_scores import ScoredCorpus, extract
from .scoring.gold import GoldCorpus


class Predictor(Protocol):
    """Gives predicted documents for gold ones.

    Attributes:
        name: for reports.
        runs_on: provider and precision, or where the predictions were read.
        of_files: whether they were read, so that all of them count as they are.
        problems: what could not be used of files, how often, by reason.
        schema: the task whose output they are; None for files.
    """

    @property
    def name(self) -> str: ...

    @property
    def runs_on(self) -> str: ...

    @property
    def of_files(self) -> bool: ...

    @property
    def problems(self) -> Mapping[str, int]: ...

    @property
    def schema(self) -> Task | None: ...

    def predict(self, corpus: GoldCorpus, *, gold_mentions: bool = False) -> list[Document]:
        """Predictions for the corpus's documents, in their order.

        Args:
            corpus: the gold documents.
            gold_mentions: relations between the annotated mentions instead.
        """


def load_predictor(
    path: Path,
    *,
    precision: str | None = None,
    task: str | None = None,
    texts: Path | None = None,
    batch: int = 8,
) -> Predictor:
    """A predictor for a run's folder, a model folder, a bundle, or predicted documents.

    Args:
        path: the folder or file.
        precision: which encoder of a bundle.
        task: whose output to take; needed if the model has several.
        texts: where the notes lie, for predictions that come without them.
        batch: windows at once, of a torch model.

    Raises:
        ArtefactError: if it is none of these, or broken.
        ConfigError: if an option does not fit.
    """
    folder = path / "model" if (path / "model" / CONFIG_NAME).is_file() else path
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _load_files(path, precision, task, texts)
    if isinstance(config, dict) and "format" in config:
        pipeline, batched = load_pipeline(Bundle.load(folder), precision=precision), False
    else:
        if precision not in (None, "fp32"):
            raise ConfigError(f"{path} is a torch model, which runs in fp32, not {precision}")
        from emlb.model.pretrained import TrainedModel
        from emlb.threads import limit_threads

        limit_threads()
        pipeline, batched = TrainedModel.load(folder).pipeline(batch=batch), True
    runs_on = f"{pipeline.backend.provider}, {pipeline.backend.precision}"
    return _Model(path.name, runs_on, pipeline, _choose_task(pipeline, task), batched)


@dataclass(frozen=True)
class _Model:
    """A pipeline; a torch model batches windows itself, ONNX wants threads."""

    name: str
    runs_on: str
    pipeline: Pipeline
    task: str
    batched: bool
    of_files: bool = False
    problems: Mapping[str, int] = field(default_factory=dict)

    @property
    def schema(self) -> Task:
        (head,) = (head for head in self.pipeline.heads if head.task.name == self.task)
        return head.task

    def predict(self, corpus: GoldCorpus, *, gold_mentions: bool = False) -> list[Document]:
        scored = ScoredCorpus(corpus.name, self.task, corpus.documents, corpus.types)
        with worker_pool(available_cores()) as pool:
            executor: Executor | None = None if self.batched else pool
            return extract(self.pipeline, scored, gold_mentions=gold_mentions, executor=executor)


@dataclass(frozen=True)
class _Files:
    """Documents read beforehand, found by name."""

    name: str
    runs_on: str
    by_name: dict[str, Document]
    by_base: dict[str, Document]
    problems: Mapping[str, int]
    of_files: bool = True
    schema: None = None

    def predict(self, corpus: GoldCorpus, *, gold_mentions: bool = False) -> list[Document]:
        if gold_mentions:
            raise ConfigError(
                f"{self.name} holds predictions: relations on gold mentions need a model"
            )
        bases = Counter(_base(document.note.name) for document in corpus.documents)
        found, missing = [], []
        for document in corpus.documents:
            name = document.note.name
            base = _base(name)
            other = self.by_name.get(name)
            if other is None and bases[base] == 1:
                other = self.by_base.get(base)
            if other is None:
                missing.append(name)
            else:
                found.append(replace(other, note=replace(other.note, name=name)))
        if missing:
            raise DataError(
                f"{self.name}: no predictions for {len(missing)} of {len(corpus.documents)} "
                f"documents, such as {', '.join(missing[:3])}; a document without findings "
                "needs its (empty) entry too"
            )
        return found


def _load_files(path: Path, precision: str | None, task: str | None, texts: Path | None) -> _Files:
    try:
        format = detect(path, texts=texts).format
    except DataError:
        raise ArtefactError(
            f"{path}: neither a trained model, nor a bundle, nor predicted documents"
        ) from None
    if format in RAW_FORMATS:
        raise ArtefactError(f"{path}: notes without predictions, and no model")
    if precision is not None or task is not None:
        raise ConfigError(f"{path} holds predictions, so there is no precision or task to choose")
    read = _read(path, format, texts)
    documents = [document for document, _ in read if document is not None]
    bases = Counter(_base(document.note.name) for document in documents)
    return _Files(
        path.name,
        f"predictions read as {format}",
        {document.note.name: document for document in documents},
        {b: d for d in documents if bases[b := _base(d.note.name)] == 1},
        Report.merge(report for _, report in read).summary(),
    )


def _read(path: Path, format: str, texts: Path | None) -> list[tuple[Document | None, Report]]:
    """Predictions with their own texts, or with those of the notes where they have none."""
    if format == "documents":  # a line says all of an entity that scoring needs
        return list(scan(path, format=format))
    if format.startswith("share"):  # takes all texts from one place
        read = list(scan(path, format=format))
        if any(document is not None for document, _ in read):
            return read
    return list(scan(path, format=format, texts=texts))


def _base(name: str) -> str:
    """A document's name without folders and the ending of a text file."""
    return name.rpartition("/")[2].removesuffix(".txt")


def _choose_task(pipeline: Pipeline, task: str | None) -> str:
    names: Sequence[str] = [head.task.name for head in pipeline.heads]
    if task is None and len(names) == 1:
        return names[0]
    if task is None or task not in names:
        raise ConfigError(f"task {task} is not one of the model's: {', '.join(names)}")
    return task
