"""What is said of a mention: attributes, their values, and the decision between these.

A mention has one value of each attribute of its type. The values' probabilities are a softmax
over the network's scores, each scaled and shifted by the task's calibration if it has one
(vector scaling with one slope: Guo et al. 2017, "On Calibration of Modern Neural Networks"). Of
the values that differ from the default, the most probable one is stated if it reaches the
attribute's threshold, which is chosen for F1 as those of relations are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.errors import ConfigError

from .calibration import AttributeScaling

_NAME = re.compile(r"[^\s=:]{1,64}")
_TINY = 1e-30


@dataclass(frozen=True)
class Attribute:
    """A property that mentions of some types have.

    Attributes:
        name: what outputs call it; no white space, ``=`` or ``:``.
        values: in index order, the default among them.
        default: the value that outputs leave out.
        entity_types: the types that have it; empty for all of the task.
        nonfactual: values under which what is said of the mention is no fact: a relation of such
            a mention is not asserted.

    Raises:
        ConfigError: if a name is malformed, or a value repeated or unknown.
    """

    name: str
    values: tuple[str, ...]
    default: str
    entity_types: tuple[str, ...] = ()
    nonfactual: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in (self.name, *self.values):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"attribute {self.name!r}: {name!r} is not a name of up to 64 characters "
                    "without white space, = and :"
                )
        if len(self.values) < 2 or len(set(self.values)) != len(self.values):
            raise ConfigError(f"attribute {self.name}: give at least two values, each once")
        for value in (self.default, *self.nonfactual):
            if value not in self.values:
                raise ConfigError(
                    f"attribute {self.name}: {value!r} is not one of its values, "
                    f"{', '.join(self.values)}"
                )

    def applies_to(self, entity_type: str) -> bool:
        """Whether mentions of a type have it."""
        return not self.entity_types or entity_type in self.entity_types

    @cached_property
    def marked(self) -> tuple[str, ...]:
        """The values that outputs show: all but the default."""
        return tuple(value for value in self.values if value != self.default)

    def to_json(self) -> dict[str, Any]:
        """The attribute as JSON-ready values."""
        return {
            "name": self.name,
            "values": list(self.values),
            "default": self.default,
            "entity_types": list(self.entity_types),
            "nonfactual": list(self.nonfactual),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Attribute:
        """The inverse of ``to_json``.

        Raises:
            ConfigError: if a member is missing, unknown or of the wrong kind.
        """
        if set(values) != {"name", "values", "default", "entity_types", "nonfactual"}:
            raise ConfigError("an attribute's description has missing or unknown members")
        names = values["name"], values["default"]
        lists = [values[key] for key in ("values", "entity_types", "nonfactual")]
        if not all(isinstance(name, str) for name in names):
            raise ConfigError("an attribute has a name that is not a text")
        for items in lists:
            if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
                raise ConfigError(f"attribute {names[0]}: a list of names is malformed")
        stated, types, nonfactual = map(tuple, lists)
        return cls(names[0], stated, names[1], types, nonfactual)


class Stated(NamedTuple):
    """What a mention's attributes are.

    ``values`` holds those that differ from the default, ``scores`` the probability of each.
    """

    values: dict[str, str]
    scores: dict[str, float]


def columns(attributes: Sequence[Attribute]) -> dict[str, slice]:
    """Where each attribute's values lie among the V scores of a mention."""
    found: dict[str, slice] = {}
    first = 0
    for attribute in attributes:
        found[attribute.name] = slice(first, first + len(attribute.values))
        first += len(attribute.values)
    return found


