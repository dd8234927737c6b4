"""The modules that the ablation compares, as settings of training runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from emlb.training.config import Learned
from emlb_runtime.errors import ConfigError

_WEIGHT_OF_OTHER = {
    "entities": "training.relation_weight",
    "relations": "training.entity_weight",
}
_OURS = ("name", "seed", "model.entity_head", "model.relation_head", *_WEIGHT_OF_OTHER.values())


@dataclass(frozen=True)
class Module:
    """One line of the ablation.

    Attributes:
        name: as the paper has it.
        entity_head: as ``ModelConfig`` takes it.
        relation_head: as ``ModelConfig`` takes it.
        sharing: ``joint`` is one model of one encoder; ``separate`` is a model that learns
            entities and one that learns relations between annotated mentions, with an
            encoder each. End to end, the latter relates the mentions of the former.
    """

    name: str
    entity_head: Literal["crf", "softmax"]
    relation_head: Literal["bilinear", "linear"]
    sharing: Literal["joint", "separate"]

    @property
    def parts(self) -> tuple[Learned, ...]:
        """What each of its runs learns."""
        return ("both",) if self.sharing == "joint" else ("entities", "relations")


MODULES = (
    Module("baseline", "softmax", "linear", "separate"),
    Module("ete", "crf", "bilinear", "separate"),
    Module("MTL", "softmax", "linear", "joint"),
    Module("ete+MTL", "crf", "bilinear", "joint"),
)
"""Those of Guo, Liu & Niu 2023 (Front. Neurosci. 17:1266771), the whole model last."""

REFERENCE = MODULES[-1].name
"""The module that the others are compared with."""


def run_name(config: str, module: Module, seed: int, part: Learned) -> str:
    """The name, and so the folder, of one run."""
    suffix = "" if part == "both" else f"-{part}"
    return f"{config}-{module.name.replace('+', '-')}-s{seed}{suffix}"


def settings(config: str, module: Module, seed: int, part: Learned) -> list[str]:
    """The overrides that make a configuration of that name one run of a module.

    Losses that a module cannot have are left out of it.
    """
    made = [
        f"name={run_name(config, module, seed, part)}",
        f"seed={seed}",
        f"model.entity_head={module.entity_head}",
        f"model.relation_head={module.relation_head}",
    ]
    if part != "both":
        made.append(f"{_WEIGHT_OF_OTHER[part]}=0")
    if part == "entities":  # the attention losses are over related mentions
        made.append("training.attention_weight=0")
    if part == "entities" or module.relation_head == "linear":  # which has no attention
        made.append("training.cross_attention_weight=0")
    return made


def refuse_ours(overrides: Sequence[str]) -> None:
    """Refuse a user's overrides of what the modules set.

    Raises:
        ConfigError: naming the setting.
    """
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key in _OURS:
            raise ConfigError(
                f"--set {key}: the ablation sets it for each run; give it in the configuration"
                if key.startswith(("name", "seed", "training"))
                else f"--set {key}: it is what the ablation varies"
            )
