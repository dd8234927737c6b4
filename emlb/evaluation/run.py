"""Evaluating a model folder or a bundle on annotated data, through the deployed decoder."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emlb_runtime.bundle import CONFIG_NAME, Bundle
from emlb_runtime.errors import ArtefactError, ConfigError, DataError
from emlb_runtime.extract import available_cores, load_pipeline
from emlb_runtime.formats.brat import read_brat_folder
from emlb_runtime.formats.jsonl import read_documents, read_mixture
from emlb_runtime.formats.report import Report as ReadingReport
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document

from .counts import Scores
from .deployed import ScoredCorpus, extract, score_corpus
from .table import render, to_json

SCHEMA_NAME = "schema.json"


@dataclass(frozen=True)
class Report:
    """Scores of one model on one set of documents.

    Attributes:
        model: what was scored.
        runs_on: provider and precision.
        scores: per corpus.
        problems: per corpus, what the readers could not use, by reason.
    """

    model: str
    runs_on: str
    scores: dict[str, Scores]
    problems: dict[str, dict[str, int]]

    def table(self) -> str:
        """The scores as text, a section per corpus."""
        parts = []
        for corpus, scores in self.scores.items():
            title = f"{corpus}: {scores.documents} documents, {self.runs_on}"
            parts.append(render(scores, title=title))
            parts += [f"not used: {n} × {why}" for why, n in self.problems[corpus].items()]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON-ready values, fractions of one."""
        return {
            "model": self.model,
            "runs_on": self.runs_on,
            "corpora": {
                corpus: {**to_json(scores), "not_used": self.problems[corpus]}
                for corpus, scores in self.scores.items()
            },
        }


@dataclass(frozen=True)
class _Read:
    """One corpus as read: its documents, what it annotates, what could not be used."""

    name: str
    documents: tuple[Document, ...]
    types: frozenset[str]
    report: ReadingReport


def evaluate(
    model: Path,
    data: Path,
    *,
    corpora: Sequence[str] = (),
    split: Path | None = None,
    part: str = "test",
    limit: int | None = None,
    gold_mentions: bool = False,
    json_path: Path | None = None,
    precision: str | None = None,
    task: str | None = None,
) -> Report:
    """Score a model on annotated documents.

    Scores are taken over the types that the data annotate: for a mixture file those that the
    ``schema.json`` beside it states per corpus, else those that occur.

    Args:
        model: a run's folder, a model folder (torch), or a bundle (ONNX).
        data: a brat folder, a mixture file, or a file in the ``documents`` format.
        corpora: of a mixture; empty takes all.
        split: a run's ``splits.json``: only the documents of one part.
        part: ``train``, ``dev`` or ``test`` of the split.
        limit: documents per corpus at most.
        gold_mentions: also score relations between the annotated mentions.
        json_path: where to write the report as JSON.
        precision: which encoder of a bundle.
        task: whose output to score; needed if the model has several.

    Raises:
        ConfigError: if an option does not fit the model.
        DataError: if the data cannot be read.
        ArtefactError: if the model cannot.
    """
    pipeline, batched = _load(model, precision)
    chosen = _choose_task(pipeline, task)
    names = _split_names(split, part) if split else None
    scores: dict[str, Scores] = {}
    problems: dict[str, dict[str, int]] = {}
    with ThreadPoolExecutor(available_cores()) as pool:
        executor: Executor | None = None if batched else pool
        for read in _read(data, corpora):
            documents = read.documents
            if names is not None:
                documents = tuple(d for d in documents if d.note.name in names)
            if not documents[: limit or None]:
                raise DataError(f"{data}: {read.name} has no document of that part")
            corpus = ScoredCorpus(read.name, chosen, documents[: limit or None], read.types)
            scores[read.name] = score_corpus(
                corpus,
                extract(pipeline, corpus, executor=executor),
                predicted_on_gold=extract(pipeline, corpus, gold_mentions=True, executor=executor)
                if gold_mentions
                else None,
            )
            problems[read.name] = dict(read.report.summary())
    runs_on = f"{pipeline.backend.provider}, {pipeline.backend.precision}"
    report = Report(model.name, runs_on, scores, problems)
    if json_path:
        text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
        json_path.write_text(text + "\n", encoding="utf-8")
    return report


def _load(model: Path, precision: str | None) -> tuple[Pipeline, bool]:
    """The pipeline, and whether it batches windows itself (torch) or wants threads (ONNX)."""
    folder = model / "model" if (model / "model" / CONFIG_NAME).is_file() else model
    try:
        config = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ArtefactError(f"{model}: neither a trained model nor a bundle") from None
    if isinstance(config, dict) and "format" in config:
        return load_pipeline(Bundle.load(folder), precision=precision), False
    if precision not in (None, "fp32"):
        raise ConfigError(f"{model} is a torch model, which runs in fp32, not {precision}")
    from emlb.model.pretrained import TrainedModel

    return TrainedModel.load(folder).pipeline(batch=8), True


def _choose_task(pipeline: Pipeline, task: str | None) -> str:
    names = [head.task.name for head in pipeline.heads]
    if task is None and len(names) == 1:
        return names[0]
    if task not in names:
        raise ConfigError(f"task {task} is not one of the model's: {', '.join(names)}")
    return task


def _split_names(path: Path, part: str) -> set[str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {str(name) for parts in values.values() for name in parts[part]}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DataError(f"{path}: no split with a part {part!r} in it") from None


def _read(data: Path, corpora: Collection[str]) -> list[_Read]:
    if data.is_dir():
        return [_gather(data.name, list(read_brat_folder(data)), None)]
    if not data.is_file():
        raise DataError(f"{data}: there is no such file or folder")
    with data.open(encoding="utf-8") as file:
        first = file.readline()
    if '"corpus"' not in first[:200]:
        return [_gather(data.stem, list(read_documents(data)), None)]
    schema = _read_schema(data.parent / SCHEMA_NAME)
    found: dict[str, list[tuple[Document, ReadingReport]]] = {}
    for document, corpus, report in read_mixture(data, corpora=list(corpora) or None):
        found.setdefault(corpus, []).append((document, report))
    return [_gather(corpus, pairs, schema.get(corpus)) for corpus, pairs in found.items()]


def _gather(
    name: str, pairs: Sequence[tuple[Document, ReadingReport]], types: frozenset[str] | None
) -> _Read:
    documents = tuple(document for document, _ in pairs)
    if types is None:
        types = frozenset(
            type
            for document in documents
            for type in (
                *(entity.type for entity in document.entities),
                *(relation.type for relation in document.relations),
            )
        )
    return _Read(name, documents, types, ReadingReport.merge(report for _, report in pairs))


def _read_schema(path: Path) -> dict[str, frozenset[str]]:
    """Per corpus, the types it annotates in full or in part; empty without a schema file."""
    if not path.is_file():
        return {}
    try:
        corpora = json.loads(path.read_text(encoding="utf-8"))["corpora"]
        return {
            str(name): frozenset([*values["annotated_in_full"], *values["annotated_in_part"]])
            for name, values in corpora.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: does not say per corpus what is annotated") from None
