"""How Anafora lays out its folders: names only, nothing is opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.files.limits import FOLDERS

PREFERRED_SCHEMAS = ("Temporal-Relation", "Temporal-Entity")
"""The schemas that are read, before any other, where none is asked for."""


@dataclass(frozen=True, slots=True)
class AnnotationFile:
    """One XML file, by the parts of its name ``DOC.SCHEMA.ANNOTATOR.STATUS.xml``."""

    path: Path
    schema: str
    annotator: str
    is_completed: bool

    @property
    def preference(self) -> tuple[int, bool]:
        """Lower is better: the preferred schemas in order; within one, ``gold`` first."""
        rank = (*PREFERRED_SCHEMAS, self.schema).index(self.schema)
        return rank, self.annotator != "gold"


@dataclass(frozen=True, slots=True)
class AnaforaFolder:
    """The folder of one document.

    Attributes:
        name: its path under the folder that was searched, with ``/``.
        path: where it is.
        base: the document's own name, which its files begin with.
        files: its XML files, sorted by name, completed or not.
    """

    name: str
    path: Path
    base: str
    files: tuple[AnnotationFile, ...]


def find_folders(folder: Path, lost: list[tuple[Path, str]]) -> list[AnaforaFolder]:
    """The folders of documents, with or without XML, sorted by name.

    Args:
        folder: searched with its subfolders.
        lost: is given what cannot be looked into or belongs to no document, and why.
    """

    def refuse(error: OSError) -> None:
        lost.append((Path(error.filename), reasons.UNREADABLE))

    found = []
    for place, below, names in os.walk(folder, onerror=refuse):
        path = Path(place)
        if below and len(path.relative_to(folder).parts) >= FOLDERS:
            lost.append((path, reasons.DEEP_FOLDER))
            below.clear()
        is_top = path == folder
        base = path.resolve().name if is_top else path.name
        fitting = sorted(name for name in names if _fits(name, base))
        if fitting or base in names or f"{base}.txt" in names:
            name = base if is_top else path.relative_to(folder).as_posix()
            files = tuple(_describe(path / name, base) for name in fitting)
            found.append(AnaforaFolder(name, path, base, files))
        strays = (
            name for name in names if name.lower().endswith(".completed.xml") and name[0] != "."
        )
        lost.extend((path / name, reasons.MISPLACED) for name in strays if name not in fitting)
    lost.sort()
    return sorted(found, key=lambda item: item.name)


def _fits(name: str, base: str) -> bool:
    return (
        name.startswith(f"{base}.") and name.lower().endswith(".xml") and len(name) > len(base) + 5
    )


def _describe(path: Path, base: str) -> AnnotationFile:
    # Counted from behind: both the document's name and the schema may hold dots.
    *parts, status = path.name[len(base) + 1 : -len(".xml")].split(".")
    annotator = parts.pop() if len(parts) > 1 else ""
    is_completed = status.lower() == "completed" and "preannotation" not in (*parts, annotator)
    return AnnotationFile(path, ".".join(parts), annotator, is_completed and bool(parts))
