"""Trained models that a run takes weights or labels from: they must be of its kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emlb.model.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, TrainedModel
from emlb_runtime.errors import ConfigError
from emlb_runtime.schema import Task


def load_alike(
    folder: Path, tasks: Sequence[Task], tokenizer: LoadedTokenizer | None, *, role: str
) -> TrainedModel:
    """Load a trained model of the same tasks and, where that matters, the same subwords.

    Args:
        folder: of a run, or its ``model`` folder.
        tasks: which it must have, type by type.
        tokenizer: whose subwords it must have; None takes any.
        role: what it is to the run, for messages.

    Raises:
        ArtefactError: if it is no trained model.
        ConfigError: if it does not fit.
    """
    found = TrainedModel.load(folder / "model" if (folder / "model").is_dir() else folder)
    known = {task.name: task for task in found.model.config.task_list}
    for task in tasks:
        other = known.get(task.name)
        if other is None or (other.entity_types, other.relation_types) != (
            task.entity_types,
            task.relation_types,
        ):
            raise ConfigError(
                f"{role} {folder}: its task {task.name} does not have the same types in the "
                "same order; train it with the same [[task]]"
            )
    if tokenizer is None:
        return found
    if found.tokenizer.tokenizer.get_vocab() != tokenizer.tokenizer.get_vocab():
        raise ConfigError(f"{role} {folder}: its subwords are not those of the base")
    return found


def take_weights(
    model: EmlbModel, folder: Path, tasks: Sequence[Task], tokenizer: LoadedTokenizer
) -> None:
    """Give a model the weights of a trained one, to learn on from there.

    Args:
        model: of the run; its configuration stays.
        folder: of the trained model's run, or its ``model`` folder.
        tasks: the run's.
        tokenizer: the run's.

    Raises:
        ArtefactError: if it is no trained model.
        ConfigError: if it has other tasks, subwords, heads or sizes.
    """
    found = load_alike(folder, tasks, tokenizer, role="start").model.state_dict()
    own = {name: weight.shape for name, weight in model.state_dict().items()}
    other = {name: weight.shape for name, weight in found.items()}
    if own != other:
        differing = sorted({*own.items()} ^ {*other.items()})
        raise ConfigError(
            f"start {folder}: its {differing[0][0]} is not as in this run; give both the same "
            "base, [[task]] and [model]"
        )
    model.load_state_dict(found)
