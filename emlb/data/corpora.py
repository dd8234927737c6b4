"""Loading the corpora that a training configuration names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.errors import DataError
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document
from emlb_runtime.schema import Signature, Task

from .formats import FORMATS, RAW_FORMATS, detect, scan
from .splits import (
    Split,
    alone,
    divide,
    divide_as_listed,
    divide_by_shares,
    divide_officially,
    grouping,
    random_folds,
    read_folds,
    read_parts,
)

if TYPE_CHECKING:
    from emlb.training.config import CorpusConfig, SplitConfig, TaskConfig


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
    assert config.split is not None  # CorpusConfig sees to it
    return Corpus(config, _divide(train, config.split, data, config.name), report)


def _divide(documents: Sequence[Document], config: SplitConfig, data: Path, corpus: str) -> Split:
    listed = data / config.group_file if config.group_file else None
    group = grouping(pattern=config.group_pattern, file=listed) if config.group else alone
    if config.official:
        return divide_officially(
            documents, dev_share=config.dev_share, group=group, seed=config.seed
        )
    if config.test_share:
        return divide_by_shares(
            documents,
            test_share=config.test_share,
            dev_share=config.dev_share,
            group=group,
            seed=config.seed,
        )
    if config.file and not config.key:
        return divide_as_listed(documents, read_parts(data / config.file))
    folds = (
        read_folds(data / config.file, config.key)
        if config.file
        else random_folds(documents, config.folds, group=group, seed=config.seed)
    )
    for fold in (config.test, config.dev):
        if fold >= len(folds):
            raise DataError(f"corpus {corpus}: fold {fold} of {len(folds)} does not exist")
    return divide(
        documents,
        folds=folds,
        test=config.test,
        dev=config.dev,
        dev_share=config.dev_share,
        group=group,
        seed=config.seed,
    )


def read_documents(path: Path, format: str, corpus: str) -> tuple[list[Document], Report]:
    """All annotated documents at a path; of a mixture, those of one corpus.

    Raises:
        DataError: if there are none, or the notes there have no annotations.
    """
    documents: list[Document] = []
    reports: list[Report] = []
    format = detect(path).format if format == "auto" else format
    if format in RAW_FORMATS:
        raise DataError(f"{path}: notes without annotations ({FORMATS[format]})")
    for document, report in scan(path, format=format, corpora=[corpus]):
        reports.append(report)
        if document is not None:
            documents.append(document)
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
