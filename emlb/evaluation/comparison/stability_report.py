"""Measuring how stable retrained models are on annotated data, and the report of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emlb.evaluation.evaluate import split_names
from emlb.evaluation.pipeline_scores import ScoredCorpus, score_corpus
from emlb.evaluation.predictions import load_predictor
from emlb.evaluation.protocols.base import Row, add
from emlb.evaluation.scoring.counts import Scores
from emlb.evaluation.scoring.gold import GoldCorpus, read_gold
from emlb.evaluation.scoring.match_keys import SECTIONS
from emlb.evaluation.scoring.text_table import align
from emlb_runtime.errors import ConfigError
from emlb_runtime.records import Document

from .bootstrap import Interval, Measure, intervals
from .stability import Stability


@dataclass(frozen=True)
class CorpusStability:
    """How models agree on one corpus.

    Attributes:
        documents: their number.
        sentences: their number.
        scores: of each model, against gold.
        rows: the measures, as `Stability` gives them.
        intervals: of them; empty if not asked for.
        problems: what the readers could not use, by reason.
        remarks: what they used with a remark, by reason.
    """

    documents: int
    sentences: int
    scores: Sequence[Scores]
    rows: Sequence[Row]
    intervals: Mapping[Measure, Interval] = field(default_factory=dict)
    problems: Mapping[str, int] = field(default_factory=dict)
    remarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class StabilityReport:
    """How models agree with each other.

    Attributes:
        models: the name of each and what it runs on; they are numbered from 1.
        corpora: the measures by corpus.
        not_read: per model number, what could not be used of its predictions, by reason.
    """

    models: Sequence[tuple[str, str]]
    corpora: Mapping[str, CorpusStability]
    not_read: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    def table(self) -> str:
        """The measures as text, a section per corpus."""
        parts = []
        for name, corpus in self.corpora.items():
            size = f"{corpus.documents} documents, {corpus.sentences} sentences"
            parts.append(f"{name}: {size}")
            parts.append("\n".join(_accuracies(self.models, corpus.scores)))
            parts += ["\n".join(_section(section, corpus)) for section in SECTIONS]
            parts += [f"not used: {n} × {why}" for why, n in corpus.problems.items()]
            parts += [f"used, with a remark: {n} × {why}" for why, n in corpus.remarks.items()]
        for number, problems in self.not_read.items():
            parts += [f"not used of model {number}: {n} × {why}" for why, n in problems.items()]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The measures as JSON-ready values, fractions of one."""
        return {
            "models": [
                {
                    "model": name,
                    "runs_on": runs_on,
                    "predictions_not_used": dict(self.not_read.get(number, {})),
                }
                for number, (name, runs_on) in enumerate(self.models, start=1)
            ],
            "corpora": {name: _corpus_json(corpus) for name, corpus in self.corpora.items()},
        }


def measure_stability(
    corpus: GoldCorpus, predicted: Sequence[Sequence[Document]], *, samples: int = 0
) -> CorpusStability:
    """How models agree on a corpus, over the types that it annotates.

    Args:
        corpus: the annotated documents.
        predicted: per model, the documents it predicts, in the corpus's order.
        samples: bootstrap samples of documents for intervals; 0 for none.

    Raises:
        DataError: if predictions do not fit the corpus.
        ValueError: if there are fewer than two models.
    """
    scored = ScoredCorpus(corpus.name, "", corpus.documents, corpus.types)
    scores = [score_corpus(scored, documents) for documents in predicted]
    stability = Stability(len(predicted))
    tallies = [
        stability.tally(gold.note.text, found, corpus.types)
        for gold, *found in zip(corpus.documents, *predicted, strict=True)
    ]
    total = add(tallies)
    return CorpusStability(
        *stability.size(total),
        scores,
        stability.rows(total),
        intervals(stability, tallies, samples=samples) if samples else {},
        corpus.report.summary(),
        corpus.report.remarked(),
    )


