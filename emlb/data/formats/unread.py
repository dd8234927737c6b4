"""Files of a corpus's folder that no reader looks at, so that they are told and not lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from emlb_runtime.formats.folders import describe_suffixes, files_below, suffix_of

from .anafora.corpus import find_anafora

_SUFFIXES = {
    "brat": (".txt", ".ann"),
    "n2c2": (".txt", ".ann"),
    "mimic": (".ann",),
    "text": (".txt",),
    "share2013": (".txt", ".text", ".pipe"),
    "share2014": (".txt", ".text", ".pipe"),
}
"""What the files of a format end in, where their names tell; others are given one by one."""

_READ_ELSEWHERE = ("schema.json",)
"""Files that say something about a corpus, and are read by whoever wants to know it."""

_FOREIGN = {
    "i2b2 2010's .con, .rel and .ast": (".con", ".rel", ".ast"),
    "CoNLL": (".conll", ".conllu", ".bio", ".iob", ".iob2"),
    "BioNLP's .a1 and .a2": (".a1", ".a2"),
    "knowtator XML": (".knowtator.xml",),
}
"""Annotations in formats that are not read, by the suffixes that give them away."""


def describe_unread(
    folder: Path, formats: Collection[str], files: Collection[Path]
) -> tuple[str, ...]:
    """What lies in a folder and belongs to no format found there; empty if nothing does.

    Args:
        folder: the corpus.
        formats: those found there.
        files: the files that are read or named otherwise.
    """
    is_read = _reader_of(folder, formats, frozenset(files))
    counts = Counter(suffix_of(path.name) for path in files_below(folder) if not is_read(path))
    if not counts:
        return ()
    foreign = [name for name, suffixes in _FOREIGN.items() if counts.keys() & set(suffixes)]
    why = f"; EMLB does not read {' or '.join(foreign)}" if foreign else ""
    return (f"{describe_suffixes(counts)}{why}",)


def _reader_of(
    folder: Path, formats: Collection[str], files: frozenset[Path]
) -> Callable[[Path], bool]:
    endings = tuple(ending for format in formats for ending in _SUFFIXES.get(format, ()))
    # Unfinished output of emlb-run is reported as a problem of its own.
    endings += (".part",) if "documents" in formats else ()
    documents: set[Path] = set()
    if "anafora" in formats:
        endings += (".xml",)  # the reader counts those that it passes over
        for item in find_anafora(folder):
            documents |= {item.path / item.base, item.path / f"{item.base}.txt"}

    def is_read(path: Path) -> bool:
        name = path.name.lower()
        return (
            path in files
            or path in documents
            or name.endswith(endings)
            or (name in _READ_ELSEWHERE)
        )

    return is_read
