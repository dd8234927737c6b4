"""What a model can say: its tasks, their types, and the pairs their relations allow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emlb_runtime.errors import ConfigError

from .attributes import Attribute, columns
from .calibration import Calibration
from .labels import LabelScheme, WordSpan

Signature = tuple[str, str, str]
"""(relation type, head entity type, tail entity type)."""

SELECTIONS = ("threshold", "greedy")

_ANYWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Task:
    """One schema of entities and relations.

    N is the number of entity types, R that of relation types.

    Attributes:
        name: what outputs call it: letters, digits, hyphens and underscores.
        entity_types: in index order.
        relation_types: in index order.
        signatures: which head and tail types each relation may join.
        thresholds: per relation type, the score from which a pair is reported; 0.5 where
            none is given.
        reach: per relation type, how many words may lie between head and tail for a pair to be
            asked; a type without one reaches as far as a window.
        calibration: from the network's probabilities to scores; None takes them as they are.
        selection: ``threshold`` reports every relation above its threshold, ``greedy``
            at most the likeliest one for each pair of mentions.
        attributes: what is said of mentions.
        undecided: report every value's probability in place of the attributes' values, as
            fitting a calibration needs; not part of the description.

    Raises:
        ConfigError: if names repeat, or a signature, threshold or reach is of an unknown type
            or out of bounds.
    """

    name: str
    entity_types: tuple[str, ...]
    relation_types: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()
    thresholds: Mapping[str, float] | None = None
    reach: Mapping[str, int] | None = None
    calibration: Calibration | None = None
    selection: str = "threshold"
    attributes: tuple[Attribute, ...] = ()
    undecided: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", self.name):  # it names files and modules
            raise ConfigError(
                f"task name {self.name!r}: use up to 64 letters, digits, hyphens and underscores"
            )
        for what, names in (("entity", self.entity_types), ("relation", self.relation_types)):
            if len(set(names)) != len(names):
                raise ConfigError(f"task {self.name}: an {what} type is named twice")
        if not self.entity_types:
            raise ConfigError(f"task {self.name} has no entity type")
        for relation, head, tail in self.signatures:
            if relation not in self.relation_types or not {head, tail} <= set(self.entity_types):
                raise ConfigError(
                    f"task {self.name}: signature {relation}({head}, {tail}) names an unknown type"
                )
        for relation, value in (self.thresholds or {}).items():
            if relation not in self.relation_types or not 0.0 <= value <= 1.0:
                raise ConfigError(f"task {self.name}: no such threshold as {relation} = {value}")
        for relation, words in (self.reach or {}).items():
            if relation not in self.relation_types or words < 0:
                raise ConfigError(f"task {self.name}: no such reach as {relation} = {words}")
        if self.calibration is not None and (
            set(self.calibration.entity_offsets) != set(self.entity_types)
            or set(self.calibration.triple_offsets) != set(self.relation_types)
        ):
            raise ConfigError(f"task {self.name}: its calibration is of other types")
        self._check_attributes()
        if self.selection not in SELECTIONS:
            raise ConfigError(
                f"task {self.name}: selection is {self.selection!r}, not one of {SELECTIONS}"
            )

    def _check_attributes(self) -> None:
        names = [attribute.name for attribute in self.attributes]
        if len({*names, *self.entity_types, *self.relation_types}) < (
            len(names) + len({*self.entity_types, *self.relation_types})
        ):
            raise ConfigError(f"task {self.name}: two attributes, or one and a type, have one name")
        for attribute in self.attributes:
            if unknown := set(attribute.entity_types) - set(self.entity_types):
                raise ConfigError(
                    f"task {self.name}: attribute {attribute.name} is of {min(unknown)}, which "
                    "the task lacks"
                )
        values = {attribute.name: set(attribute.values) for attribute in self.attributes}
        scalings = self.calibration.attributes if self.calibration else {}
        if any(values.get(name) != set(s.offsets) for name, s in scalings.items()):
            raise ConfigError(f"task {self.name}: its calibration is of other attributes")

    @cached_property
    def scheme(self) -> LabelScheme:
        """The task's BIO labels."""
        return LabelScheme(self.entity_types)

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """(R, N, N): whether a relation may join a head type to a tail type."""
        n = len(self.entity_types)
        allowed = np.zeros((len(self.relation_types), n, n), dtype=bool)
        for relation, head, tail in self.signatures:
            allowed[
                self.relation_types.index(relation),
                self.entity_types.index(head),
                self.entity_types.index(tail),
            ] = True
        return allowed

    @cached_property
    def farthest(self) -> NDArray[np.int64]:
        """(N, N): words that may lie between a head type and a tail type for any relation to be
        asked; -1 where none may join them.
        """
        reach = [(self.reach or {}).get(relation, _ANYWHERE) for relation in self.relation_types]
        limits = np.array(reach, dtype=np.int64)[:, None, None]
        farthest: NDArray[np.int64] = np.where(self.allowed, limits, -1).max(axis=0, initial=-1)
        return farthest

    @cached_property
    def attribute_columns(self) -> dict[str, slice]:
        """Where each attribute's values lie among the V scores of a mention."""
        return columns(self.attributes)

    @property
    def n_attribute_values(self) -> int:
        """V, the values of all attributes together."""
        return sum(len(attribute.values) for attribute in self.attributes)

    @cached_property
    def cutoffs(self) -> NDArray[np.float64]:
        """(R,) the threshold of each relation type."""
        given = self.thresholds or {}
        return np.array([given.get(relation, 0.5) for relation in self.relation_types])

    def to_json(self) -> dict[str, Any]:
        """The task as JSON-ready values."""
        return {
            "name": self.name,
            "entity_types": list(self.entity_types),
            "relation_types": list(self.relation_types),
            "signatures": [list(signature) for signature in self.signatures],
            "thresholds": dict(self.thresholds or {}),
            "reach": dict(self.reach or {}),
            "calibration": self.calibration.to_json() if self.calibration else None,
            "selection": self.selection,
            **(
                {"attributes": [attribute.to_json() for attribute in self.attributes]}
                if self.attributes
                else {}
            ),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Task:
        """The inverse of ``to_json``.

        Raises:
            ConfigError: if a value is missing or of the wrong kind.
        """
        try:
            calibration = values.get("calibration")
            return cls(
                name=str(values["name"]),
                entity_types=tuple(map(str, values["entity_types"])),
                relation_types=tuple(map(str, values["relation_types"])),
                signatures=tuple((str(r), str(h), str(t)) for r, h, t in values["signatures"]),
                thresholds={str(k): float(v) for k, v in values["thresholds"].items()},
                reach={str(k): int(v) for k, v in values.get("reach", {}).items()},
                calibration=None if calibration is None else Calibration.from_json(calibration),
                selection=str(values["selection"]),
                attributes=tuple(map(Attribute.from_json, values.get("attributes", []))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"a task's description is incomplete or malformed: {error}") from None


def words_between(one: ArrayLike, other: ArrayLike) -> NDArray[np.int64]:
    """How many words lie between two mentions, which a reach bounds; none if they overlap.

    Args:
        one: (…, 2 or more) first word and one past the last.
        other: the same, on the same word axis; shapes are broadcast.
    """
    first, second = np.asarray(one, dtype=np.int64), np.asarray(other, dtype=np.int64)
    start = np.maximum(first[..., 0], second[..., 0])
    end = np.minimum(first[..., 1], second[..., 1])
    between: NDArray[np.int64] = np.maximum(start - end, 0)
    return between


def enumerate_pairs(
    task: Task, mentions: Sequence[WordSpan] | NDArray[np.int64]
) -> NDArray[np.int64]:
    """Every ordered pair of distinct mentions that some relation of the task may join.

    Args:
        task: the task.
        mentions: (S, 3) first word, one past the last, and type index of each mention, on any
            word axis.

    Returns:
        (P, 2) indices of head and tail mention, in row order.
    """
    if len(mentions) < 2 or not task.relation_types:
        return np.zeros((0, 2), dtype=np.int64)
    spans = np.asarray(mentions, dtype=np.int64)
    types = spans[:, 2]
    joinable = words_between(spans[:, None], spans) <= task.farthest[types[:, None], types]
    np.fill_diagonal(joinable, False)
    return np.argwhere(joinable)


def select(task: Task, scores: NDArray[np.floating]) -> list[tuple[int, int]]:
    """The relations to report among scored pairs.

    Args:
        task: gives thresholds and the selection.
        scores: (P, R), zero where the signature forbids the relation.

    Returns:
        (pair, relation type) indices, by pair.
    """
    chosen = scores >= task.cutoffs
    chosen &= scores > 0.0
    if task.selection == "greedy":
        margin = np.where(chosen, scores, -1.0)
        keep = np.zeros_like(chosen)
        rows = np.flatnonzero(chosen.any(axis=1))
        keep[rows, margin[rows].argmax(axis=1)] = True
        chosen = keep
    return [(int(pair), int(relation)) for pair, relation in np.argwhere(chosen)]
