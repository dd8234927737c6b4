"""Weights of a trained model for one with other labels: rows are matched by the names of types.

Entity types may be added, left out or put in another order, and relation types, attributes and
their values too. What the trained model knows keeps its weights; the rows of new types stay as
they were initialised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.task import Task

_AXES: dict[str, tuple[str, ...]] = {
    "emission.weight": ("labels",),
    "emission.bias": ("labels",),
    "crf.start_transitions": ("labels",),
    "crf.end_transitions": ("labels",),
    "crf.transitions": ("labels", "labels"),
    "relation.piece_type.weight": ("entities",),
    "relation.span_type.weight": ("entities",),
    "relation.output.weight": ("relations",),
    "relation.output.bias": ("relations",),
    "attribute.piece_type.weight": ("entities",),
    "attribute.span_type.weight": ("entities",),
    "attribute.output.weight": ("values",),
    "attribute.output.bias": ("values",),
}
"""By the name of a task's parameter, what the first of its axes count."""


class Axis(NamedTuple):
    """What two heads share along an axis of a parameter."""

    own: Tensor
    """Rows of the run's head that the trained one has too."""
    other: Tensor
    """The rows of the same names in the trained head."""
    size: int
    """Rows of the trained head."""


@dataclass(frozen=True)
class Match:
    """What a task shares with the one whose weights it takes.

    Attributes:
        task: the run's task.
        partner: the trained model's; None if it has none that fits, so that all is new.
    """

    task: Task
    partner: Task | None

    @property
    def known(self) -> tuple[str, ...]:
        """Types that both have."""
        return tuple(type for type in _types(self.task) if type in _types(self.partner))

    @property
    def new(self) -> tuple[str, ...]:
        """Types that only the run's task has."""
        return tuple(type for type in _types(self.task) if type not in _types(self.partner))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Types that only the trained model's task has."""
        return tuple(type for type in _types(self.partner) if type not in _types(self.task))

    def axis(self, kind: str) -> Axis:
        """What both have along an axis of that kind; see ``_AXES``."""
        own = _names(self.task, kind)
        other = () if self.partner is None else _names(self.partner, kind)
        shared = [name for name in own if name in other]
        return Axis(
            torch.tensor([own.index(name) for name in shared], dtype=torch.long),
            torch.tensor([other.index(name) for name in shared], dtype=torch.long),
            max(1, len(other)),  # a head without relations has one row
        )

    def other_name(self, part: str) -> str:
        """The name of a part of the head in the trained model; empty without a partner."""
        return "" if self.partner is None else f"heads.{self.partner.name}.{part}"

    def describe(self) -> str:
        """One line for the user."""
        parts = [f"task {self.task.name}: {len(self.known)} known types"]
        if self.new:
            parts.append(f"new: {', '.join(self.new)}")
        if self.left_out:
            parts.append(f"left out: {', '.join(self.left_out)}")
        return "; ".join(parts)


def match_tasks(tasks: Sequence[Task], trained: Sequence[Task]) -> list[Match]:
    """The partner of each task: the one of its name, else the trained model's only one."""
    by_name = {task.name: task for task in trained}
    only = trained[0] if len(trained) == 1 else None
    return [Match(task, by_name.get(task.name, only)) for task in tasks]


def extend_task(match: Match) -> Task:
    """The run's task with what its partner knows of the types that both have.

    A few notes do not show every pair of types that a relation may join. Signatures of the
    partner stay allowed. Its reach counts where the notes are too few to state one: the larger
    of two, or the partner's where the notes have no such relation.
    """
    task, partner = match.task, match.partner
    if partner is None:
        return task
    seen = {relation for relation, _, _ in task.signatures}
    kept = {
        signature
        for signature in partner.signatures
        if signature[0] in task.relation_types and {*signature[1:]} <= {*task.entity_types}
    }
    reach = dict(task.reach or {})
    for relation, words in (partner.reach or {}).items():
        if relation in reach:
            reach[relation] = max(reach[relation], words)
        elif relation in task.relation_types and relation not in seen:
            reach[relation] = words
    return replace(task, signatures=tuple(sorted({*task.signatures} | kept)), reach=reach)


def transfer(
    own: Mapping[str, Tensor],
    trained: Mapping[str, Tensor],
    matches: Sequence[Match],
    *,
    source: str,
) -> dict[str, Tensor]:
    """The state of a model that begins with a trained one's weights.

    Args:
        own: the freshly initialised model's ``state_dict``.
        trained: the trained model's.
        matches: of the run's tasks.
        source: what the trained model is, for messages.

    Returns:
        New tensors under the names of ``own``.

    Raises:
        ConfigError: if the encoder, or a size of the heads, is another.
    """
    state: dict[str, Tensor] = {}
    for name, weight in own.items():
        match, part = _head_of(name, matches)
        found = trained.get(name if match is None else match.other_name(part))
        if found is None and match is None:
            raise ConfigError(f"start {source}: it has no {name}, so its encoder is another")
        if found is None:  # of a head that the trained model does not have
            state[name] = weight.clone()
            continue
        axes = [] if match is None else [match.axis(kind) for kind in _AXES.get(part, ())]
        expected = (*(axis.size for axis in axes), *weight.shape[len(axes) :])
        if found.shape != expected:
            raise ConfigError(
                f"start {source}: its {name} has the shape {tuple(found.shape)}, not {expected}"
            )
        state[name] = _fill(weight, found, axes) if axes else found.to(weight.dtype, copy=True)
    return state


def _head_of(name: str, matches: Sequence[Match]) -> tuple[Match | None, str]:
    """The task whose head has a parameter, and its name there; None for the encoder's."""
    for match in matches:
        if name.startswith(prefix := f"heads.{match.task.name}."):
            return match, name.removeprefix(prefix)
    return None, name


def _fill(weight: Tensor, found: Tensor, axes: Sequence[Axis]) -> Tensor:
    """A copy of ``weight`` with the rows, along its first axes, that ``found`` has too."""
    filled = weight.clone()
    own = torch.meshgrid(*(axis.own for axis in axes), indexing="ij")
    other = torch.meshgrid(*(axis.other for axis in axes), indexing="ij")
    filled[own] = found[other].to(weight.dtype)
    return filled


def _types(task: Task | None) -> tuple[str, ...]:
    if task is None:
        return ()
    attributes = (attribute.name for attribute in task.attributes)
    return (*task.entity_types, *task.relation_types, *attributes)


def _names(task: Task, axis: str) -> tuple[str, ...]:
    if axis == "labels":
        return task.scheme.names
    if axis == "values":
        return tuple(f"{a.name}={value}" for a in task.attributes for value in a.values)
    return task.entity_types if axis == "entities" else task.relation_types
