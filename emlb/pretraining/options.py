"""The settings of a pre-training run, validated before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass

from emlb.training.precision import Precision, check_precision
from emlb_runtime.errors import ConfigError
from emlb_runtime.text.windows import WindowConfig


@dataclass(frozen=True)
class PretrainingOptions:
    """How to train, and for how long; what is reached first ends the run.

    Attributes:
        epochs: passes over the training notes; a part of one will do.
        steps: updates, in place of ``epochs``; 0 goes by ``epochs``.
        minutes: of training, over all the parts of a run that was cut off; 0 is without
            limit. The rate then falls with the time, so that it ends at zero.
        batch_size: windows per step.
        gradient_accumulation: steps per update.
        rate: peak learning rate.
        warmup: share of the run in which the rate rises; then it falls linearly to zero.
        weight_decay: of matrices.
        max_grad_norm: gradients are clipped to it.
        max_pieces: pieces of a window, its two special tokens included.
        mask_share: share of the pieces to predict.
        held_out: share of the notes kept from training to measure the perplexity on; 0
            measures none.
        measured: windows of them that are measured at most, drawn at random; 0 takes all.
        precision: as ``TrainingConfig.precision``: ``auto``, ``bf16``, ``fp16`` or ``fp32``.
        checkpoint_minutes: how often a checkpoint is written, from which a killed run goes on.
        seed: of a fresh head, the order, the masks, dropout, and the notes held out.

    Raises:
        ConfigError: naming the setting, what was found, and what is allowed.
    """

    epochs: float = 3.0
    steps: int = 0
    minutes: float = 0.0
    batch_size: int = 32
    gradient_accumulation: int = 1
    rate: float = 1e-4
    warmup: float = 0.06
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    max_pieces: int = 160
    mask_share: float = 0.15
    held_out: float = 0.05
    measured: int = 2048
    precision: Precision = "auto"
    checkpoint_minutes: float = 10.0
    seed: int = 13

    def __post_init__(self) -> None:
        for name in ("epochs", "rate", "max_grad_norm"):
            _check(name, getattr(self, name), "above 0", getattr(self, name) > 0)
        for name in ("steps", "minutes", "measured", "checkpoint_minutes", "weight_decay", "seed"):
            _check(name, getattr(self, name), "0 or more", getattr(self, name) >= 0)
        for name in ("batch_size", "gradient_accumulation"):
            _check(name, getattr(self, name), "at least 1", getattr(self, name) >= 1)
        for name in ("warmup", "held_out"):
            value = getattr(self, name)
            _check(name, value, "from 0 to below 1", 0 <= value < 1)
        _check("mask_share", self.mask_share, "between 0 and 1", 0 < self.mask_share < 1)
        check_precision(self.precision, setting="precision")
        self.windows  # noqa: B018 (it raises where the size is too small)

    @property
    def windows(self) -> WindowConfig:
        """How notes are cut: without overlap, so that every piece is seen once an epoch."""
        return WindowConfig(max_pieces=self.max_pieces, overlap=0)

    @property
    def windows_per_update(self) -> int:
        """Windows that one update of the weights is made of."""
        return self.batch_size * self.gradient_accumulation

    def updates(self, n_windows: int) -> int:
        """Updates of a run on so many training windows, were there no limit of time."""
        return self.steps or max(1, math.ceil(self.epochs * n_windows / self.windows_per_update))


def _check(name: str, value: object, allowed: str, valid: bool) -> None:
    if not valid:
        raise ConfigError(f"{name} is {value}; it must be {allowed}")
