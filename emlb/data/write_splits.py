"""Dividing a corpus once and for all: a file of parts, and a look for leaks."""

from __future__ import annotations

from pathlib import Path

from emlb_runtime.errors import DataError
from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document

from .formats.detect import group_documents, scan
from .leaks import find_leaks
from .splits import divide_by_shares, divide_officially, grouping, official_part, write_parts


def divide_corpus(
    path: Path,
    out: Path,
    *,
    format: str = "auto",
    texts: Path | None = None,
    test_share: float = 0.2,
    dev_share: float = 0.1,
    group_pattern: str = "",
    group_file: Path | None = None,
    at_random: bool = False,
    seed: int = 13,
) -> str:
    """Divide the documents at a path and write the parts to a JSON file.

    Args:
        path: a corpus.
        out: the file; ``split.file`` of a training configuration takes it.
        format: as ``emlb.data.formats.detect.scan`` takes it.
        texts: folder of the notes' texts, for formats that come without them.
        test_share: share of the documents for testing.
        dev_share: share of the rest for development.
        group_pattern: see ``emlb.data.splits.grouping``.
        group_file: see ``emlb.data.splits.grouping``.
        at_random: draw even where the corpus was released in parts.
        seed: of the draw.

    Returns:
        Lines for the user: sizes; what could not be read and leaks, if there are any.

    Raises:
        DataError: if nothing can be read.
    """
    documents: list[Document] = []
    reports: list[Report] = []
    for document, report in scan(path, format=format, texts=texts):
        reports.append(report)
        if document is not None:
            documents.append(document)
    if not documents:
        raise DataError(f"{path}: no document to divide")
    group = grouping(pattern=group_pattern, file=group_file)
    if not group_pattern and group_file is None:
        names = {document.note.name for document in documents}
        group = group_documents(path, names, format=format, texts=texts)
    official = not at_random and _is_official(documents)
    if official:
        split = divide_officially(documents, dev_share=dev_share, group=group, seed=seed)
    else:
        split = divide_by_shares(
            documents, test_share=test_share, dev_share=dev_share, group=group, seed=seed
        )
    made_by = {
        "corpus": path.name,
        "way": "official" if official else "random",
        "test_share": None if official else test_share,
        "dev_share": dev_share,
        "group_pattern": group_pattern,
        "group_file": group_file.name if group_file else "",
        "seed": seed,
    }
    write_parts(out, split, made_by=made_by)
    parts = split.names()
    used = sum(map(len, parts.values()))
    lines = [", ".join(f"{part} {len(held):,}" for part, held in parts.items()) + f" -> {out}"]
    together = len({group(document.note.name) for document in documents})
    drawn = f" (drawn, seed {seed}; {together:,} groups that stay together)"
    lines[0] += " (as released)" if official else drawn
    if used < len(documents):
        lines.append(f"in no part: {len(documents) - used:,} documents outside released parts")
    read = Report.merge(reports)
    if read.problems:
        lost = read.counts.get("documents_lost", 0)
        lines.append(
            f"not used: {len(read.problems):,}, with {lost:,} documents lost whole; "
            "emlb data inspect names them"
        )
    leaks = find_leaks(split.train, {"dev": split.dev, "test": split.test})
    lines += [f"warning: {part}: {found}" for part, found in leaks.items() if found]
    return "\n".join(lines)


def _is_official(documents: list[Document]) -> bool:
    parts = {official_part(document.note.name) for document in documents}
    return {"train", "test"} <= parts
