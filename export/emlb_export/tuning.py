"""Thresholds and calibration of every precision, and what quantisation costs, on development data.

An int8 network scores a little differently than the one it was made from, so that thresholds
chosen for fp32 are not its best. Each precision is therefore tuned by itself, on the
development documents of the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from emlb.evaluation.calibration.fit import as_reported, tune, untuned
from emlb.evaluation.pipeline_scores import ScoredCorpus, extract, score_corpus
from emlb.evaluation.scoring.counts import Scores
from emlb.training.config import RunConfig, recorded_config
from emlb.training.development import read_development
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.extract import load_pipeline
from emlb_runtime.machine.info import available_cores
from emlb_runtime.machine.threads import worker_pool
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.schema.task import Task

CHANCE = 3
"""So few annotations found or missed more are chance: on little data a limit asks no less."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Tuned:
    """One precision as tuned.

    Attributes:
        tasks: with its thresholds and calibration.
        scores: per corpus, over the types that it annotates in full.
    """

    tasks: tuple[Task, ...]
    scores: Mapping[str, Scores]

    @property
    def pooled(self) -> Scores:
        """Over the documents of all corpora."""
        return reduce(add, self.scores.values())


@dataclass(frozen=True)
class Loss:
    """How much lower int8 scores than fp32 over all development documents, strict micro F1.

    Attributes:
        documents: their number.
        entities: points of a hundred; negative is a gain.
        relations: points of a hundred, end to end.
        n_entities: annotated entities.
        n_relations: annotated relations.
        attributes: points of a hundred, end to end.
        n_attributes: annotated values that differ from the default.
    """

    documents: int
    entities: float
    relations: float
    n_entities: int
    n_relations: int
    attributes: float = 0.0
    n_attributes: int = 0

    @classmethod
    def between(cls, fp32: Tuned, int8: Tuned) -> Loss:
        """From one to the other."""
        before, after = fp32.pooled, int8.pooled
        entities, relations = before.entities.strict.micro, before.relations.strict.micro
        return cls(
            before.documents,
            100 * (entities.f1 - after.entities.strict.micro.f1),
            100 * (relations.f1 - after.relations.strict.micro.f1),
            entities.gold,
            relations.gold,
            *_attribute_loss(before, after),
        )

    def exceeds(self, limit: float) -> bool:
        """Whether either loss is above a limit, and above what ``CHANCE`` annotations weigh."""
        return any(
            loss > max(limit, 100 * CHANCE / n)
            for loss, n in (
                (self.entities, self.n_entities),
                (self.relations, self.n_relations),
                (self.attributes, self.n_attributes),
            )
            if n
        )

    def __str__(self) -> str:
        said = f", {self.attributes:+.2f} of attributes" if self.n_attributes else ""
        return (
            f"int8 loses {self.entities:+.2f} F1 of entities and {self.relations:+.2f} of "
            f"relations{said} on {self.documents} development documents"
        )


def _attribute_loss(before: Scores, after: Scores) -> tuple[float, int]:
    """Points of F1 that attributes lose end to end, and how many there are."""
    if before.attributes is None or after.attributes is None:
        return 0.0, 0
    gold = before.attributes.found.micro
    return 100 * (gold.f1 - after.attributes.found.micro.f1), gold.gold


def find_development(
    run: Mapping[str, Any], tasks: Sequence[Task], data: Path | None, say: Say
) -> list[ScoredCorpus]:
    """The development documents of a run; none, and a line why, if they are not available.

    Args:
        run: the run's record.
        tasks: the model's.
        data: the folder of the corpora, if it is not where the run had it.
        say: told why there are none.

    Raises:
        ConfigError: if ``data`` is given and does not hold them.
    """
    try:
        if not run.get("config"):
            raise DataError("the model comes without the record of its run")
        config: RunConfig = recorded_config(run["config"])
        if data is not None:
            config = replace(config, data=str(data))
        if config.training.learned != "both":
            raise DataError(f"the model learned {config.training.learned} only")
        return read_development(config, tasks)
    except (ConfigError, DataError) as error:  # such as a setting of another version of EMLB
        if data is not None:
            raise ConfigError(f"--data {data}: {error}") from None
        say(
            f"thresholds are those of the training, for every precision: {error}; name the folder "
            "of its corpora with --data to choose them again"
        )
        return []


def tune_precision(
    bundle: Bundle,
    precision: str,
    corpora: Sequence[ScoredCorpus],
    *,
    fixed: Mapping[str, float] | None = None,
) -> Tuned:
    """Extract the development documents, and choose for every task what is best on them.

    Args:
        bundle: whose networks.
        precision: of the encoder.
        corpora: the development documents.
        fixed: thresholds that are not to be chosen, by relation type.
    """
    pipeline = open_untuned(bundle, precision)
    return tune_pipeline(pipeline, bundle.config.tasks, corpora, fixed=fixed)


def fix_thresholds(task: Task, fixed: Mapping[str, float]) -> Task:
    """The task with some thresholds given; those of other tasks' relations change nothing."""
    mine = {name: value for name, value in fixed.items() if name in task.relation_types}
    return replace(task, thresholds={**(task.thresholds or {}), **mine})


def open_untuned(bundle: Bundle, precision: str) -> Pipeline:
    """A bundle's pipeline that holds no relation back and calibrates nothing."""
    open_tasks = tuple(untuned(task) for task in bundle.config.tasks)
    config = replace(bundle.config, tasks=open_tasks, tuned={})
    return load_pipeline(Bundle(bundle.folder, config), precision=precision)


def tune_pipeline(
    pipeline: Pipeline,
    tasks: Sequence[Task],
    corpora: Sequence[ScoredCorpus],
    *,
    fixed: Mapping[str, float] | None = None,
) -> Tuned:
    """Do what ``tune_precision`` does with a pipeline of ``open_untuned``, on any backend.

    Args:
        pipeline: on any backend.
        tasks: to be tuned.
        corpora: the development documents.
        fixed: as for ``tune_precision``.
    """
    with worker_pool(available_cores()) as pool:
        found = [extract(pipeline, corpus, executor=pool) for corpus in corpora]
    tuned_tasks: list[Task] = []
    scores: dict[str, Scores] = {}
    for task in tasks:
        mine = [i for i, corpus in enumerate(corpora) if corpus.task == task.name]
        tuned = tune(task, [corpora[i] for i in mine], [found[i] for i in mine])
        tuned = fix_thresholds(tuned, fixed or {})
        tuned_tasks.append(tuned)
        for i in mine:
            reported = [as_reported(d, tuned) for d in found[i]]
            corpus = replace(corpora[i], types=corpora[i].complete)
            scores[corpus.name] = score_corpus(corpus, reported)
    return Tuned(tuple(tuned_tasks), scores)
