"""n2c2 2018 track 2 (adverse drug events and medication extraction): brat with its own types.

The corpus comes as brat pairs: ``NAME.txt`` with ``NAME.ann``, in a folder each for
training and test. Any subfolders are read; names keep them (``training_20180910/100035``).
Its nine entity types and eight relations to a drug are checked; the rest is brat.

Source: Henry et al. 2020, J. Am. Med. Inform. Assoc. 27(1):3-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from emlb_runtime.formats import report as reasons
from emlb_runtime.formats.brat import find_brat_pairs, scan_brat_folder
from emlb_runtime.formats.files.limits import ANNOTATION_FILE, read_file
from emlb_runtime.formats.report import Problem, Report, shown_id
from emlb_runtime.records import Document

DRUG = "Drug"

ENTITY_TYPES = (
    "ADE",
    "Dosage",
    DRUG,
    "Duration",
    "Form",
    "Frequency",
    "Reason",
    "Route",
    "Strength",
)
"""The nine entity types."""

RELATION_TYPES = tuple(f"{type}-{DRUG}" for type in ENTITY_TYPES if type != DRUG)
"""The eight relation types, each from the entity it is named after to a drug."""


def scan_n2c2(
    folder: Path, *, texts: Path | None = None
) -> Iterator[tuple[Document | None, Report]]:
    """Read the corpus as released; types it does not define are kept, with a remark.

    Args:
        folder: searched with its subfolders.
        texts: folder of the notes, where they do not lie beside their annotations.

    Raises:
        DataError: if there is no brat file.
    """
    pairs, _ = find_brat_pairs(folder, texts=texts)
    for document, report in scan_brat_folder(folder, texts=texts):
        if document is not None and (odd := _odd_types(document)):
            _, file = pairs[document.note.name]
            lines = _line_numbers(file)
            remarks = tuple(
                Problem(str(file), lines.get(id, 0), shown_id(id), reason) for id, reason in odd
            )
            report = replace(report, remarks=report.remarks + remarks)
        yield document, report


def _odd_types(document: Document) -> list[tuple[str, str]]:
    """Ids and reasons of the mentions and relations whose types the task does not define.

    A relation has no id of its own in the records, so its head's stands for it.
    """
    found = [(e.id, reasons.UNKNOWN_TYPE) for e in document.entities if e.type not in ENTITY_TYPES]
    for triple in document.triples():
        type = triple.relation.type
        if type not in RELATION_TYPES:
            found.append((triple.head.id, reasons.UNKNOWN_TYPE))
        elif f"{triple.head.type}-{triple.tail.type}" != type:
            found.append((triple.head.id, reasons.UNKNOWN_SIGNATURE))
    return found


def _line_numbers(annotations: Path) -> dict[str, int]:
    lines = read_file(annotations, ANNOTATION_FILE).split(b"\n")
    return {
        line.partition(b"\t")[0].decode("utf-8", "replace"): number
        for number, line in enumerate(lines, start=1)
    }
