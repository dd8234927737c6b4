"""The joint model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel

from emlb_runtime.schema.task import Task
from emlb_runtime.text.windows import WindowConfig

from .attributes import AttributeHead
from .config import EmlbConfig
from .crf import LatticeCrf
from .linear_relation import LinearRelationHead
from .loading import without_bars
from .relation import RelationHead
from .softmax import WordSoftmax


class JointOutput(NamedTuple):
    """What one pass of the encoder gives."""

    hidden: Tensor
    """(B, T, D)."""
    emissions: Mapping[str, Tensor]
    """Per task (B, T, E)."""
    attention: Tensor | None = None
    """(B, T, T) of the encoder's last layer, averaged over its heads; None if not asked for."""


class TaskHead(nn.Module):
    """The heads of one task: entities, relations, and attributes if it has any.

    Args:
        task: its types.
        config: sizes.
        width: D.
    """

    def __init__(self, task: Task, config: EmlbConfig, width: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.head_dropout)
        self.emission = nn.Linear(width, task.scheme.n_labels)
        self.crf: LatticeCrf | WordSoftmax = (
            LatticeCrf(task.scheme) if config.entity_head == "crf" else WordSoftmax(task.scheme)
        )
        self.relation = _relation_head(task, config, width)
        self.attribute = _attribute_head(task, config, width)

    def emit(self, hidden: Tensor) -> Tensor:
        """Emissions (B, T, E), the linear part of equation (7)."""
        emissions: Tensor = self.emission(self.dropout(hidden))
        return emissions


def _relation_head(task: Task, config: EmlbConfig, width: int) -> RelationHead | LinearRelationHead:
    sizes = (width, len(task.entity_types), max(1, len(task.relation_types)))
    if config.relation_head == "linear":
        return LinearRelationHead(
            *sizes, relation_width=config.relation_width, dropout=config.head_dropout
        )
    return RelationHead(
        *sizes,
        relation_width=config.relation_width,
        n_heads=config.relation_heads,
        dropout=config.head_dropout,
    )


def _attribute_head(task: Task, config: EmlbConfig, width: int) -> AttributeHead | None:
    if not task.attributes:
        return None
    return AttributeHead(
        width,
        len(task.entity_types),
        task.n_attribute_values,
        attribute_width=config.attribute_width,
        n_heads=config.relation_heads,
        dropout=config.head_dropout,
    )


