"""The training configuration: one TOML file, validated before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emlb.data.config import CorpusConfig, TaskConfig
from emlb_runtime.errors import ConfigError
from emlb_runtime.text.windows import WindowConfig

from .precision import Precision
from .toml_settings import build, load_toml

Learned = Literal["both", "entities", "relations"]
"""What a model learns."""


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the heads and dropout.

    Attributes:
        relation_width: width of the relation head.
        relation_heads: its attention heads.
        head_dropout: before each head.
        hidden_dropout: in the encoder.
        attention_dropout: on attention weights; zero is markedly faster on a CPU.
        entity_head: ``crf``, equation (7), or ``softmax``, variant (9).
        relation_head: ``bilinear`` attention, equation (8), or ``linear``, variant (10).
        attribute_width: width of the attribute head.
    """

    relation_width: int = 256
    relation_heads: int = 4
    head_dropout: float = 0.1
    hidden_dropout: float = 0.1
    attention_dropout: float = 0.0
    entity_head: Literal["crf", "softmax"] = "crf"
    relation_head: Literal["bilinear", "linear"] = "bilinear"
    attribute_width: int = 128


@dataclass(frozen=True)
class TrainingConfig:
    """How to optimise.

    Attributes:
        epochs: passes over the data at most.
        batch_size: windows per step and device.
        gradient_accumulation: steps per update.
        encoder_rate: peak learning rate of the encoder.
        head_rate: peak learning rate of the heads.
        layer_decay: factor on the encoder's rate for each layer further down (Howard and
            Ruder 2018); 1 gives all layers the same.
        warmup: share of updates in which the rates rise, of the first epoch's under the
            schedule ``epoch``; then they follow the schedule.
        schedule: ``linear`` falls to zero at the last of ``epochs``; ``epoch`` stays the same
            within an epoch and is multiplied by ``epoch_decay`` at the end of each, for runs
            until converged (many ``epochs``, and ``patience``).
        epoch_decay: that factor.
        weight_decay: of matrices; biases, norms, embeddings and the CRF have none.
        max_grad_norm: gradients are clipped to it.
        precision: ``bf16``, ``fp16`` (GPU only) or ``fp32`` arithmetic in the encoder;
            ``auto`` is bf16 where the GPU or processor computes it natively, fp16 on a GPU
            that has only that, else fp32. What the machine only emulates is refused.
        entity_weight: w_ner of equation (11); 0 learns relations alone, between annotated
            mentions.
        relation_weight: w_re of equation (11); 0 learns entities alone.
        attribute_weight: of the loss on attributes, where a task has any; 0 does not compute it.
        attention_weight: of the loss on where the encoder looks from head to tail mentions;
            0 does not compute it. Above 0 the encoder runs without fused attention: slower,
            and with more memory.
        cross_attention_weight: of the loss on where the relation head looks; 0 does not
            compute it.
        loss_weights: ``fixed`` to these weights; ``learned`` begins with them and learns the
            weight of each loss that has one (Kendall, Gal & Cipolla 2018).
        partial_negatives: weight of unrelated pairs under relations annotated in part.
        predicted_from: share of updates after which relations are also trained on the
            mentions that the entity head predicts; above 1 never.
        word_dropout: share of words hidden from the encoder in training, against learning
            mentions by heart.
        mention_dropout: share of annotated mentions hidden whole, so that what relates two
            mentions is learned from the words between and around them, not from their names.
        max_pairs: pairs per window in training; unrelated ones above it are drawn at random.
        sampling: ``mixed`` batches hold windows of all corpora; else Algorithm 1's, of one
            corpus each, drawn ``proportional`` to its size, to its ``square_root``, or
            ``uniform``.
        patience: evaluations without a better development score before stopping; 0 never stops.
        evaluations_per_epoch: how often the development data is scored and a checkpoint
            written, from which a killed run resumes.
        tensorboard: write curves for TensorBoard.
    """

    epochs: int = 10
    batch_size: int = 16
    gradient_accumulation: int = 1
    encoder_rate: float = 2e-4
    head_rate: float = 1e-3
    layer_decay: float = 1.0
    warmup: float = 0.1
    schedule: Literal["linear", "epoch"] = "linear"
    epoch_decay: float = 0.9
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    precision: Precision = "auto"
    entity_weight: float = 1.0
    relation_weight: float = 1.0
    attribute_weight: float = 1.0
    attention_weight: float = 0.0
    cross_attention_weight: float = 0.0
    loss_weights: Literal["fixed", "learned"] = "fixed"
    partial_negatives: float = 0.2
    predicted_from: float = 0.15
    word_dropout: float = 0.0
    mention_dropout: float = 0.0
    max_pairs: int = 256
    sampling: Literal["mixed", "proportional", "square_root", "uniform"] = "mixed"
    patience: int = 0
    evaluations_per_epoch: int = 1
    tensorboard: bool = False

    def __post_init__(self) -> None:
        weights = self.entity_weight, self.relation_weight
        if min(weights) < 0 or not any(weights):
            raise ConfigError(
                "training.entity_weight and training.relation_weight are "
                f"{weights[0]:g} and {weights[1]:g}; neither may be below 0, nor both be 0"
            )
        if self.attribute_weight < 0:
            raise ConfigError(
                f"training.attribute_weight is {self.attribute_weight:g}; it must be 0 or more"
            )
        for name in ("attention", "cross_attention"):
            if (weight := getattr(self, f"{name}_weight")) < 0:
                raise ConfigError(f"training.{name}_weight is {weight:g}; it must be 0 or more")
            if weight and not self.relation_weight:
                raise ConfigError(
                    f"training.{name}_weight is {weight:g}, but training.relation_weight is 0: "
                    "that loss is over related mentions, so set both above 0 or both to 0"
                )
        if not 0 < self.epoch_decay <= 1:
            raise ConfigError(
                f"training.epoch_decay is {self.epoch_decay:g}; it must be above 0 and at most 1"
            )

    @property
    def weights(self) -> dict[str, float]:
        """The weights of the losses, as ``Losses`` names them; the last three only if any."""
        more = {
            "attribute": self.attribute_weight,
            "attention": self.attention_weight,
            "cross_attention": self.cross_attention_weight,
        }
        main = {"entity": self.entity_weight, "relation": self.relation_weight}
        return main | {name: weight for name, weight in more.items() if weight}

    @property
    def learned(self) -> Learned:
        """Which of the two losses have a weight."""
        if not self.relation_weight:
            return "entities"
        return "both" if self.entity_weight else "relations"


