"""How rates fall by epochs, and when a run has converged."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import EarlyStoppingCallback, TrainerControl, TrainerState, TrainingArguments


def epoch_schedule(
    optimizer: Optimizer, *, updates_per_epoch: int, warmup: float, decay: float
) -> LambdaLR:
    """Rates that stay the same within an epoch and are multiplied at the end of each.

    Args:
        optimizer: with the peak rates.
        updates_per_epoch: at least one.
        warmup: share of the first epoch in which the rates rise from zero.
        decay: the factor.
    """
    rising = round(warmup * updates_per_epoch)

    def factor(update: int) -> float:
        rise = update / rising if update < rising else 1.0
        power: float = decay ** (update // updates_per_epoch)
        return rise * power

    return LambdaLR(optimizer, factor)


class Patience(EarlyStoppingCallback):
    """Early stopping that a run which was cut off after its last evaluation keeps to.

    Without it the resumed run would train on to the next evaluation. It makes one update more,
    which the best checkpoint, loaded at the end, does not have.
    """

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Stop if patience is at its end."""
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True
