"""Mappings of other corpora's annotations to clinical schema 2, by name.

A recipe names one with ``mapping = "phee"`` in a ``[[corpus]]``, and ``emlb data convert
--mapping`` writes a mapped corpus to disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from emlb_runtime.errors import ConfigError
from emlb_runtime.records import Document

from .corpora import (
    map_ade,
    map_chemicals,
    map_chia,
    map_drugs,
    map_fda,
    map_maccrobat,
    map_phee,
)
from .draft import UNKNOWN
from .n2c2 import map_to_n2c2

MapDocument = Callable[[Document, Counter[str]], Document]
"""A mapping: the rewritten document; the counter receives what was left out, by reason."""

MAPPINGS: Mapping[str, MapDocument] = {
    "ade": map_ade,
    "chemicals": map_chemicals,
    "chia": map_chia,
    "drugtemist": map_drugs,
    "fda": map_fda,
    "maccrobat": map_maccrobat,
    "n2c2": map_to_n2c2,
    "phee": map_phee,
}
"""The mappings to clinical schema 2, and ``n2c2``, which leads from it to n2c2 2018's types."""

__all__ = ["MAPPINGS", "UNKNOWN", "MapDocument", "find_mapping", "map_documents"]


def find_mapping(name: str) -> MapDocument:
    """The mapping of a name.

    Raises:
        ConfigError: if there is none.
    """
    if name not in MAPPINGS:
        raise ConfigError(f"there is no mapping {name!r}; choose {', '.join(MAPPINGS)}")
    return MAPPINGS[name]


def map_documents(
    documents: Iterable[Document], name: str, dropped: Counter[str]
) -> list[Document]:
    """Rewrite documents by the mapping of a name; an empty name leaves them as they are.

    Args:
        documents: as their corpus annotates them.
        name: of the mapping.
        dropped: receives what is left out, by reason.

    Raises:
        ConfigError: if there is no such mapping.
    """
    if not name:
        return list(documents)
    rewrite = find_mapping(name)
    return [rewrite(document, dropped) for document in documents]
