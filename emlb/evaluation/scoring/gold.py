"""Annotated corpora to score against: what is read, and which types it annotates."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from emlb.data.formats.detect import FORMATS, RAW_FORMATS, detect, scan
from emlb.data.mapping import UNKNOWN
from emlb_runtime.errors import DataError
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document

SCHEMA_NAME = "schema.json"


@dataclass(frozen=True)
class GoldCorpus:
    """One corpus as read.

    Attributes:
        name: the folder's or file's name, or the corpus of a mixture.
        documents: its documents.
        types: entity and relation types that it annotates.
        is_stated: whether a schema states the types; else they are those that occur.
        report: what is not used, or used with a remark.
    """

    name: str
    documents: tuple[Document, ...]
    types: frozenset[str]
    is_stated: bool
    report: Report


def read_gold(
    data: Path,
    *,
    corpora: Collection[str] = (),
    names: Collection[str] | None = None,
    limit: int | None = None,
    format: str = "auto",
    texts: Path | None = None,
) -> list[GoldCorpus]:
    """Read annotated documents of any format.

    Args:
        data: a file or folder.
        corpora: of a mixture; empty takes all.
        names: the documents to take; None takes all.
        limit: documents per corpus at most.
        format: as ``emlb.data.formats.detect.scan`` takes it.
        texts: folder of the notes' texts, for formats that come without them.

    Raises:
        DataError: if there are none, or the notes there have no annotations.
    """
    format = detect(data, texts=texts).format if format == "auto" else format
    if format in RAW_FORMATS:
        raise DataError(f"{data}: notes without annotations ({FORMATS[format]})")
    is_mixture = format == "mixture"
    held: dict[str, list[Document]] = {}
    reports: dict[str, list[Report]] = {}
    whole = data.stem if data.is_file() else data.resolve().name
    lost: list[Report] = []
    for document, report in scan(data, format=format, corpora=corpora, texts=texts):
        if document is None:
            lost.append(report)
            continue
        corpus = document.note.name.partition("/")[0] if is_mixture else whole
        reports.setdefault(corpus, []).append(report)
        documents = held.setdefault(corpus, [])
        if names is None or document.note.name in names:
            documents.append(document)
    schema = _read_schema((data if data.is_dir() else data.parent) / SCHEMA_NAME, is_mixture)
    found: list[GoldCorpus] = []
    for corpus, documents in held.items():
        documents = documents[: limit or None]
        if not documents:
            raise DataError(f"{data}: {corpus} has no document of that part")
        stated = schema.get(corpus)
        types = _occurring(documents) if stated is None else stated
        # Of a mixture nothing says which corpus a lost document is of: the first one tells it.
        merged = Report.merge((*reports[corpus], *([] if found else lost)))
        found.append(GoldCorpus(corpus, tuple(documents), types, stated is not None, merged))
    if not found:
        raise DataError(f"{data}: no document")
    return found


def _occurring(documents: Collection[Document]) -> frozenset[str]:
    return frozenset(
        type
        for document in documents
        for type in (
            *(entity.type for entity in document.entities if entity.type != UNKNOWN),
            *(relation.type for relation in document.relations),
        )
    )


def _read_schema(path: Path, is_mixture: bool) -> Mapping[str, frozenset[str]]:
    """Per corpus, the types it annotates in full or in part; empty without a schema file."""
    if not is_mixture or not path.is_file():
        return {}
    try:
        corpora = json.loads(path.read_text(encoding="utf-8"))["corpora"]
        return {
            str(name): frozenset([*values["annotated_in_full"], *values["annotated_in_part"]])
            for name, values in corpora.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: does not say per corpus what is annotated") from None
