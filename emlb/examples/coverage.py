"""What a corpus annotates: in full, in part, or not at all."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.attributes import Attribute
from emlb_runtime.schema.task import Task

_STATED = re.compile(r"(?P<name>[^\s=:]+)(?::(?P<type>[^\s=]+))?(?:=(?P<value>[^\s=:]+))?")


@dataclass(frozen=True)
class Coverage:
    """How far a corpus annotates the types and attributes of a task.

    A word or pair left unlabelled is a negative example for types annotated in full, and
    unknown for all others. A mention left unmarked has none of the values of an attribute that
    are annotated in full; if only some of them are, it may have any of the others.

    Attributes:
        full: entity and relation types whose every occurrence is annotated.
        part: types of which some occurrences are annotated.
        attributes: per attribute and entity type, the values that are marked wherever they
            occur; none of them if what is marked is right, but not all is marked. A pair that is
            missing is not annotated.
    """

    full: frozenset[str]
    part: frozenset[str] = frozenset()
    attributes: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, task: Task, full: tuple[str, ...], part: tuple[str, ...]) -> Coverage:
        """The coverage a configuration states; nothing stated means all in full.

        Args:
            task: whose types and attributes they are.
            full: entity types, relation types, and attributes as ``NAME``, of one entity type
                only as ``NAME:TYPE``, with one value only as ``NAME=VALUE`` or
                ``NAME:TYPE=VALUE``.
            part: the same; a value has no place here.

        Raises:
            ConfigError: if something stated is unknown to the task or stated twice.
        """
        types = {*task.entity_types, *task.relation_types}
        everything = tuple(attribute.name for attribute in task.attributes)
        if twice := set(full) & set(part):
            raise ConfigError(f"annotated both in full and in part: {', '.join(sorted(twice))}")
        if not full and not part:
            return cls(frozenset(types), attributes=_attributes(task, everything, ()))
        attributes = _attributes(
            task, [s for s in full if s not in types], [s for s in part if s not in types]
        )
        return cls(
            frozenset(types.intersection(full)), frozenset(types.intersection(part)), attributes
        )

    @property
    def annotated(self) -> frozenset[str]:
        """Types that the corpus can be scored on."""
        return self.full | self.part

    @property
    def marked(self) -> frozenset[tuple[str, str, str]]:
        """Attribute, entity type and value, of those that are marked wherever they occur."""
        return frozenset(
            (name, type, value)
            for (name, type), values in self.attributes.items()
            for value in values
        )


def _attributes(
    task: Task, full: Sequence[str], part: Sequence[str]
) -> dict[tuple[str, str], frozenset[str]]:
    found: dict[tuple[str, str], frozenset[str]] = {}
    for stated, in_full in (*((s, True) for s in full), *((s, False) for s in part)):
        attribute, types, values = _parse(task, stated)
        if not in_full and "=" in stated:
            raise ConfigError(
                f"a corpus states {stated!r} in part: name the attribute alone there; only values "
                "that are marked wherever they occur are named one by one, in full"
            )
        for type in types:
            known = found.get((attribute.name, type), frozenset())
            found[attribute.name, type] = known | (values if in_full else frozenset())
    return found


def _parse(task: Task, stated: str) -> tuple[Attribute, list[str], frozenset[str]]:
    """The attribute, the entity types and the values that are meant."""
    by_name = {attribute.name: attribute for attribute in task.attributes}
    match = _STATED.fullmatch(stated)
    attribute = by_name.get(match["name"]) if match else None
    if match is None or attribute is None:
        known = sorted({*task.entity_types, *task.relation_types, *by_name})
        raise ConfigError(
            f"a corpus states coverage of {stated!r}, which task {task.name} lacks; "
            f"it has {', '.join(known)}"
        )
    types = [type for type in task.entity_types if attribute.applies_to(type)]
    if match["type"] is not None:
        if match["type"] not in types:
            raise ConfigError(
                f"a corpus states coverage of {stated!r}, but attribute {attribute.name} is of "
                f"{', '.join(types)}"
            )
        types = [match["type"]]
    if match["value"] is not None and match["value"] not in attribute.marked:
        raise ConfigError(
            f"a corpus states coverage of {stated!r}, but what is marked of attribute "
            f"{attribute.name} is {', '.join(attribute.marked)}"
        )
    values = attribute.marked if match["value"] is None else (match["value"],)
    return attribute, types, frozenset(values)
