"""EMLB's own measure as a protocol: what ``emlb evaluate`` shows without one."""

from __future__ import annotations

from emlb.evaluation.scoring.counts import Agreement, Counts, TypeScores
from emlb.evaluation.scoring.scores import score
from emlb_runtime.records import Document

from .base import Key, Row, Tally


class Standard:
    """Strict and lenient agreement per type, each gold item matched once at most.

    Micro pools all items; macro is the mean over the types that have gold or predictions.
    The rules are those of ``emlb.evaluation.scoring.scores``.
    """

    name = "standard"
    title = "strict and lenient agreement, one to one"

    def tally(self, gold: Document, predicted: Document) -> Tally:
        scores = score([gold], [predicted])
        tally: dict[Key, tuple[float, ...]] = {}
        sections: dict[str, Agreement] = {
            "entities": scores.entities,
            "relations": scores.relations,
        }
        for section, agreement in sections.items():
            for mode, by_type in (("strict", agreement.strict), ("lenient", agreement.lenient)):
                for type, counts in by_type.types.items():
                    tally[section, type, mode] = (counts.tp, counts.predicted, counts.gold)
        return tally

    def rows(self, total: Tally) -> list[Row]:
        rows = []
        for section in ("entities", "relations"):
            for mode in ("strict", "lenient"):
                by_type = TypeScores(
                    {
                        type: Counts(*map(round, total[section, type, mode]))
                        for type in sorted(t for s, t, m in total if (s, m) == (section, mode))
                    }
                )
                if by_type.types:
                    rows += self._section(section, mode, by_type)
        return rows

    def _section(self, section: str, mode: str, scores: TypeScores) -> list[Row]:
        rows = [
            Row(section, type, mode, _rates(counts), counts.gold, counts.predicted)
            for type, counts in scores.types.items()
        ]
        micro, macro = scores.micro, scores.macro
        rows.append(Row(section, "micro", mode, _rates(micro), micro.gold, micro.predicted))
        values = {"precision": macro.precision, "recall": macro.recall, "f1": macro.f1}
        return [*rows, Row(section, "macro", mode, values)]


def _rates(counts: Counts) -> dict[str, float]:
    return {"precision": counts.precision, "recall": counts.recall, "f1": counts.f1}
