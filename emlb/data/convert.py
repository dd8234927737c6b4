"""From any format that can be read to brat, JSON lines, Anafora or ShARe/CLEF pipes."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats.brat import format_brat
from emlb_runtime.formats.files.atomic import open_private, replace_file
from emlb_runtime.formats.report import NO_TEXT, Problem
from emlb_runtime.formats.tables import NoteColumns
from emlb_runtime.records import Document, Entity, Relation, document_to_json

from .formats.anafora.corpus import write_anafora
from .formats.detect import detect, scan
from .formats.share.corpus import write_share
from .mapping import find_mapping

TARGETS = ("brat", "jsonl", "anafora", "share", "share2013")
"""What can be written: brat pairs, one file of documents with their texts, and the rest."""

LABEL_WITH_SPACE = "mention or relation whose label holds white space"
RELATION_OF_DROPPED = "relation of a mention that was dropped"
ATTRIBUTE_NOT_PLAIN = "attribute whose name or value holds tabs, line ends or repeated spaces"
SCORE = "score of a mention or relation"
TASK = "task of a mention or relation"
STATUS = "status of a document"

_PLAIN_VALUE = re.compile(r"|\S+(?: \S+)*")

_Write = Callable[[Document], Counter[str]]


@dataclass
class Conversion:
    """What came of a conversion; holds no text.

    Attributes:
        documents: documents written.
        lost: documents that could not be read.
        losses: what the target cannot hold, with counts.
        problems: what the reader did not use.
        remarks: what it used although something about it is odd, or was changed.
        passed_over: what else of use lies there and was not read.
        left_out: what the mapping leaves out, with counts.
    """

    documents: int = 0
    lost: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)
    passed_over: tuple[str, ...] = ()
    left_out: Counter[str] = field(default_factory=Counter)


def convert(
    source: Path,
    out: Path,
    *,
    to: str,
    format: str = "auto",
    texts: Path | None = None,
    columns: NoteColumns | None = None,
    strict: bool = False,
    mapping: str = "",
) -> Conversion:
    """Read documents and write them in another format, names and ids kept where it can hold them.

    Args:
        source: a file or folder.
        out: a folder that is empty or not there; for ``jsonl`` a file that is not there, which
            grows as ``OUT.part``.
        to: one of ``TARGETS``; ``share`` is the format of 2014.
        format: the source's, as ``emlb.data.formats.detect.scan`` takes it.
        texts: folder of the source's texts, for formats that come without them.
        columns: of a table, or of JSON lines, that hold raw notes.
        strict: end at the first thing that cannot be read.
        mapping: rules that rewrite the annotations in another schema's types
            (``emlb.data.mapping``); empty keeps them.

    Raises:
        ConfigError: if the target is unknown or in use, or there is no such mapping.
        DataError: if nothing can be read, a name cannot be a file's; if strict, at the
            first problem.
    """
    if to not in TARGETS:
        raise ConfigError(f"unknown target {to!r}; choose {', '.join(TARGETS)}")
    if out.exists() and (not out.is_dir() or to == "jsonl" or any(out.iterdir())):
        raise ConfigError(f"{out} is there already; name one that is not, so that nothing is lost")
    rewrite = find_mapping(mapping) if mapping else None
    done = Conversion()
    if columns is not None or format == "auto":
        found = detect(source, texts=texts, columns=columns)
        format, done.passed_over = found.format, found.passed_over
    target = out.with_name(f"{out.name}.part") if to == "jsonl" else out
    with ExitStack() as stack:
        write = _writer(to, target, stack)
        reading = scan(source, format=format, texts=texts, columns=columns, strict=strict)
        for document, report in reading:
            done.problems += report.problems
            done.remarks += report.remarks
            done.lost += report.counts.get("documents_lost", 0)
            if document is None:
                continue
            if document.entities and not document.note.text:
                missing = Problem(f"{source} ({document.note.name})", 0, "", NO_TEXT)
                if strict:
                    raise DataError(str(missing))
                done.problems.append(missing)
                done.lost += 1
                continue
            if rewrite is not None:
                document = rewrite(document, done.left_out)
            done.losses.update(write(document))
            done.documents += 1
    if target != out:
        target.replace(out)
    return done


def _writer(to: str, out: Path, stack: ExitStack) -> _Write:
    if to == "jsonl":
        out.parent.mkdir(parents=True, exist_ok=True)
        file = stack.enter_context(open(open_private(out, fresh=True), "wb"))
        return lambda document: _write_line(document, file)
    out.mkdir(parents=True, exist_ok=True)
    if to == "brat":
        return lambda document: _write_brat(document, out)
    if to == "anafora":
        return lambda document: write_anafora(document, out)
    year = 2013 if to == "share2013" else 2014
    return lambda document: _unscored(document) + write_share(document, out, year=year)


def _write_line(document: Document, file: BinaryIO) -> Counter[str]:
    line = json.dumps(document_to_json(document, with_text=True), ensure_ascii=False)
    file.write(line.encode("utf-8", "surrogatepass") + b"\n")
    return Counter()


def _write_brat(document: Document, folder: Path) -> Counter[str]:
    kept, losses = _fit_brat(document)
    path = folder / _safe_name(document.note.name).removesuffix(".txt")
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.with_name(f"{path.name}.txt")
    if text.exists():
        raise DataError(f"{text}: two documents would be this file; give them names of their own")
    replace_file(text, document.note.text.encode("utf-8", "surrogatepass"))
    annotations = format_brat(kept).encode("utf-8", "surrogatepass")
    replace_file(path.with_name(f"{path.name}.ann"), annotations)
    return losses + _unscored(document)


def _fit_brat(document: Document) -> tuple[Document, Counter[str]]:
    """What of a document brat can hold, and counts of what it cannot."""
    losses: Counter[str] = Counter()
    entities: list[Entity] = []
    for entity in document.entities:
        if not _is_label(entity.type):
            losses[LABEL_WITH_SPACE] += 1
            continue
        plain = {
            name: value
            for name, value in entity.attributes.items()
            if _is_label(name) and _PLAIN_VALUE.fullmatch(value)
        }
        if dropped := len(entity.attributes) - len(plain):
            losses[ATTRIBUTE_NOT_PLAIN] += dropped
            entity = replace(entity, attributes=plain)
        entities.append(entity)
    held = {entity.id for entity in entities}
    relations = []
    for relation in document.relations:
        if not _is_label(relation.type):
            losses[LABEL_WITH_SPACE] += 1
        elif not {relation.head, relation.tail} <= held:
            losses[RELATION_OF_DROPPED] += 1
        else:
            relations.append(relation)
    return replace(document, entities=tuple(entities), relations=tuple(relations)), losses


def _unscored(document: Document) -> Counter[str]:
    """What of a prediction an annotation format has no place for."""
    items: list[Entity | Relation] = [*document.entities, *document.relations]
    counts = Counter(
        {
            SCORE: sum(item.score != 1.0 for item in items),
            TASK: sum(bool(item.task) for item in items),
            STATUS: int(document.status is not None),
        }
    )
    return +counts


def _is_label(text: str) -> bool:
    return re.fullmatch(r"\S+", text) is not None


def _safe_name(name: str) -> str:
    """The name as a relative path that stays in its folder.

    Raises:
        DataError: if it cannot be one.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or any(p in ("..", ".") for p in name.split("/")):
        raise DataError(f"document name {name!r} cannot be the name of a file below the folder")
    if "\0" in name or "\\" in name:
        raise DataError(f"document name {name!r} holds a character that a file name cannot have")
    return name
