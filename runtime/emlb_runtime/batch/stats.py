"""What a run has counted so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from emlb_runtime.records import Document, ErrorRecord

_FAILURES_KEPT = 5


@dataclass(slots=True)
class RunStats:
    """What a run has done so far.

    Attributes:
        notes: notes extracted.
        entities: entities found in them.
        relations: relations found in them.
        told: relations of which the model tells whether they are facts.
        facts: those that are.
        warned: notes extracted with warnings in their status.
        failed: notes and inputs that have an error record instead.
        failures: the first few of these records; an earlier run's are not kept.
        before: notes that an earlier, unfinished run has extracted; all counts include them.
        saved: notes and error records that need not come again, should the run end now.
        seconds: how long extraction took, without loading the model.
    """

    notes: int = 0
    entities: int = 0
    relations: int = 0
    told: int = 0
    facts: int = 0
    warned: int = 0
    failed: int = 0
    failures: list[ErrorRecord] = field(default_factory=list)
    before: int = 0
    saved: int = 0
    seconds: float = 0.0

    @classmethod
    def resume(cls, counts: Sequence[int]) -> Self:
        """Count on from what ``counts`` gave in an earlier run; from zero if it is empty.

        Raises:
            ValueError: if these are not its numbers.
        """
        if not counts:
            return cls()
        notes, entities, relations, told, facts, warned, failed = counts
        return cls(notes, entities, relations, told, facts, warned, failed, before=notes)

    def counts(self) -> tuple[int, ...]:
        """The numbers, without names or sentences."""
        found = self.notes, self.entities, self.relations, self.told, self.facts
        return *found, self.warned, self.failed

    @property
    def done(self) -> int:
        """Notes and inputs dealt with."""
        return self.notes + self.failed

    def add(self, result: Document | ErrorRecord) -> None:
        """Count one result."""
        if isinstance(result, ErrorRecord):
            self.failed += 1
            if len(self.failures) < _FAILURES_KEPT:
                self.failures.append(result)
        else:
            self.notes += 1
            self.entities += len(result.entities)
            self.relations += len(result.relations)
            self.told += sum(relation.asserted is not None for relation in result.relations)
            self.facts += sum(relation.asserted is True for relation in result.relations)
            self.warned += bool(result.status and result.status.warnings)
