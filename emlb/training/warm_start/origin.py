"""What a run begins with: a base encoder, or a trained model to learn on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emlb.model.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, load_tokenizer, resolve_base
from emlb.training.config import RunConfig
from emlb_runtime.schema.task import Task

from .start import Start, load_start
from .transfer import extend_task, match_tasks

Say = Callable[[str], None]


@dataclass(frozen=True)
class Origin:
    """The beginning of a run.

    Attributes:
        base: folder or hub id of an encoder; empty with a start.
        start: the model that the run learns on from; None to begin with the base.
        tokenizer: of the one or the other.
    """

    base: str
    start: Start | None
    tokenizer: LoadedTokenizer

    def extend(self, tasks: Sequence[Task]) -> list[Task]:
        """The tasks, with what the start knows of their types."""
        if self.start is None:
            return list(tasks)
        return [extend_task(match) for match in match_tasks(tasks, self.start.tasks)]

    def build(self, tasks: Sequence[Task], config: RunConfig, say: Say) -> EmlbModel:
        """The model, with the weights of the base or the start.

        Args:
            tasks: of ``extend``.
            config: sizes, dropout and windows.
            say: receives a line per task that learns on.
        """
        sizes = config.model
        if self.start is not None:
            matches = match_tasks(tasks, self.start.tasks)
            for match in matches:
                say(f"  {match.describe()}")
            return self.start.build(matches, sizes, windows=config.windows)
        return EmlbModel.from_base(
            self.base,
            tasks,
            windows=config.windows,
            encoder_overrides={
                "hidden_dropout_prob": sizes.hidden_dropout,
                "attention_probs_dropout_prob": sizes.attention_dropout,
            },
            relation_width=sizes.relation_width,
            relation_heads=sizes.relation_heads,
            head_dropout=sizes.head_dropout,
            entity_head=sizes.entity_head,
            relation_head=sizes.relation_head,
            attribute_width=sizes.attribute_width,
        )

    def describe(self) -> dict[str, str] | None:
        """What a model card says of the start; None without one."""
        start = self.start
        return None if start is None else {"name": run_name(start.name), "base": start.base}


def run_name(place: str) -> str:
    """The name of a run, without the path to it.

    Args:
        place: the run's folder, or the ``model`` folder in it.
    """
    path = Path(place)
    return path.parent.name if path.name == "model" and path.parent.name else path.name


def open_origin(config: RunConfig, say: Say) -> Origin:
    """Load the tokenizer, and the start if there is one.

    Args:
        config: names the base, or the start.
        say: receives a line if there is a start.

    Raises:
        ConfigError: if there is no such base or start, or the start's heads have other sizes.
        ArtefactError: if the start's weights cannot be read.
    """
    if not config.start:
        base = resolve_base(config.base)
        return Origin(base, None, load_tokenizer(base))
    start = load_start(config.start)
    start.check(config.model)
    unused = f"; base {config.base} is not used" if config.base else ""
    say(f"learning on from {start.name}, with its encoder and subwords{unused}")
    return Origin("", start, start.tokenizer)
