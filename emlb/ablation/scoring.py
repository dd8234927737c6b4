"""Figures of a module's runs, and how sure the differences between modules are.

Entities and relations are scored strictly, by the rules of ``emlb evaluate``; mDice by the
``paper`` protocol. Significance is a paired bootstrap over documents. The seeds of a module
are pooled: a document's tally is the sum of its tallies of all seeds, so that a document is
drawn with all it gave, and seeds do not pass for more documents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from emlb.data.corpora import Corpus
from emlb.evaluation.comparison.bootstrap import Interval, differences
from emlb.evaluation.pipeline_scores import ScoredCorpus, extract
from emlb.evaluation.protocol_scores import restrict
from emlb.evaluation.protocols import Row, ScoringProtocol, Tally, add
from emlb.evaluation.protocols.paper import Paper
from emlb.evaluation.protocols.standard import Standard
from emlb.examples.coverage import Coverage
from emlb.model.pretrained import TrainedModel
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document

from .modules import MODULES, REFERENCE

SAMPLES = 1000
"""Of the bootstrap, unless told otherwise."""

Measure = tuple[str, str, str]
"""Section (``entities``, ``relations``, ``relations_on_gold``), ``micro`` or ``macro``, value."""

_BATCH = 8


@dataclass(frozen=True)
class Figures:
    """What one module with one seed reaches, as fractions of one."""

    module: str
    seed: int
    values: Mapping[Measure, float]


@dataclass(frozen=True)
class Dataset:
    """The ablation on one corpus.

    Attributes:
        name: of the configuration, with the corpus's where it has several.
        part: ``test``, or ``dev`` where there are no test documents.
        documents: their number.
        figures: of every module and seed.
        differences: per module and measure, the 95 % interval of how much higher it is than
            the reference's.
    """

    name: str
    part: str
    documents: int
    figures: Sequence[Figures]
    differences: Mapping[tuple[str, Measure], Interval]

    def is_apart(self, module: str, measure: Measure) -> bool:
        """Whether the interval of the difference to the reference does not hold zero."""
        interval = self.differences.get((module, measure))
        return interval is not None and (interval.low > 0 or interval.high < 0)

    def of(self, module: str, measure: Measure) -> list[float]:
        """The values of all seeds, in their order."""
        return [f.values.get(measure, 0.0) for f in self.figures if f.module == module]


@dataclass(frozen=True)
class Judged:
    """Figures and what they are made of: per document, the tally of each way of scoring."""

    figures: Figures
    tallies: Mapping[str, Sequence[Tally]]


@dataclass(frozen=True)
class Models:
    """Finds entities with one pipeline and relates them with another, maybe the same."""

    entities: Pipeline
    relations: Pipeline

    def extract(self, corpus: ScoredCorpus) -> list[Document]:
        """End to end: entities, and relations between them."""
        found = extract(self.entities, corpus)
        if self.relations is self.entities:
            return found
        return extract(self.relations, replace(corpus, documents=tuple(found)), gold_mentions=True)

    def relate(self, corpus: ScoredCorpus) -> list[Document]:
        """Relations between the annotated mentions."""
        return extract(self.relations, corpus, gold_mentions=True)


def load_models(folders: Sequence[Path]) -> Models:
    """The models of a module's runs: a joint one, or those of entities and of relations.

    Raises:
        ArtefactError: if a run has no model.
    """
    loaded = [TrainedModel.load(folder / "model").pipeline(batch=_BATCH) for folder in folders]
    return Models(loaded[0], loaded[-1])


def scored_corpora(
    corpora: Iterable[Corpus], models: Models
) -> dict[str, tuple[str, ScoredCorpus]]:
    """By name, the part of each corpus that is scored and its documents.

    Without test documents it is the development part. What the task lacks, or the corpus does
    not annotate, is left out of the documents.
    """
    tasks = {head.task.name: head.task for head in models.entities.heads}
    scored = {}
    for corpus in corpora:
        config = corpus.config
        task = tasks[config.task or next(iter(tasks))]
        types = Coverage.of(task, config.full, config.part).annotated
        part = "test" if corpus.split.test else "dev"
        documents = corpus.split.test or corpus.split.dev
        kept = tuple(restrict(document, types) for document in documents)
        scored[config.name] = part, ScoredCorpus(config.name, task.name, kept, types)
    return scored


def judge(models: Models, corpus: ScoredCorpus, module: str, seed: int) -> Judged:
    """Score a module's models on a corpus."""
    found = [restrict(document, corpus.types) for document in models.extract(corpus)]
    on_gold = [restrict(document, corpus.types) for document in models.relate(corpus)]
    sides = {"standard": found, "gold": on_gold, "paper": found}
    tallies = {
        way: [
            _needed(way, _PROTOCOLS[way].tally(gold, predicted))
            for gold, predicted in zip(corpus.documents, predictions, strict=True)
        ]
        for way, predictions in sides.items()
    }
    values = {
        measure: row.values[measure[2]]
        for way in tallies
        for row in _PROTOCOLS[way].rows(add(tallies[way]))
        for measure in _measures(way, row)
    }
    return Judged(Figures(module, seed, values), tallies)


def compare(
    name: str, judged: Sequence[Judged], *, part: str, documents: int, samples: int = SAMPLES
) -> Dataset:
    """Put the runs on one corpus together, with the differences to the reference."""
    found: dict[tuple[str, Measure], Interval] = {}
    for way in judged[0].tallies:
        protocol = _PROTOCOLS[way]
        pooled = {module.name: _pooled(judged, module.name, way) for module in MODULES}
        for module in (module.name for module in MODULES if module.name != REFERENCE):
            apart = differences(protocol, pooled[REFERENCE], pooled[module], samples=samples)
            for (key, value), interval in apart.items():
                for measure in _measures(way, Row(*key, {value: 0.0})):
                    found[module, measure] = interval
    return Dataset(name, part, documents, [one.figures for one in judged], found)


_PROTOCOLS: dict[str, ScoringProtocol] = {
    "standard": Standard(),
    "gold": Standard(),
    "paper": Paper(),
}


def _measures(way: str, row: Row) -> list[Measure]:
    """The measures of a row that the ablation shows."""
    if way == "paper":
        return [("entities", "macro", value) for value in row.values if value == "mdice"]
    if row.mode != "strict" or row.name not in ("micro", "macro"):
        return []
    if way == "gold":
        return [
            ("relations_on_gold", row.name, v) for v in row.values if row.section == "relations"
        ]
    return [(row.section, row.name, value) for value in row.values]


def _needed(way: str, tally: Tally) -> Tally:
    """Only what `_measures` needs: it makes resampling several times faster."""
    mode = "characters" if way == "paper" else "strict"
    return {key: values for key, values in tally.items() if key[2] == mode}


def _pooled(judged: Sequence[Judged], module: str, way: str) -> list[Tally]:
    """Per document, the sum of a module's tallies of all seeds."""
    seeds = [one.tallies[way] for one in judged if one.figures.module == module]
    return [add(tallies) for tallies in zip(*seeds, strict=True)]