def probabilities(
    attributes: Sequence[Attribute],
    scores: NDArray[np.floating],
    scalings: Mapping[str, AttributeScaling] | None = None,
) -> NDArray[np.float64]:
    """Probabilities (S, V) of the values: those of an attribute add up to one.

    Args:
        attributes: of the task.
        scores: (S, V) logits, or logarithms of probabilities.
        scalings: the calibration, by attribute; one without is taken as it is.
    """
    result = np.array(scores, dtype=np.float64)
    for attribute in attributes:
        own = columns(attributes)[attribute.name]
        scaling = (scalings or {}).get(attribute.name)
        if scaling is not None:
            offsets = np.array([scaling.offsets[value] for value in attribute.values])
            result[:, own] = scaling.slope * result[:, own] + offsets
        result[:, own] -= result[:, own].max(axis=1, keepdims=True)
        result[:, own] = np.exp(result[:, own])
        result[:, own] /= result[:, own].sum(axis=1, keepdims=True)
    return result


def decide(
    attributes: Sequence[Attribute],
    types: Sequence[str],
    scores: NDArray[np.floating],
    scalings: Mapping[str, AttributeScaling] | None = None,
) -> list[Stated]:
    """The attributes of mentions: of each the value to state, if any.

    Args:
        attributes: of the task.
        types: (S,) entity types.
        scores: as for ``probabilities``.
        scalings: as for ``probabilities``.
    """
    stated = [Stated({}, {}) for _ in types]
    found = probabilities(attributes, scores, scalings)
    for attribute in attributes:
        own, best = likeliest(attribute, found[:, columns(attributes)[attribute.name]])
        scaling = (scalings or {}).get(attribute.name)
        for row in np.flatnonzero(own >= (scaling.threshold if scaling else 0.5)).tolist():
            if attribute.applies_to(types[row]):
                stated[row].values[attribute.name] = attribute.values[best[row]]
                stated[row].scores[attribute.name] = float(own[row])
    return stated


def likeliest(
    attribute: Attribute, found: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The most probable value other than the default: its probability (S,) and its index (S,).

    Args:
        attribute: whose values they are.
        found: (S, values) probabilities.
    """
    others = np.array(found)
    others[:, attribute.values.index(attribute.default)] = -1.0
    best: NDArray[np.int64] = others.argmax(axis=1)
    return found[np.arange(len(found)), best], best


def spread(
    attributes: Sequence[Attribute], types: Sequence[str], scores: NDArray[np.floating]
) -> list[Stated]:
    """The probability of every value, under ``NAME=VALUE``, with nothing decided.

    Calibration is fitted to these; ``gather`` is the way back.
    """
    found = probabilities(attributes, scores)
    stated = []
    for type, row in zip(types, found, strict=True):
        shown: dict[str, float] = {}
        for attribute in attributes:
            if attribute.applies_to(type):
                own = row[columns(attributes)[attribute.name]].tolist()
                names = (f"{attribute.name}={value}" for value in attribute.values)
                shown |= dict(zip(names, own, strict=True))
        stated.append(Stated({}, shown))
    return stated


def gather(
    attributes: Sequence[Attribute], scores: Sequence[Mapping[str, float]]
) -> NDArray[np.float64]:
    """(S, V) logarithms of the probabilities that ``spread`` gave; zero where it gave none."""
    names = [f"{attribute.name}={value}" for attribute in attributes for value in attribute.values]
    rows = [[shown.get(name, 1.0) for name in names] for shown in scores]
    values = np.array(rows, dtype=np.float64).reshape(-1, len(names))
    logarithms: NDArray[np.float64] = np.log(np.maximum(values, _TINY))
    return logarithms


def are_facts(attributes: Sequence[Attribute], *mentions: Mapping[str, str]) -> bool | None:
    """Whether what is said of some mentions together is a fact.

    Args:
        attributes: of the task.
        *mentions: what differs from the default, per mention.

    Returns:
        None if the task has no attribute that tells.
    """
    telling = [attribute for attribute in attributes if attribute.nonfactual]
    if not telling:
        return None
    return not any(
        mention.get(attribute.name, attribute.default) in attribute.nonfactual
        for attribute in telling
        for mention in mentions
    )