class EmlbModel(PreTrainedModel):
    """One encoder and, per task, a CRF entity head, a bilinear-attention relation head, and a head
    for the attributes of mentions where the task has any.

    The configuration may ask for the paper's plainer heads: softmax (9), linear (10).

    ``forward`` takes and gives tensors only; candidate mentions and pairs are enumerated
    outside, so that the same graph trains and deploys.
    """

    config_class = EmlbConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, config: EmlbConfig) -> None:
        super().__init__(config)
        encoder_config = config.encoder_config
        self.encoder = AutoModel.from_config(encoder_config)
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # never read: not trained, saved or exported
        width = int(encoder_config.hidden_size)
        self.heads = nn.ModuleDict(
            {task.name: TaskHead(task, config, width) for task in config.task_list}
        )
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def from_base(
        cls,
        base: str | Path,
        tasks: Sequence[Task],
        *,
        windows: WindowConfig | None = None,
        encoder_overrides: Mapping[str, Any] | None = None,
        **sizes: Any,
    ) -> EmlbModel:
        """A model with pre-trained encoder weights and fresh heads.

        Args:
            base: folder or hub id of any transformers encoder with a fast tokenizer.
            tasks: at least one.
            windows: how notes are cut.
            encoder_overrides: values to change in the encoder's configuration (dropout).
            **sizes: ``relation_width``, ``relation_heads``, ``head_dropout``,
                ``entity_head``, ``relation_head``, ``attribute_width``.
        """
        with without_bars() if Path(base).is_dir() else nullcontext():  # a download shows one
            encoder = AutoModel.from_pretrained(
                base, config=_encoder_config(base, encoder_overrides), trust_remote_code=False
            )
        config = EmlbConfig(
            encoder={
                key: value
                for key, value in encoder.config.to_dict().items()
                if key != "_name_or_path"  # a path of the machine it was trained on
            },
            tasks=[task.to_json() for task in tasks],
            windows=asdict(windows or WindowConfig()),
            **sizes,
        )
        model = cls(config)
        model.encoder.load_state_dict(
            {
                name: weight
                for name, weight in encoder.state_dict().items()
                if not name.startswith("pooler.")
            }
        )
        return model

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()
        elif isinstance(module, LatticeCrf):
            module.reset_parameters()
        elif isinstance(module, AttributeHead):  # its layers have been visited before it
            module.look_near()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, *, attention: bool = False
    ) -> JointOutput:
        """Encode windows, equations (1) to (7).

        Args:
            input_ids: (B, T) piece ids with special tokens.
            attention_mask: (B, T), one for pieces and zero for padding.
            attention: give the encoder's attention too; only after ``open_attention``.
        """
        asked = {"output_attentions": True} if attention else {}
        encoded = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **asked)
        hidden = encoded.last_hidden_state.float()
        emissions = {name: self.head(name).emit(hidden) for name in self.heads}
        last = encoded.attentions[-1].float().mean(dim=1) if attention else None
        return JointOutput(hidden, emissions, last)

    def head(self, task: str) -> TaskHead:
        """The heads of a task."""
        head = self.heads[task]
        assert isinstance(head, TaskHead)
        return head

    def relate(
        self, task: str, hidden: Tensor, attention_mask: Tensor, spans: Tensor, pairs: Tensor
    ) -> Tensor:
        """Relation logits (B, P, R) of one task, equation (8); see ``RelationHead``."""
        logits: Tensor = self.head(task).relation(hidden, attention_mask, spans, pairs)
        return logits

    def describe(self, task: str, hidden: Tensor, attention_mask: Tensor, spans: Tensor) -> Tensor:
        """Attribute scores (B, S, V) of one task that has attributes; see ``AttributeHead``."""
        head = self.head(task).attribute
        assert head is not None  # the caller looks at the task
        scores: Tensor = head(hidden, attention_mask, spans)
        return scores

    def parameter_groups(
        self,
        *,
        encoder_rate: float,
        head_rate: float,
        weight_decay: float,
        layer_decay: float = 1.0,
    ) -> list[dict[str, Any]]:
        """Optimiser groups: encoder and heads at their own rates.

        Biases, norms, the CRF and the encoder's embeddings do not decay.

        Args:
            encoder_rate: of the encoder's last layer.
            head_rate: of the heads.
            weight_decay: of what decays.
            layer_decay: factor on the rate for each layer below the last; the embeddings
                lie below the first.
        """
        names = [name for name, _ in self.named_parameters()]
        last = max(map(_layer, names))
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            decays = parameter.ndim > 1 and ".crf." not in name and "embedding" not in name
            in_encoder = name.startswith("encoder.")
            rate = encoder_rate * layer_decay ** (last - _layer(name)) if in_encoder else head_rate
            groups.setdefault((rate, decays), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": rate,
                "weight_decay": weight_decay if decays else 0.0,
            }
            for (rate, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
        ]


def _layer(name: str) -> int:
    """The number of the encoder layer that a parameter is of; -1 for the embeddings."""
    match = re.search(r"\.layers?\.(\d+)\.", name)
    return int(match[1]) if match else -1


def _encoder_config(base: str | Path, overrides: Mapping[str, Any] | None) -> Any:
    config = AutoConfig.from_pretrained(base, trust_remote_code=False)
    known = config.to_dict()
    config.update({key: value for key, value in (overrides or {}).items() if key in known})
    # "dtype" since transformers 4.56; without it, 5 loads what the checkpoint is in.
    setattr(config, "dtype" if hasattr(config, "dtype") else "torch_dtype", torch.float32)
    return config
