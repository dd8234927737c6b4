"""Reading and writing notes and their annotations: brat, JSON lines, plain text."""

from __future__ import annotations

from emlb_runtime.records import document_to_json, triple_to_json

from .brat import format_brat, parse_brat, read_brat, read_brat_folder, scan_brat_folder
from .jsonl import document_from_json, read_documents, read_mixture
from .report import Problem, Report
from .writers import FORMATS, Writer, brat_stem, open_writer

__all__ = [
    "FORMATS",
    "Problem",
    "Report",
    "Writer",
    "brat_stem",
    "document_from_json",
    "document_to_json",
    "format_brat",
    "open_writer",
    "parse_brat",
    "read_brat",
    "read_brat_folder",
    "read_documents",
    "read_mixture",
    "scan_brat_folder",
    "triple_to_json",
]
