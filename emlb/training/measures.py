"""The measures that Algorithm 1 reports each epoch: precision, recall, F1 and mDice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emlb.evaluation.pipeline_scores import ScoredCorpus
from emlb.evaluation.protocol_scores import restrict
from emlb.evaluation.protocols import add
from emlb.evaluation.protocols.base import Key
from emlb.evaluation.protocols.paper import Paper
from emlb.evaluation.scoring.text_table import align
from emlb_runtime.records import Document

from .config import Learned

Measures = dict[str, dict[str, float]]
"""Per section, ``entities``, ``relations`` and ``attributes``, its measures by name; fractions of
one."""

_ROWS: Mapping[str, tuple[Key, ...]] = {
    "entities": (("entities", "micro", "strict"), ("entities", "macro", "characters")),
    "relations": (("relations", "micro", "strict"),),
}
_COLUMNS = {"precision": "P", "recall": "R", "f1": "F1", "mdice": "mDice"}
_SINGULAR = {"entities": "entity", "relations": "relation", "attributes": "attribute"}


def measure(
    corpus: ScoredCorpus, predicted: Sequence[Document], learned: Learned = "both"
) -> Measures:
    """The protocol ``paper`` on the types that a corpus annotates.

    Args:
        corpus: with the gold documents.
        predicted: of the same notes, in the same order.
        learned: what is measured; relations alone are those between annotated mentions.
    """
    protocol = Paper()
    total = add(
        protocol.tally(restrict(gold, corpus.types), restrict(found, corpus.types))
        for gold, found in zip(corpus.documents, predicted, strict=True)
    )
    values = {row.key: row.values for row in protocol.rows(total)}
    sections = _ROWS if learned == "both" else (learned,)
    return {
        section: {name: v for key in _ROWS[section] for name, v in values[key].items()}
        for section in sections
        if section == "entities" or any(document.relations for document in corpus.documents)
    }


def logged(measures: Mapping[str, Measures]) -> dict[str, float]:
    """All of them under names such as ``ade_entity_precision``."""
    return {
        f"{corpus}_{_SINGULAR[section]}_{name}": value
        for corpus, sections in measures.items()
        for section, values in sections.items()
        for name, value in values.items()
    }


def render(measures: Mapping[str, Measures], score: float) -> str:
    """A line per corpus, in percent, under the score of the model as a whole.

    A corpus without annotated relations has none to measure.
    """
    columns = [
        (section, name)
        for section in (*_ROWS, "attributes")
        for name in _COLUMNS
        if any(name in sections.get(section, {}) for sections in measures.values())
    ]
    heading = [
        f"{section} {_COLUMNS[name]}" if name == "precision" else _COLUMNS[name]
        for section, name in columns
    ]
    rows = [[f"score {100 * score:.1f}", *heading]]
    for corpus, sections in measures.items():
        values = [sections.get(section, {}).get(name) for section, name in columns]
        rows.append([corpus, *("–" if v is None else f"{100 * v:.1f}" for v in values)])
    return "\n".join(align(rows))
