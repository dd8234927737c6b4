"""Loading the corpora that a training configuration names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.errors import DataError
from emlb_runtime.formats.brat import read_brat_folder
from emlb_runtime.formats.jsonl import read_mixture
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document
from emlb_runtime.schema import Signature, Task

from .splits import Split, divide, random_folds, read_folds

if TYPE_CHECKING:
    from emlb.training.config import CorpusConfig, TaskConfig


@dataclass(frozen=True)
class Corpus:
    """A corpus in memory.

    Attributes:
        config: as configured.
        split: its documents.
        report: what the readers could not use.
    """

    config: CorpusConfig
    split: Split
    report: Report


def load_corpus(config: CorpusConfig, data: Path) -> Corpus:
    """Read and divide a corpus.

    Args:
        config: which one.
        data: the folder its paths are relative to.

    Raises:
        DataError: if a path is missing or holds no document.
    """
    train, report = read_documents(data / config.train, config.format, config.select or config.name)
    if config.dev:
        dev, more = read_documents(data / config.dev, config.format, config.select or config.name)
        return Corpus(config, Split(tuple(train), tuple(dev)), report + more)
    split = config.split
    assert split is not None  # CorpusConfig sees to it
    folds = (
        read_folds(data / split.file, split.key)
        if split.file
        else random_folds(train, split.folds, group=split.group, seed=split.seed)
    )
    for fold in (split.test, split.dev):
        if fold >= len(folds):
            raise DataError(f"corpus {config.name}: fold {fold} of {len(folds)} does not exist")
    parts = divide(
        train,
        folds=folds,
        test=split.test,
        dev=split.dev,
        dev_share=split.dev_share,
        group=split.group,
        seed=split.seed,
    )
    return Corpus(config, parts, report)


def read_documents(path: Path, format: str, corpus: str) -> tuple[list[Document], Report]:
    """All documents of a brat folder, or of one corpus in a mixture file.

    Raises:
        DataError: if there are none.
    """
    documents: list[Document] = []
    reports: list[Report] = []
    if format == "brat":
        for document, report in read_brat_folder(path):
            documents.append(document)
            reports.append(report)
    else:
        for document, _, report in read_mixture(path, corpora=[corpus]):
            documents.append(document)
            reports.append(report)
    if not documents:
        raise DataError(f"{path}: no document of corpus {corpus}")
    return documents, Report.merge(reports)


def derive_task(config: TaskConfig, corpora: Sequence[Corpus]) -> Task:
    """The task that a configuration and its corpora make together.

    Types left open are all that the training documents have; a relation's signatures are the
    type pairs seen at least ``min_signature`` times.
    """
    entities: Counter[str] = Counter()
    signatures: Counter[Signature] = Counter()
    for corpus in corpora:
        for document in corpus.split.train:
            types = {entity.id: entity.type for entity in document.entities}
            entities.update(types.values())
            signatures.update(
                (relation.type, types[relation.head], types[relation.tail])
                for relation in document.relations
            )
    entity_types = config.entity_types or tuple(sorted(entities))
    relation_types = config.relation_types or tuple(sorted({r for r, _, _ in signatures}))
    kept = tuple(
        sorted(
            (relation, head, tail)
            for (relation, head, tail), n in signatures.items()
            if n >= config.min_signature
            and relation in relation_types
            and {head, tail} <= set(entity_types)
        )
    )
    return Task(config.name, entity_types, relation_types, kept, selection=config.selection)