def compare_models(
    models: Sequence[Path],
    data: Path,
    *,
    corpora: Sequence[str] = (),
    split: Path | None = None,
    part: str = "test",
    limit: int | None = None,
    task: str | None = None,
    format: str = "auto",
    texts: Path | None = None,
    samples: int = 1000,
    json_path: Path | None = None,
) -> StabilityReport:
    """Measure how far models agree with each other on the notes of annotated data.

    Args:
        models: at least two, each as `load_predictor` takes it.
        data: annotated documents in any format that is read.
        corpora: of a mixture; empty takes all.
        split: as `emlb.evaluation.evaluate.evaluate` takes it.
        part: ``train``, ``dev`` or ``test`` of the split.
        limit: documents per corpus at most.
        task: whose output to take; needed if the models have several.
        format: the data's, where it is not to be found out.
        texts: folder of the notes' texts, for formats that come without them.
        samples: bootstrap samples for intervals; 0 for none.
        json_path: where to write the report as JSON.

    Raises:
        ConfigError: if there are fewer than two models, or an option does not fit them.
        DataError: if the data cannot be read.
        ArtefactError: if a model cannot.
    """
    if len(models) < 2:
        raise ConfigError(f"{len(models)} model given: stability is between two at least")
    predictors = [load_predictor(model, task=task, texts=texts or data) for model in models]
    names = split_names(split, part) if split else None
    read = read_gold(data, corpora=corpora, names=names, limit=limit, format=format, texts=texts)
    report = StabilityReport(
        [(predictor.name, predictor.runs_on) for predictor in predictors],
        {
            corpus.name: measure_stability(
                corpus, [predictor.predict(corpus) for predictor in predictors], samples=samples
            )
            for corpus in read
        },
        {n: p.problems for n, p in enumerate(predictors, start=1) if p.problems},
    )
    if json_path:
        text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
        json_path.write_text(text + "\n", encoding="utf-8")
    return report


def _accuracies(models: Sequence[tuple[str, str]], scores: Sequence[Scores]) -> list[str]:
    cells = [["", "strict micro F1", "", *SECTIONS]]
    for number, ((name, runs_on), of_model) in enumerate(zip(models, scores, strict=True), 1):
        f1 = [s.strict.micro.f1 for s in (of_model.entities, of_model.relations)]
        cells.append([str(number), name, runs_on, *(f"{100 * value:.1f}" for value in f1)])
    return align(cells, words=3)


def _section(section: str, corpus: CorpusStability) -> list[str]:
    rows = [row for row in corpus.rows if row.section == section]
    cells = [["", "jitter", "95 %", "documents differ", "sentences differ"]]
    for row in rows:
        if row.mode != "type":
            label = {"mean": "mean", "any": "any two"}.get(row.mode, row.name)
            churn = [_percent(row, "document_churn"), _percent(row, "sentence_churn")]
            cells.append([label, _percent(row, "jitter"), _interval(row, corpus), *churn])
    by_type = [["", "items of any", "jitter", "95 %", "local instability"]]
    for row in rows:
        if row.mode in ("type", "mean"):
            spread = f"{row.values['local_instability']:.4f}"
            numbers = [_percent(row, "jitter"), _interval(row, corpus), spread]
            by_type.append([row.name, str(row.predicted), *numbers])
    return [section, *align(cells), "", *align(by_type)]


def _percent(row: Row, name: str) -> str:
    return f"{100 * row.values[name]:.1f}" if name in row.values else ""


def _interval(row: Row, corpus: CorpusStability) -> str:
    found = corpus.intervals.get((row.key, "jitter"))
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}" if found else ""


def _corpus_json(corpus: CorpusStability) -> dict[str, Any]:
    value: dict[str, Any] = {"documents": corpus.documents, "sentences": corpus.sentences}
    value["strict_micro_f1"] = [
        {"entities": s.entities.strict.micro.f1, "relations": s.relations.strict.micro.f1}
        for s in corpus.scores
    ]
    for section in SECTIONS:
        rows = [row for row in corpus.rows if row.section == section]
        value[section] = {
            **{row.mode: _row_json(row, corpus) for row in rows if row.mode in ("mean", "any")},
            "pairs": {row.name: _row_json(row, corpus) for row in rows if row.mode == "pair"},
            "types": {row.name: _row_json(row, corpus) for row in rows if row.mode == "type"},
        }
    return {
        **value,
        "not_used": dict(corpus.problems),
        "used_with_a_remark": dict(corpus.remarks),
    }


def _row_json(row: Row, corpus: CorpusStability) -> dict[str, Any]:
    value: dict[str, Any] = dict(row.values)
    if row.predicted is not None:
        value["predicted_by_any"] = row.predicted
    found = {name: corpus.intervals.get((row.key, name)) for name in row.values}
    held = {name: [interval.low, interval.high] for name, interval in found.items() if interval}
    return {**value, **({"intervals": held} if held else {})}