@dataclass(frozen=True)
class DistillationConfig:
    """What trained models teach besides the annotations.

    Attributes:
        teachers: run or model folders of the same tasks; empty for no distillation.
        notes: raw or annotated notes, relative to the data folder; only texts are used.
        windows: how many to label, drawn evenly from the places of ``notes``.
        targets: ``agreed`` teaches the labels that the teachers are sure of in the notes, and
            needs teachers with the base's subwords. ``soft`` teaches the teachers' mean
            probabilities of labels and relations, in the notes and on the annotated corpora; the
            teachers may have subwords of their own.
        temperature: of soft targets: teachers' and student's scores are divided by it.
        label_weight: of soft targets: how much the labels of a window count, where its
            annotation counts 1.
        annotated: of soft targets: whether the annotated corpora have them too.
        sure: of agreed labels: mean marginal from which a label counts as annotated.
        possible: of agreed labels: mean marginal from which a label stays possible.
        relation_weight: how much the pairs that the teachers label count.
        doubted: relation types that the teachers do not teach.
    """

    teachers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    windows: int = 4000
    targets: Literal["agreed", "soft"] = "agreed"
    temperature: float = 1.0
    label_weight: float = 1.0
    annotated: bool = True
    sure: float = 0.7
    possible: float = 0.05
    relation_weight: float = 0.5
    doubted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.notes and not self.teachers:
            raise ConfigError("distillation.notes are set, but no distillation.teachers label them")
        if self.teachers and not self.notes and not (self.targets == "soft" and self.annotated):
            raise ConfigError(
                "distillation needs notes for the teachers to label, or targets = 'soft' with "
                "annotated = true"
            )
        if self.windows < 1:
            raise ConfigError(f"distillation.windows is {self.windows}; it must be at least 1")
        if self.temperature <= 0:
            raise ConfigError(
                f"distillation.temperature is {self.temperature:g}; it must be above 0"
            )
        if min(self.label_weight, self.relation_weight) < 0:
            raise ConfigError(
                "distillation.label_weight and distillation.relation_weight are "
                f"{self.label_weight:g} and {self.relation_weight:g}; neither may be below 0"
            )
        if not 0 < self.possible <= 0.5 < self.sure < 1:
            raise ConfigError(
                "distillation needs 0 < possible <= 0.5 < sure < 1; it has "
                f"possible {self.possible} and sure {self.sure}"
            )


