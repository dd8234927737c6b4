"""Trained models that a run takes weights or labels from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emlb.model.config import EmlbConfig
from emlb.model.model import EmlbModel
from emlb.model.pretrained import (
    LoadedTokenizer,
    TrainedModel,
    model_folder,
    unpack_tokenizer,
)
from emlb.training.config import ModelConfig
from emlb_runtime.bundle.loader import CONFIG_NAME, Bundle
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.schema.task import Task
from emlb_runtime.text.windows import WindowConfig

from .transfer import Match, transfer

DEFAULT = "default"
"""Names the bundled model."""

_SIZES = ("relation_width", "relation_heads", "entity_head", "relation_head")


@dataclass(frozen=True)
class Start:
    """A trained model to learn on from.

    Attributes:
        name: what it is, for the user.
        base: the encoder that it was trained from; empty if unknown.
        architecture: of ``EmlbConfig``, all but tasks and windows.
        tasks: that it was trained for.
        weights: its ``state_dict``, in single precision.
        tokenizer: its tokenizer.
    """

    name: str
    base: str
    architecture: Mapping[str, Any]
    tasks: tuple[Task, ...]
    weights: Mapping[str, Tensor]
    tokenizer: LoadedTokenizer

    def check(self, sizes: ModelConfig) -> None:
        """Refuse heads of other sizes than the run's.

        Raises:
            ConfigError: naming the setting and the value that fits.
        """
        described = any(task.attributes for task in self.tasks)
        for setting in (*_SIZES, *(["attribute_width"] if described else [])):
            own, found = getattr(sizes, setting), self.architecture[setting]
            if own != found:
                raise ConfigError(
                    f"start {self.name}: its {setting} is {found!r}, but model.{setting} is "
                    f"{own!r}: set model.{setting}={found}"
                )

    def build(
        self, matches: Sequence[Match], sizes: ModelConfig, *, windows: WindowConfig
    ) -> EmlbModel:
        """A model with these weights, and fresh ones where a type is new.

        Args:
            matches: of the run's tasks.
            sizes: heads and dropout of the run.
            windows: how the run cuts notes.

        Raises:
            ArtefactError: if there is no encoder of that architecture.
            ConfigError: if the weights do not fit.
        """
        encoder = {k: v for k, v in self.architecture["encoder"].items() if k != "auto_map"}
        dropout = {
            "hidden_dropout_prob": sizes.hidden_dropout,
            "attention_probs_dropout_prob": sizes.attention_dropout,
        }
        try:
            model = EmlbModel(
                EmlbConfig(
                    encoder=encoder | {k: v for k, v in dropout.items() if k in encoder},
                    tasks=[match.task.to_json() for match in matches],
                    windows=asdict(windows),
                    head_dropout=sizes.head_dropout,
                    attribute_width=sizes.attribute_width,
                    **{setting: getattr(sizes, setting) for setting in _SIZES},
                )
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise ArtefactError(
                f"start {self.name}: transformers cannot build its encoder ({type(error).__name__})"
            ) from None
        state = transfer(model.state_dict(), self.weights, matches, source=self.name)
        model.load_state_dict(state)
        return model


def load_start(place: str) -> Start:
    """Read what a run learns on from.

    Args:
        place: a run's folder, its ``model`` folder, a bundle, or ``default`` for the bundled
            model.

    Raises:
        ConfigError: if there is no such folder.
        ArtefactError: if it holds no model whose weights can be read.
    """
    path = Path(place).expanduser()
    if place != DEFAULT and not path.is_dir():
        raise ConfigError(
            f"start {place}: there is no such folder; name a run, a bundle, or {DEFAULT} for the "
            "bundled model"
        )
    folder = model_folder(path)
    if place == DEFAULT or "format" in _read_json(folder / CONFIG_NAME):
        return _of_bundle(Bundle.load(None if place == DEFAULT else folder))
    found = TrainedModel.load(folder)
    run = _read_json(folder.parent / "run.json")
    config = found.model.config
    return Start(
        name=place,
        base=str(run.get("base") or run.get("config", {}).get("base") or ""),
        architecture={
            name: getattr(config, name) for name in ("encoder", "attribute_width", *_SIZES)
        },
        tasks=tuple(config.task_list),
        weights=found.model.state_dict(),
        tokenizer=found.tokenizer,
    )


def load_alike(
    folder: Path, tasks: Sequence[Task], tokenizer: LoadedTokenizer | None, *, role: str
) -> TrainedModel:
    """Load a trained model of the same tasks and, where that matters, the same subwords.

    Args:
        folder: of a run, or its ``model`` folder.
        tasks: which it must have, type by type; attributes too, unless it has none.
        tokenizer: whose subwords it must have; None takes any.
        role: what it is to the run, for messages.

    Raises:
        ArtefactError: if it is no trained model.
        ConfigError: if it does not fit.
    """
    found = TrainedModel.load(model_folder(folder))
    known = {task.name: task for task in found.model.config.task_list}
    for task in tasks:
        other = known.get(task.name)
        if other is None or not _is_alike(other, task):
            raise ConfigError(
                f"{role} {folder}: its task {task.name} does not have the same types and "
                "attributes in the same order; train it with the same [[task]]"
            )
    if tokenizer is None:
        return found
    if found.tokenizer.tokenizer.get_vocab() != tokenizer.tokenizer.get_vocab():
        raise ConfigError(f"{role} {folder}: its subwords are not those of the base")
    return found


def _is_alike(other: Task, task: Task) -> bool:
    """Whether a task has the types of the run's, and its attributes or none."""
    values = [
        [(attribute.name, attribute.values) for attribute in each.attributes]
        for each in (other, task)
    ]
    types = (other.entity_types, other.relation_types)
    return types == (task.entity_types, task.relation_types) and (
        not values[0] or values[0] == values[1]
    )


def _of_bundle(bundle: Bundle) -> Start:
    from emlb_runtime.bundle.state import read_state

    config = bundle.config
    weights = read_state(bundle)  # refuses what has none
    assert config.architecture is not None
    return Start(
        name=f"{config.name} {config.version}",
        base=str(config.provenance.get("base", "")),
        architecture=config.architecture,
        tasks=config.tasks,
        weights={name: torch.from_numpy(values) for name, values in weights.items()},
        tokenizer=unpack_tokenizer(bundle.read(config.tokenizer), config.special),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
