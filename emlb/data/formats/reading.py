"""What every reader of annotated documents yields."""

from __future__ import annotations

from collections.abc import Iterator

from emlb_runtime.formats.report import Report
from emlb_runtime.records import Document

Reading = Iterator[tuple[Document | None, Report]]
"""Documents one by one, each with what could not be used of it.

None stands in place of a document of which nothing could be used; its report says why,
and counts it as ``documents_lost``. A report may also come with None at the end, for what
belongs to no document.
"""
