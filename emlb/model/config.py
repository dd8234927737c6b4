"""The model's configuration, as transformers saves and loads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.task import Task
from emlb_runtime.text.windows import WindowConfig

ENTITY_HEADS = ("crf", "softmax")
RELATION_HEADS = ("bilinear", "linear")


class EmlbConfig(PretrainedConfig):
    """Encoder, tasks, windows and head sizes of an ``EmlbModel``.

    Args:
        encoder: the encoder's own configuration as a mapping with its ``model_type``.
        tasks: ``Task.to_json`` of each task.
        windows: ``max_pieces`` and ``overlap`` of training and deployment.
        relation_width: H, width of the relation head.
        relation_heads: attention heads of the bilinear attention; divides H.
        head_dropout: dropout before each head.
        entity_head: ``crf``, equation (7), or ``softmax``, variant (9).
        relation_head: ``bilinear``, equation (8), or ``linear``, variant (10).
        attribute_width: width of the attribute head; it has ``relation_heads`` attention heads.
        **kwargs: what ``PretrainedConfig`` takes.

    Raises:
        ConfigError: if H is not a multiple of the heads, a window exceeds the encoder, or
            there is no such head.
    """

    model_type = "emlb"

    def __init__(
        self,
        encoder: Mapping[str, Any] | None = None,
        tasks: Sequence[Mapping[str, Any]] = (),
        windows: Mapping[str, int] | None = None,
        relation_width: int = 256,
        relation_heads: int = 4,
        head_dropout: float = 0.1,
        entity_head: str = "crf",
        relation_head: str = "bilinear",
        attribute_width: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.encoder = dict(encoder or {})
        self.tasks = [dict(task) for task in tasks]
        self.windows = dict(windows or asdict(WindowConfig()))
        self.relation_width = relation_width
        self.relation_heads = relation_heads
        self.head_dropout = head_dropout
        self.entity_head = entity_head
        self.relation_head = relation_head
        self.attribute_width = attribute_width
        if entity_head not in ENTITY_HEADS or relation_head not in RELATION_HEADS:
            raise ConfigError(
                f"heads {entity_head!r} and {relation_head!r}: entity_head is one of "
                f"{', '.join(ENTITY_HEADS)}, relation_head one of {', '.join(RELATION_HEADS)}"
            )
        if relation_width % relation_heads:
            raise ConfigError(
                f"relation_width {relation_width} is not a multiple of "
                f"relation_heads {relation_heads}"
            )
        if attribute_width % relation_heads:
            raise ConfigError(
                f"attribute_width {attribute_width} is not a multiple of "
                f"relation_heads {relation_heads}"
            )
        longest = self.encoder.get("max_position_embeddings")
        if longest is not None and self.window_config.max_pieces > longest:
            raise ConfigError(
                f"windows.max_pieces is {self.window_config.max_pieces}, but the encoder has "
                f"{longest} positions"
            )

    @property
    def encoder_config(self) -> PretrainedConfig:
        """The encoder's configuration as an object of its own class."""
        values = dict(self.encoder)
        config: PretrainedConfig = AutoConfig.for_model(values.pop("model_type"), **values)
        return config

    @property
    def task_list(self) -> list[Task]:
        """The tasks as records."""
        return [Task.from_json(task) for task in self.tasks]

    @property
    def window_config(self) -> WindowConfig:
        """How notes are cut."""
        return WindowConfig(**self.windows)


# What loads a tokenizer from a model's folder looks the type of its model up.
AutoConfig.register(EmlbConfig.model_type, EmlbConfig, exist_ok=True)
