"""What is in a corpus, and what of it cannot be used."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emlb_runtime.formats.report import NO_TEXT, Problem
from emlb_runtime.formats.tables import NoteColumns
from emlb_runtime.records import Document

from .formats.detect import FORMATS, Detected, detect, scan
from .leaks import Leaks, find_leaks
from .sentences import is_cross_sentence, sentence_starts
from .splits import official_part

FREE_TEXT = "(text)"
"""What stands for a value that is no label, and so might be words of a note."""

_LABEL = re.compile(r"[\w./:+*-]{0,24}")

Signature = tuple[str, str, str]
"""A relation's type, its head's and its tail's."""


@dataclass
class Inspection:
    """Counts over a corpus; holds no text.

    Attributes:
        source: the format found, and what was passed over.
        parts: documents by top folder or, in a mixture, by corpus; empty without either.
        documents: documents read.
        lost: documents of which nothing could be used.
        characters: code points of all texts.
        entities: mentions by type.
        relations: relations by type and the types they join.
        attributes: mentions by attribute and value.
        counts: what the readers counted beside these.
        discontinuous: mentions with a gap.
        overlapping: mentions that share a character with an earlier one of their type.
        cross_sentence: relations whose mentions stand in different sentences or lines.
        problems: what is not used.
        remarks: what is used although something about it is odd, or was changed.
        leaks: of each held-out part, what the training part gives away.
        has_texts: whether the texts' place was given.
    """

    source: Detected
    parts: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    lost: int = 0
    characters: int = 0
    entities: Counter[str] = field(default_factory=Counter)
    relations: Counter[Signature] = field(default_factory=Counter)
    attributes: Counter[tuple[str, str]] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    discontinuous: int = 0
    overlapping: int = 0
    cross_sentence: int = 0
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)
    leaks: dict[str, Leaks] = field(default_factory=dict)
    has_texts: bool = False

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON-ready values."""
        return {
            "format": self.source.format,
            "passed_over": list(self.source.passed_over),
            "documents": self.documents,
            "documents_lost": self.lost,
            "parts": dict(self.parts),
            "characters": self.characters,
            "entities": dict(self.entities),
            "relations": [
                {"type": type, "head": head, "tail": tail, "count": count}
                for (type, head, tail), count in sorted(self.relations.items())
            ],
            "attributes": [
                {"name": name, "value": value, "count": count}
                for (name, value), count in sorted(self.attributes.items())
            ],
            "discontinuous": self.discontinuous,
            "same_type_overlaps": self.overlapping,
            "cross_sentence_relations": self.cross_sentence,
            "counted": dict(self.counts),
            "problems": _problems_json(self.problems),
            "remarks": _problems_json(self.remarks),
            "leaks": {
                part: {
                    "documents": leaks.documents,
                    "same_text": leaks.same_text,
                    "shared_sentence": leaks.shared_sentence,
                    "sentences": leaks.sentences,
                    "names": list(leaks.names),
                }
                for part, leaks in self.leaks.items()
            },
        }


def _problems_json(problems: Sequence[Problem]) -> list[dict[str, Any]]:
    return [{"file": p.file, "line": p.line, "id": p.id, "reason": p.reason} for p in problems]


def inspect(
    path: Path,
    *,
    format: str = "auto",
    texts: Path | None = None,
    columns: NoteColumns | None = None,
    strict: bool = False,
) -> Inspection:
    """Read a corpus and count what it holds.

    Args:
        path: a file or folder.
        format: one of ``FORMATS``; ``auto`` finds out.
        texts: folder of the notes' texts, for formats that come without them.
        columns: of a table, or of JSON lines, that hold raw notes.
        strict: end at the first thing that cannot be used.

    Raises:
        DataError: if nothing can be read; if strict, at the first problem.
    """
    if columns is not None or format == "auto":
        source = detect(path, texts=texts, columns=columns)
    else:
        source = Detected(format)
    found = Inspection(source, has_texts=texts is not None)
    held: dict[str, list[Document]] = {}
    reading = scan(path, format=source.format, texts=texts, columns=columns, strict=strict)
    for document, report in reading:
        found.problems += report.problems
        found.remarks += report.remarks
        found.counts.update(
            {name: n for name, n in report.counts.items() if n and name not in _SHOWN}
        )
        found.discontinuous += report.counts.get("discontinuous", 0)
        found.overlapping += report.counts.get("same_type_overlaps", 0)
        found.lost += report.counts.get("documents_lost", 0)
        if document is None:
            continue
        _count(found, document)
        if part := official_part(document.note.name):
            held.setdefault(part, []).append(document)
    training = held.pop("train", [])
    if training:
        found.leaks = find_leaks(training, dict(sorted(held.items())))
    return found


_SHOWN = {
    "documents",
    "documents_lost",
    "entities",
    "relations",
    "attributes",
    "discontinuous",
    "same_type_overlaps",
}


def _count(found: Inspection, document: Document) -> None:
    text = document.note.text
    found.documents += 1
    found.characters += len(text)
    folder, slash, _ = document.note.name.partition("/")
    if slash:
        found.parts[folder] += 1
    for entity in document.entities:
        found.entities[entity.type] += 1
        found.attributes.update(
            (name, value if _LABEL.fullmatch(value) else FREE_TEXT)
            for name, value in entity.attributes.items()
        )
    starts = sentence_starts(text) if document.relations else []
    for triple in document.triples():
        head, tail = triple.head, triple.tail
        found.relations[triple.relation.type, head.type, tail.type] += 1
        first, second = sorted((head.start, tail.start))
        found.cross_sentence += is_cross_sentence(starts, first, second)


def render(found: Inspection, *, title: str, listed: int = 20) -> str:
    """An inspection as text for people.

    Args:
        found: the counts.
        title: what was inspected.
        listed: how many problems, and remarks, to list one by one; all are counted.
    """
    lines = [f"{title}: {found.source.format} ({FORMATS[found.source.format]})"]
    lines += [f"  also there, not read: {other}" for other in found.source.passed_over]
    lines += [f"documents {found.documents:,}, {found.characters:,} characters"]
    if len(found.parts) > 1:
        lines += [f"  {part} {count:,}" for part, count in sorted(found.parts.items())]
    if found.entities:
        lines += ["", f"entities {found.entities.total():,}"]
        lines += [f"  {type} {count:,}" for type, count in found.entities.most_common()]
        lines += [f"  discontinuous {found.discontinuous:,}"] * bool(found.discontinuous)
        lines += [f"  overlapping one of their type {found.overlapping:,}"] * bool(
            found.overlapping
        )
    if found.attributes:
        lines += ["", f"attributes {found.attributes.total():,}", *_attribute_lines(found)]
    if found.relations:
        total = found.relations.total()
        lines += ["", f"relations {total:,}, {found.cross_sentence:,} of them across sentences"]
        lines += [
            f"  {type} ({head} -> {tail}) {count:,}"
            for (type, head, tail), count in found.relations.most_common()
        ]
    lines += ["", *(f"{name} {count:,}" for name, count in found.counts.items())] * bool(
        found.counts
    )
    for part, leaks in found.leaks.items():
        lines += [f"warning: {part}: {leaks}"] if leaks else []
    return "\n".join([*lines, *_problem_lines(found, listed), *_remark_lines(found, listed)])


def _attribute_lines(found: Inspection) -> list[str]:
    by_name: dict[str, Counter[str]] = {}
    for (name, value), count in found.attributes.items():
        by_name.setdefault(name, Counter())[value] += count
    lines = []
    for name, values in by_name.items():
        shown = ", ".join(f"{value or '(flag)'} {n:,}" for value, n in values.most_common(8))
        more = f", and {len(values) - 8:,} more values" if len(values) > 8 else ""
        lines.append(f"  {name}: {shown}{more}")
    return lines


def _problem_lines(found: Inspection, listed: int) -> list[str]:
    if not found.problems:
        read = "everything that was read" if found.source.passed_over else "everything"
        return ["", f"{read} was usable"]
    lines = ["", f"not used: {len(found.problems):,}"]
    if found.lost:
        lines[-1] += f", with {found.lost:,} documents lost whole"
    lines += _by_reason(found.problems)
    if any(problem.reason == NO_TEXT for problem in found.problems) and not found.has_texts:
        lines.append("  where the texts lie elsewhere, name their folder (or table) with --texts")
    return lines + _one_by_one(found.problems, listed)


def _remark_lines(found: Inspection, listed: int) -> list[str]:
    if not found.remarks:
        return []
    heading = f"used, with a remark: {len(found.remarks):,}"
    return ["", heading, *_by_reason(found.remarks), *_one_by_one(found.remarks, listed)]


def _by_reason(problems: Sequence[Problem]) -> list[str]:
    summary = Counter(problem.reason for problem in problems)
    return [f"  {count:,} × {reason}" for reason, count in summary.most_common()]


def _one_by_one(problems: Sequence[Problem], listed: int) -> list[str]:
    lines = [f"  {problem}" for problem in problems[:listed]]
    if len(problems) > listed:
        lines.append(f"  … and {len(problems) - listed:,} more")
    return lines
