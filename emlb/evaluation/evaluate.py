"""Evaluating a model, a bundle or predicted documents on annotated data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emlb_runtime.errors import ConfigError, DataError

from .calibration import measure as calibration
from .calibration.measure import Calibration, Measured, measure_calibration
from .pipeline_scores import ScoredCorpus, score_corpus
from .predictions import load_predictor
from .protocol_scores import Judged, Judging, judge
from .protocols import ScoringProtocol, find_protocol
from .protocols import table as protocol_table
from .scoring.attributes import marked_in
from .scoring.counts import Scores
from .scoring.gold import read_gold
from .scoring.table import render, to_json

POOLED = "all corpora together: calibration of scores"


@dataclass(frozen=True)
class Report:
    """Scores of one model on one set of documents.

    Attributes:
        model: what was scored.
        runs_on: provider and precision.
        documents: per corpus, their number.
        problems: per corpus, what the readers could not use, by reason.
        scores: per corpus, EMLB's own; empty under a protocol.
        protocol: the protocol, if one was asked for.
        judged: per corpus, its measures.
        compared: the other system's name.
        not_read: per system, what could not be used of its predictions, by reason.
        calibrations: per corpus and kind of item, how far scores are probabilities; empty if
            that was not asked for.
        remarks: per corpus, what the readers used with a remark, by reason.
        calibration: how far scores are probabilities over all corpora together; empty if there
            is only one corpus.
    """

    model: str
    runs_on: str
    documents: Mapping[str, int]
    problems: Mapping[str, Mapping[str, int]]
    scores: Mapping[str, Scores] = field(default_factory=dict)
    protocol: ScoringProtocol | None = None
    judged: Mapping[str, Judged] = field(default_factory=dict)
    compared: str = ""
    not_read: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    calibrations: Mapping[str, Mapping[str, Calibration]] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    remarks: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def table(self) -> str:
        """The scores as text, a section per corpus."""
        parts = []
        for corpus in self.documents:
            if self.protocol is None:
                parts.append(render(self.scores[corpus], title=f"{corpus} ({self.runs_on})"))
                if corpus in self.calibrations:
                    parts.append(self._calibration_table(corpus))
            else:
                parts += self._judged_tables(corpus, self.judged[corpus], self.protocol)
            parts += [f"not used: {n} × {why}" for why, n in self.problems[corpus].items()]
            remarks = self.remarks.get(corpus, {})
            parts += [f"used, with a remark: {n} × {why}" for why, n in remarks.items()]
        if self.calibration:
            parts.append(calibration.render(self.calibration, title=POOLED))
        for name, problems in self.not_read.items():
            parts += [f"not used of {name}: {n} × {why}" for why, n in problems.items()]
        return "\n\n".join(parts)

    def calibration_table(self) -> str:
        """The reliability of scores as text, a section per corpus; empty if not measured."""
        parts = [self._calibration_table(corpus) for corpus in self.calibrations]
        if self.calibration:
            parts.append(calibration.render(self.calibration, title=POOLED))
        return "\n\n".join(parts)

    def _calibration_table(self, corpus: str) -> str:
        measured = self.calibrations[corpus]
        return calibration.render(measured, title=f"{corpus}: calibration of scores")

    def _judged_tables(self, corpus: str, judged: Judged, protocol: ScoringProtocol) -> list[str]:
        count = self.documents[corpus]
        title = f"{corpus}: {count} documents ({self.runs_on})\n{protocol.name}: {protocol.title}"
        tables = [protocol_table.render(judged.rows, title=title, intervals=judged.intervals)]
        if judged.other:
            tables.append(
                protocol_table.render_differences(
                    judged.rows,
                    judged.other,
                    title=f"{corpus}: from {self.model} to {self.compared}, same documents",
                    intervals=judged.differences,
                )
            )
        return tables

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON-ready values, fractions of one."""
        value: dict[str, Any] = {"model": self.model, "runs_on": self.runs_on}
        if self.protocol is not None:
            value["protocol"] = self.protocol.name
        if self.compared:
            value["compared"] = self.compared
        if self.not_read:
            value["predictions_not_used"] = {n: dict(p) for n, p in self.not_read.items()}
        value["corpora"] = {
            corpus: {
                **self._corpus_json(corpus),
                "not_used": dict(self.problems[corpus]),
                "used_with_a_remark": dict(self.remarks.get(corpus, {})),
            }
            for corpus in self.documents
        }
        if self.calibration:
            value["calibration"] = calibration.to_json(self.calibration)
        return value

    def _corpus_json(self, corpus: str) -> dict[str, Any]:
        if self.protocol is None:
            measured = self.calibrations.get(corpus)
            return {
                **to_json(self.scores[corpus]),
                **({"calibration": calibration.to_json(measured)} if measured else {}),
            }
        judged = self.judged[corpus]
        value: dict[str, Any] = {
            "documents": self.documents[corpus],
            "rows": protocol_table.to_json(judged.rows, judged.intervals),
        }
        if judged.other:
            value["compared"] = protocol_table.to_json(judged.other)
            value["differences"] = [
                {
                    "section": s,
                    "name": n,
                    "mode": m,
                    "measure": measure,
                    "interval": [i.low, i.high],
                }
                for ((s, n, m), measure), i in judged.differences.items()
            ]
        return value


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
    format: str = "auto",
    texts: Path | None = None,
    judging: Judging | None = None,
    calibrated: bool = False,
) -> Report:
    """Score a model on annotated documents.

    Scores are taken over the types that the data annotate: for a mixture file those that the
    ``schema.json`` beside it states per corpus, else those that occur. Under a protocol every
    prediction counts but those of types that a schema says the corpus does not annotate.

    Args:
        model: a run's folder, a model folder (torch), a bundle (ONNX), or predicted
            documents in any format that is read.
        data: annotated documents in any format that is read.
        corpora: of a mixture; empty takes all.
        split: a run's ``splits.json``, or a file of ``emlb data split``: only the documents
            of one part.
        part: ``train``, ``dev`` or ``test`` of the split.
        limit: documents per corpus at most.
        gold_mentions: also score relations between the annotated mentions.
        json_path: where to write the report as JSON.
        precision: which encoder of a bundle.
        task: whose output to score; needed if the model has several.
        format: the data's, where it is not to be found out.
        texts: folder of the notes' texts, for formats that come without them.
        judging: protocol, intervals, comparison; None gives EMLB's own table.
        calibrated: also measure how far scores are probabilities.

    Raises:
        ConfigError: if an option does not fit the model.
        DataError: if the data cannot be read.
        ArtefactError: if the model cannot.
    """
    judging = judging or Judging()
    if judging.protocol and gold_mentions:
        raise ConfigError("relations on gold mentions are scored without a protocol only")
    if judging.protocol and calibrated:
        raise ConfigError("calibration is measured without a protocol only")
    protocol = find_protocol(judging.protocol) if judging.protocol else None
    place = texts or data  # of the notes, for predictions without them
    predictor = load_predictor(model, precision=precision, task=task, texts=place)
    other = load_predictor(judging.compare, task=task, texts=place) if judging.compare else None
    names = split_names(split, part) if split else None
    read = read_gold(data, corpora=corpora, names=names, limit=limit, format=format, texts=texts)
    scores: dict[str, Scores] = {}
    judged: dict[str, Judged] = {}
    calibrations: dict[str, Mapping[str, Calibration]] = {}
    groups: list[Measured] = []
    for corpus in read:
        if protocol is None:
            found = predictor.predict(corpus)
            on_gold = predictor.predict(corpus, gold_mentions=True) if gold_mentions else None
            marked = marked_in(predictor.schema, corpus.documents, found)
            scores[corpus.name] = score_corpus(
                ScoredCorpus(corpus.name, "", corpus.documents, corpus.types, marked=marked),
                found,
                predicted_on_gold=on_gold,
            )
            if calibrated:
                groups.append(Measured(corpus.documents, found, corpus.types, marked))
                calibrations[corpus.name] = measure_calibration(groups[-1])
        else:
            judged[corpus.name] = judge(predictor, other, corpus, protocol, judging.samples)
    report = Report(
        predictor.name,
        predictor.runs_on,
        {corpus.name: len(corpus.documents) for corpus in read},
        {corpus.name: dict(corpus.report.summary()) for corpus in read},
        scores,
        protocol,
        judged,
        other.name if other else "",
        {p.name: p.problems for p in (predictor, other) if p is not None and p.problems},
        calibrations,
        measure_calibration(*groups) if len(groups) > 1 else {},
        {corpus.name: dict(corpus.report.remarked()) for corpus in read},
    )
    if json_path:
        text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
        json_path.write_text(text + "\n", encoding="utf-8")
    return report


def split_names(path: Path, part: str) -> set[str]:
    """The documents of one part of a split.

    Raises:
        DataError: if there is no such file or part.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        parts = [values] if part in values else [values[name] for name in values]
        return {str(name) for lists in parts for name in lists[part]}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        raise DataError(f"{path}: no split with a part {part!r} in it") from None
