"""What a corpus annotates: in full, in part, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from emlb_runtime.errors import ConfigError
from emlb_runtime.schema import Task


@dataclass(frozen=True)
class Coverage:
    """How far a corpus annotates the types of a task.

    A word or pair left unlabelled is a negative example for types annotated in full, and
    unknown for all others.

    Attributes:
        full: entity and relation types whose every occurrence is annotated.
        part: types of which some occurrences are annotated.
    """

    full: frozenset[str]
    part: frozenset[str] = frozenset()

    @classmethod
    def of(cls, task: Task, full: tuple[str, ...], part: tuple[str, ...]) -> Coverage:
        """The coverage a configuration states; nothing stated means all types in full.

        Raises:
            ConfigError: if a type is unknown to the task or stated twice.
        """
        types = {*task.entity_types, *task.relation_types}
        for stated in (*full, *part):
            if stated not in types:
                raise ConfigError(
                    f"a corpus states coverage of {stated!r}, which task {task.name} lacks; "
                    f"it has {', '.join(sorted(types))}"
                )
        if twice := set(full) & set(part):
            raise ConfigError(f"annotated both in full and in part: {', '.join(sorted(twice))}")
        if not full and not part:
            return cls(frozenset(types))
        return cls(frozenset(full), frozenset(part))

    @property
    def annotated(self) -> frozenset[str]:
        """Types that the corpus can be scored on."""
        return self.full | self.part
