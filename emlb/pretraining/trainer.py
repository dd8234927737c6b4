"""The transformers ``Trainer`` for masked words, on a schedule, against the clock."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainingArguments
from transformers.trainer_callback import ExportableState, TrainerCallback

from emlb.training.checkpoints import whole_checkpoints
from emlb.training.precision import forget_precision

from .encoder import masked_logits
from .masking import MaskedWindows, collate
from .options import PretrainingOptions
from .schedule import Schedule


class Clock(TrainerCallback, ExportableState):
    """Counts the time of training, also over the parts of a run; writes checkpoints by it.

    Args:
        limit: seconds of training after which the run ends; 0 is without limit.
        interval: seconds between checkpoints.
        spent: seconds of the parts before.
    """

    def __init__(self, *, limit: float, interval: float, spent: float = 0.0) -> None:
        self._limit = limit
        self._interval = interval
        self._spent = spent
        self._began: float | None = None
        self._saved = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._spent + (0.0 if self._began is None else time.monotonic() - self._began)

    def progress(self, step: int, steps: int) -> float:
        """How much of the run is over, by updates or by time; from 0 to 1."""
        by_time = self.seconds / self._limit if self._limit else 0.0
        return min(1.0, max(step / steps, by_time))

    def state(self) -> dict[str, Any]:
        """What checkpoints keep."""
        return {"args": {}, "attributes": {"seconds": self.seconds}}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._limit and self.seconds >= self._limit:
            control.should_training_stop = True
        over = control.should_training_stop or state.global_step >= state.max_steps
        if over or time.monotonic() - self._saved >= self._interval:
            control.should_save = True
            self._saved = time.monotonic()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._spent, self._began = self.seconds, None


class Progress(ProgressCallback):
    """The bar, with the loss at its end in place of a line for each."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if self.training_bar is not None and "loss" in (logs or {}):
            self.training_bar.set_postfix_str(f"loss {logs['loss']:.3f}")


class PretrainingTrainer(Trainer):
    """Trains an encoder and its head to guess hidden pieces.

    Args:
        model: the encoder and its head.
        options: how.
        windows: what the schedule draws from.
        schedule: which, and when.
        padding: id of the padding token.
        clock: tells the time.
        checkpoints: folder for checkpoints.
    """

    def __init__(
        self,
        model: Any,
        *,
        options: PretrainingOptions,
        windows: MaskedWindows,
        schedule: Schedule,
        padding: int,
        clock: Clock,
        checkpoints: Path,
    ) -> None:
        self._schedule = schedule
        self._clock = clock
        self._warmup = options.warmup
        super().__init__(
            model=model,
            args=_arguments(
                options, checkpoints, steps=len(schedule) // options.windows_per_update
            ),
            train_dataset=windows,
            data_collator=functools.partial(collate, padding=padding),
            callbacks=[clock],
        )
        self.model_accepts_loss_kwargs = False  # the loss is a mean; so are accumulated ones
        for callback in (PrinterCallback, ProgressCallback):
            self.remove_callback(callback)  # type: ignore[no-untyped-call]
        self.add_callback(Progress)  # type: ignore[no-untyped-call]

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """Warm-up, then linear decay, to zero at the last update or when time is up."""

        def factor(step: int) -> float:
            done = self._clock.progress(step, num_training_steps)
            if done < self._warmup:
                return done / self._warmup
            return (1.0 - done) / (1.0 - self._warmup)

        optimizer = optimizer or self.optimizer
        assert optimizer is not None
        self.lr_scheduler = LambdaLR(optimizer, factor)
        return self.lr_scheduler

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mean negative log-likelihood of the hidden pieces."""
        logits, truth = masked_logits(model, inputs)
        loss = functional.cross_entropy(logits, truth, reduction="sum") / max(1, len(truth))
        return (loss, logits) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> Schedule:
        return self._schedule


def last_checkpoint(folder: Path) -> tuple[Path | None, float]:
    """The last checkpoint that was written whole, and the seconds of training behind it."""
    for checkpoint, state in whole_checkpoints(folder):
        try:
            seconds = float(state["stateful_callbacks"][Clock.__name__]["attributes"]["seconds"])
        except (ValueError, KeyError):
            continue
        return checkpoint, seconds
    return None, 0.0


def _arguments(options: PretrainingOptions, folder: Path, *, steps: int) -> TrainingArguments:
    forget_precision()
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation,
        learning_rate=options.rate,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        optim="adamw_torch_fused",
        bf16=options.precision == "bf16",
        fp16=options.precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="no",
        save_strategy="no",  # the clock decides
        save_total_limit=2,
        logging_steps=max(1, min(100, steps // 20)),
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=options.seed,
        label_names=[],
    )
    if arguments.n_gpu > 1:  # one of them: replicas would share the hook that keeps few positions
        arguments._n_gpu = 1
    return arguments