@dataclass(frozen=True)
class RunConfig:
    """A whole training run.

    Attributes:
        name: of the model.
        base: folder or hub id of the encoder, or ``package:NAME/FOLDER`` for one that an
            installed Python package carries. Not used, and not needed, with ``start``.
        start: what to learn on from, with its encoder, subwords and weights: a trained model's
            run, a bundle, or ``default`` for the bundled model; empty to begin with the base.
            Types of the tasks are matched by name, new ones are learned from the beginning.
        data: folder that corpus paths are relative to.
        output: folder for runs; the run is a folder of the model's name in it.
        seed: of initial weights, order and packing.
        task: the tasks.
        corpus: the corpora.
        windows: how notes are cut.
        model: sizes.
        training: optimisation.
        distillation: notes that other models label.
        description: one line for the model card.
    """

    name: str
    task: tuple[TaskConfig, ...]
    corpus: tuple[CorpusConfig, ...]
    base: str = ""
    data: str = "data"
    output: str = "runs"
    seed: int = 13
    windows: WindowConfig = field(default_factory=WindowConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)
    start: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        # It is a folder's name, and --fresh empties that folder.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ConfigError(
                f"name is {self.name!r}; use letters, digits, dots, hyphens and underscores"
            )
        if not self.base and not self.start:
            raise ConfigError(
                "setting base is missing: name an encoder, or set start=default to learn on from "
                "the bundled model"
            )
        names = [task.name for task in self.task]
        if len(set(names)) < len(names):
            raise ConfigError(f"two tasks have the same name: {', '.join(names)}")
        if not names or not self.corpus:
            raise ConfigError("a run needs at least one [[task]] and one [[corpus]]")
        labels = [corpus.name for corpus in self.corpus]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ConfigError(f"two corpora are named {twice[0]}: name them apart, use select")
        for corpus in self.corpus:
            if corpus.task not in names and not (corpus.task == "" and len(names) == 1):
                raise ConfigError(
                    f"corpus {corpus.name}: task is {corpus.task!r}; the run has {', '.join(names)}"
                )
        if self.training.cross_attention_weight and self.model.relation_head != "bilinear":
            raise ConfigError(
                "training.cross_attention_weight is set, but model.relation_head is "
                f"{self.model.relation_head!r}, which has no attention; set it to 0 or take "
                "the bilinear head"
            )

    @property
    def folder(self) -> Path:
        """Where the run's checkpoints and model go."""
        return Path(self.output) / self.name


def load_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and validate a training configuration.

    Args:
        path: the TOML file.
        overrides: ``section.key=value``.

    Raises:
        ConfigError: naming the setting, what was found, and what is allowed.
    """
    return build(RunConfig, load_toml(path, overrides))


def recorded_config(values: Mapping[str, Any]) -> RunConfig:
    """The configuration that a run recorded as JSON.

    Raises:
        ConfigError: if it is of another version of EMLB.
    """
    return build(RunConfig, _stated(values))


def _stated(value: Any) -> Any:
    """Without what is None: TOML, which ``build`` takes, leaves that out."""
    if isinstance(value, Mapping):
        return {key: _stated(item) for key, item in value.items() if item is not None}
    return [_stated(item) for item in value] if isinstance(value, list) else value
