"""Loading the corpora that a training configuration names."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emlb.data.max_distance import find_reach
from emlb.package_data import find_packaged
from emlb_runtime.errors import DataError
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Signature, Task

from .formats.detect import FORMATS, RAW_FORMATS, detect, group_documents, scan
from .mapping import UNKNOWN, map_documents
from .splits import (
    Grouping,
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
    read_table,
    source_of,
)

if TYPE_CHECKING:
    from emlb.data.config import CorpusConfig, SplitConfig, TaskConfig


@dataclass(frozen=True)
class Corpus:
    """A corpus in memory.

    Attributes:
        config: as configured.
        split: its documents.
        report: what the readers could not use.
        left_out: how many annotations and documents the configuration leaves out, by reason.
    """

    config: CorpusConfig
    split: Split
    report: Report
    left_out: Counter[str] = field(default_factory=Counter)


def load_corpus(config: CorpusConfig, data: Path, *, seed: int = 13) -> Corpus:
    """Read and divide a corpus, leave documents out and map annotations as configured.

    Args:
        config: which one.
        data: the folder its paths are relative to.
        seed: of the draw of documents under ``limit``.

    Raises:
        DataError: if a path is missing or holds no document.
    """
    corpus = _read(config, data)
    train = _without_left_out(corpus, data)
    if config.limit and len(train) > config.limit:
        corpus.left_out["document above the limit"] += len(train) - config.limit
        train = random.Random(seed).sample(train, config.limit)
    left_out = corpus.left_out
    split = Split(
        train=tuple(map_documents(train, config.mapping, left_out)),
        dev=tuple(map_documents(corpus.split.dev, config.mapping, Counter())),
        test=tuple(map_documents(corpus.split.test, config.mapping, Counter())),
    )
    return replace(corpus, split=split)


def _read(config: CorpusConfig, data: Path) -> Corpus:
    texts = data / config.texts if config.texts else None
    name = config.select or config.name
    place = find_packaged(config.train, data)
    train, report = read_documents(place, config.format, name, texts=texts)
    if config.dev:
        place = find_packaged(config.dev, data)
        dev, more = read_documents(place, config.format, name, texts=texts)
        return Corpus(config, Split(tuple(train), tuple(dev)), report + more)
    assert config.split is not None  # CorpusConfig sees to it
    return Corpus(config, _divide(train, config, config.split, data), report)


def _without_left_out(corpus: Corpus, data: Path) -> list[Document]:
    """The training documents that no list of ``leave_out`` names."""
    named: set[str] = set()
    for table in corpus.config.leave_out:
        path = find_packaged(table.file, data)
        for number, row in enumerate(read_table(path), start=1):
            if len(row) < table.column:
                raise DataError(f"{path}:{number}: there is no column {table.column}")
            named.add(row[table.column - 1])
    kept = [d for d in corpus.split.train if named.isdisjoint(_names(d.note.name))]
    if dropped := len(corpus.split.train) - len(kept):
        corpus.left_out["document that leave_out names"] += dropped
    return kept


def _names(name: str) -> set[str]:
    """What a list may call a document: its name without a mixture's corpus, and its source."""
    within = name.rpartition("/")[2]
    return {name, within, source_of(within)}


def _group(documents: Sequence[Document], corpus: CorpusConfig, data: Path) -> Grouping:
    config = corpus.split
    if config is None or not config.group:
        return alone
    if config.group_pattern or config.group_file:
        listed = data / config.group_file if config.group_file else None
        return grouping(pattern=config.group_pattern, file=listed)
    names = {document.note.name for document in documents}
    texts = data / corpus.texts if corpus.texts else None
    place = find_packaged(corpus.train, data)
    return group_documents(place, names, format=corpus.format, texts=texts)


def _divide(
    documents: Sequence[Document], corpus: CorpusConfig, config: SplitConfig, data: Path
) -> Split:
    group = _group(documents, corpus, data)
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
        return divide_as_listed(documents, read_parts(find_packaged(config.file, data)))
    folds = (
        read_folds(find_packaged(config.file, data), config.key)
        if config.file
        else random_folds(documents, config.folds, group=group, seed=config.seed)
    )
    for fold in (config.test, config.dev):
        if fold >= len(folds):
            raise DataError(f"corpus {corpus.name}: fold {fold} of {len(folds)} does not exist")
    return divide(
        documents,
        folds=folds,
        test=config.test,
        dev=config.dev,
        dev_share=config.dev_share,
        group=group,
        seed=config.seed,
    )


def read_documents(
    path: Path, format: str, corpus: str, *, texts: Path | None = None
) -> tuple[list[Document], Report]:
    """All annotated documents at a path; of a mixture, those of one corpus.

    Args:
        path: a file or folder.
        format: as ``scan`` takes it.
        corpus: the corpus of a mixture; for messages.
        texts: folder of the notes' texts, for formats that come without them.

    Raises:
        DataError: if there are none, or the notes there have no annotations.
    """
    documents: list[Document] = []
    reports: list[Report] = []
    format = detect(path, texts=texts).format if format == "auto" else format
    if format in RAW_FORMATS:
        raise DataError(f"{path}: notes without annotations ({FORMATS[format]})")
    for document, report in scan(path, format=format, corpora=[corpus], texts=texts):
        reports.append(report)
        if document is not None:
            documents.append(document)
    read = Report.merge(reports)
    if not documents and read.problems:
        reason, count = read.summary().most_common(1)[0]
        raise DataError(f"{path}: no document of corpus {corpus} can be used: {count} × {reason}")
    if not documents:
        raise DataError(f"{path}: no document of corpus {corpus}")
    return documents, read


def derive_task(config: TaskConfig, corpora: Sequence[Corpus], tokenizer: Any) -> Task:
    """The task that a configuration and its corpora make together.

    Types left open are all that the training documents have; a relation's signatures are the
    type pairs seen at least ``min_signature`` times, and its reach is what a share ``reach`` of
    its training relations keep within.

    Args:
        config: of the task.
        corpora: its corpora.
        tokenizer: a ``tokenizers.Tokenizer`` that tells words apart.
    """
    entities: Counter[str] = Counter()
    signatures: Counter[Signature] = Counter()
    for corpus in corpora:
        for document in corpus.split.train:
            types = {entity.id: entity.type for entity in document.entities}
            entities.update(type for type in types.values() if type != UNKNOWN)
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
    documents = [document for corpus in corpora for document in corpus.split.train]
    reach = find_reach(documents, tokenizer, share=config.reach)
    return Task(
        config.name,
        entity_types,
        relation_types,
        kept,
        reach={relation: reach[relation] for relation in relation_types if relation in reach},
        selection=config.selection,
        attributes=config.attribute,
    )
