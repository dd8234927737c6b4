"""From the network's probabilities to the share that is right.

A CRF's marginal and a sigmoid say how sure the network is, which is surer than it is right. A
logistic regression on their log-odds (Platt 1999, Probabilistic Outputs for Support Vector
Machines), fitted on development data, makes scores of them: of what is scored 0.8, eight in
ten are right. With o = log(p / (1 - p)) and the logistic function σ,

* an entity of type e scores σ(a·o + b_e);
* a triple of relation type r scores σ(u·o_head + v·o_relation + w·o_tail + c_r), for it can
  be right only if both its mentions are;
* the values of an attribute score softmax(a·z + b) of their log-probabilities z: how likely each
  is, given that the mention is right.

No slope is negative, so that a surer network never scores lower. Relations below ``FLOOR`` are
not what a calibration is fitted to: their triples score 0, however sure the mentions are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emlb_runtime.errors import ConfigError

NEAREST = 1e-4
"""Probabilities count as no nearer to 0 or 1 than this."""

FLOOR = 0.005
"""Relations below this probability are candidates for nothing."""

MAX_PARAMETER = 100.0
MIN_ENTITY_SLOPE = 0.01


@dataclass(frozen=True)
class AttributeScaling:
    """The parameters for the values of one attribute.

    Attributes:
        slope: a, of all values.
        offsets: b, per value.
        threshold: the probability from which a value other than the default is stated.

    Raises:
        ConfigError: if a parameter is not a number of sensible size, the slope not positive, or
            the threshold no probability.
    """

    slope: float
    offsets: Mapping[str, float]
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not MIN_ENTITY_SLOPE <= self.slope <= MAX_PARAMETER:
            raise ConfigError(
                f"calibration: an attribute's slope lies between {MIN_ENTITY_SLOPE} and "
                f"{MAX_PARAMETER:.0f}"
            )
        if not all(abs(value) <= MAX_PARAMETER for value in self.offsets.values()):
            raise ConfigError(f"calibration: offsets lie within {MAX_PARAMETER:.0f} of 0")
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError("calibration: an attribute's threshold lies above 0, at most at 1")

    def to_json(self) -> dict[str, Any]:
        """The parameters as JSON-ready values."""
        return {
            "slope": self.slope,
            "offsets": dict(self.offsets),
            "threshold": self.threshold,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AttributeScaling:
        """The inverse of ``to_json``; raises KeyError, TypeError or ValueError if malformed."""
        offsets = {str(k): float(v) for k, v in values["offsets"].items()}
        return cls(float(values["slope"]), offsets, float(values["threshold"]))


@dataclass(frozen=True)
class Calibration:
    """The parameters for one task.

    Attributes:
        entity_slope: a, of every entity type.
        entity_offsets: b, per entity type.
        triple_slopes: u, v and w: of the head mention, the relation and the tail mention.
        triple_offsets: c, per relation type.
        attributes: per attribute; one without is taken as the network gives it.

    Raises:
        ConfigError: if a parameter is not a number of sensible size, or a slope negative.
    """

    entity_slope: float
    entity_offsets: Mapping[str, float]
    triple_slopes: tuple[float, float, float]
    triple_offsets: Mapping[str, float]
    attributes: Mapping[str, AttributeScaling] = field(default_factory=dict)

    def __post_init__(self) -> None:
        slopes = (self.entity_slope, *self.triple_slopes)
        offsets = (*self.entity_offsets.values(), *self.triple_offsets.values())
        if len(slopes) != 4 or not all(0.0 <= value <= MAX_PARAMETER for value in slopes):
            raise ConfigError(f"calibration: slopes lie between 0 and {MAX_PARAMETER:.0f}")
        if self.entity_slope < MIN_ENTITY_SLOPE:
            raise ConfigError(f"calibration: the entities' slope is below {MIN_ENTITY_SLOPE}")
        if not all(abs(value) <= MAX_PARAMETER for value in offsets):
            raise ConfigError(f"calibration: offsets lie within {MAX_PARAMETER:.0f} of 0")

    def entity_score(self, type: str, probability: float) -> float:
        """How likely an entity of a type is right, given the network's probability."""
        return float(self.entity_scores([type], [probability])[0])

    def entity_scores(self, types: Sequence[str], probabilities: ArrayLike) -> NDArray[np.float64]:
        """How likely entities are right, given their types and the network's probabilities."""
        offsets = np.array([self.entity_offsets[type] for type in types], dtype=np.float64)
        return sigmoid(self.entity_slope * log_odds(probabilities) + offsets)

    def entity_probability(self, type: str, score: float) -> float:
        """The network's probability behind a score: the inverse of ``entity_score``."""
        with np.errstate(divide="ignore"):  # a score that rounds to 1 has infinite log-odds
            odds = np.log(score) - np.log1p(-score) - self.entity_offsets[type]
        return float(sigmoid(odds / self.entity_slope))

    def triple_scores(
        self,
        types: Sequence[str],
        heads: ArrayLike,
        relations: NDArray[np.floating],
        tails: ArrayLike,
    ) -> NDArray[np.float64]:
        """How likely triples are right, given the network's probabilities.

        Args:
            types: the R relation types.
            heads: (P,) of the head mentions.
            relations: (P, R) of the relations.
            tails: (P,) of the tail mentions.

        Returns:
            (P, R); zero where the relation is below ``FLOOR``.
        """
        head, relation, tail = self.triple_slopes
        mentions = head * log_odds(heads) + tail * log_odds(tails)
        offsets = np.array([self.triple_offsets[type] for type in types], dtype=np.float64)
        scores = sigmoid(mentions[:, None] + relation * log_odds(relations) + offsets)
        return np.where(relations >= FLOOR, scores, 0.0)

    def to_json(self) -> dict[str, Any]:
        """The parameters as JSON-ready values."""
        attributes = {name: scaling.to_json() for name, scaling in self.attributes.items()}
        return {
            "entities": {"slope": self.entity_slope, "offsets": dict(self.entity_offsets)},
            "triples": {
                "slopes": list(self.triple_slopes),
                "offsets": dict(self.triple_offsets),
            },
            **({"attributes": attributes} if attributes else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """The inverse of ``to_json``.

        Raises:
            ConfigError: if a value is missing or malformed.
        """
        try:
            entities, triples = values["entities"], values["triples"]
            head, relation, tail = triples["slopes"]
            return cls(
                entity_slope=float(entities["slope"]),
                entity_offsets={str(k): float(v) for k, v in entities["offsets"].items()},
                triple_slopes=(float(head), float(relation), float(tail)),
                triple_offsets={str(k): float(v) for k, v in triples["offsets"].items()},
                attributes={
                    str(name): AttributeScaling.from_json(scaling)
                    for name, scaling in values.get("attributes", {}).items()
                },
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ConfigError("calibration: a parameter is missing or not a number") from None


def log_odds(probabilities: ArrayLike) -> NDArray[np.float64]:
    """The log-odds of probabilities, no surer than ``NEAREST`` allows."""
    values = np.clip(np.asarray(probabilities, dtype=np.float64), NEAREST, 1.0 - NEAREST)
    odds: NDArray[np.float64] = np.log(values) - np.log1p(-values)
    return odds


def sigmoid(values: ArrayLike) -> NDArray[np.float64]:
    """The logistic function, without overflow."""
    halved = 0.5 * np.asarray(values, dtype=np.float64)
    result: NDArray[np.float64] = 0.5 * (1.0 + np.tanh(halved))
    return result
