"""The transformers ``Trainer`` with the joint loss and the deployed decoder's scores."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import ProgressCallback, Trainer, TrainingArguments

from emlb.examples.examples import ExampleSet
from emlb.model.attention import open_attention
from emlb.model.loading import without_bars
from emlb.model.model import EmlbModel
from emlb_runtime.text.special_tokens import SpecialTokens

from .compat import schedule_arguments
from .config import RunConfig, TrainingConfig
from .loss.joint import JointLoss, Losses, collate
from .loss.total import LossBalance
from .precision import forget_precision
from .progress import Progress
from .sampling import DatasetSampler
from .schedule import epoch_schedule


class JointTrainer(Trainer):
    """Trains an ``EmlbModel``; evaluation extracts and scores as deployed.

    Args:
        model: the network.
        config: the run.
        examples: training windows.
        special: ids of the padding and mask tokens.
        scorer: development scores of the model, with ``score`` the one to maximise.
        checkpoints: folder for checkpoints.
        say: receives lines for the user.
        **kwargs: for ``Trainer`` (callbacks).

    Raises:
        ConfigError: if there is a weight for the encoder's attention, and it has none.
    """

    def __init__(
        self,
        model: EmlbModel,
        *,
        config: RunConfig,
        examples: ExampleSet,
        special: SpecialTokens,
        scorer: Callable[[EmlbModel], dict[str, float]],
        checkpoints: str,
        say: Callable[[str], None] = lambda line: None,
        **kwargs: Any,
    ) -> None:
        self._config = config.training
        if not any(task.attribute for task in config.task):  # nothing to weigh or to log
            self._config = replace(self._config, attribute_weight=0.0)
        self._joint = model
        self._say = say
        self._sums: Counter[str] = Counter()
        if config.training.attention_weight:
            open_attention(model)
        # A part of the model while it trains: checkpoints, clipping and several processes
        # then treat learned loss weights as they do every parameter.
        self._balance = LossBalance(self._config)
        model.add_module("balance", self._balance)
        self._scorer = scorer
        self._examples = examples
        self._loss = JointLoss(
            model,
            max_pairs=config.training.max_pairs,
            seed=config.seed,
            learned=config.training.learned,
            cross_attention=config.training.cross_attention_weight > 0,
            temperature=config.distillation.temperature,
            attributes=self._config.attribute_weight > 0,
        )
        super().__init__(
            model=model,
            args=_arguments(config, checkpoints, n_examples=len(examples)),
            train_dataset=examples,
            eval_dataset=examples,  # only its presence is asked for: ``evaluate`` is our own
            data_collator=lambda items: collate(
                items,
                special=special,
                word_dropout=config.training.word_dropout,
                mention_dropout=config.training.mention_dropout,
            ),
            **kwargs,
        )
        bars = self.callback_handler
        if bars.pop_callback(ProgressCallback) is not None:  # there is none if bars are off
            bars.add_callback(Progress)

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, and leave the model without the weights of the losses."""
        try:
            with without_bars():  # of every checkpoint; the bar of the training is another
                return super().train(*args, **kwargs)
        finally:
            self._joint._modules.pop("balance", None)

    def create_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with separate rates for encoder and heads."""
        if self.optimizer is None:
            groups = self._joint.parameter_groups(
                encoder_rate=self._config.encoder_rate,
                head_rate=self._config.head_rate,
                weight_decay=self._config.weight_decay,
                layer_decay=self._config.layer_decay,
            )
            self.optimizer = torch.optim.AdamW(groups, fused=True)
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> Any:
        """Rates that fall with every update, or from epoch to epoch."""
        if self._config.schedule == "linear" or self.lr_scheduler is not None:
            return super().create_scheduler(
                num_training_steps, optimizer or self.create_optimizer()
            )
        self.lr_scheduler = epoch_schedule(
            optimizer or self.create_optimizer(),
            updates_per_epoch=max(1, num_training_steps // self._config.epochs),
            warmup=self._config.warmup,
            decay=self._config.epoch_decay,
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Algorithm 1's draw if asked for; else windows of like length, whatever the corpus."""
        if self._config.sampling == "mixed":
            return super()._get_train_sampler(train_dataset)
        sources: dict[int, int] = {}  # corpora in the order met, by their supervision
        examples = self._examples.examples
        return DatasetSampler(
            [sources.setdefault(id(e.supervision), len(sources)) for e in examples],
            [len(example.input_ids) for example in examples],
            batch_size=self._config.batch_size,
            sampling=self._config.sampling,
            seed=self.args.seed,
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Algorithm 1's total loss on a batch of ``collate``."""
        mask = inputs["attention_mask"]
        asked = {"attention": True} if self._config.attention_weight else {}
        output = model(input_ids=inputs["input_ids"], attention_mask=mask, **asked)
        done = self.state.global_step / max(1, self.state.max_steps)
        with torch.autocast(mask.device.type, enabled=False):  # the CRF needs single precision
            losses = self._loss(
                output, mask, inputs["examples"], predict=done >= self._config.predicted_from
            )
            loss = self._balance(losses)
        self._count(losses)
        return (loss, output) if return_outputs else loss

    def _count(self, losses: Losses) -> None:
        """Add to the sums of which ``log`` gives the means."""
        self._sums["batches"] += 1
        for name in self._balance.names:
            self._sums[name] += getattr(losses, name).detach()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """See ``Trainer``; beside the loss, its parts without their weights."""
        if "loss" in logs and self._sums["batches"]:
            batches = self._sums.pop("batches")
            logs |= {
                f"loss_{name}": round(float(total) / batches, 4)
                for name, total in self._sums.items()
            }
            self._sums.clear()
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Development scores through the deployed decoder, as ``eval_…`` metrics."""
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        self._say(self._progress())
        metrics = {f"eval_{name}": value for name, value in self._scorer(model).items()}
        model.train(training)
        if self._config.loss_weights == "learned":
            weights = self._balance.weights().items()
            metrics |= {f"eval_{name}_weight": value for name, value in weights}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _progress(self) -> str:
        line = f"epoch {round(self.state.epoch or 0, 2):g} of {self._config.epochs}"
        if self._config.loss_weights == "fixed":
            return line
        weights = self._balance.weights().items()
        return f"{line}; loss weights: " + ", ".join(f"{n} {value:.3f}" for n, value in weights)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)  # type: ignore[no-untyped-call]
        state = json.dumps(self._loss.generator.bit_generator.state)
        self._draws(output_dir).write_text(state, encoding="utf-8")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)  # type: ignore[no-untyped-call]
        if checkpoint is not None and (kept := self._draws(checkpoint)).is_file():
            self._loss.generator.bit_generator.state = json.loads(kept.read_text("utf-8"))

    def _draws(self, checkpoint: str) -> Path:
        """Where a checkpoint keeps the state of the draw of unrelated pairs."""
        return Path(checkpoint) / f"draws_{self.args.process_index}.json"


def _arguments(config: RunConfig, checkpoints: str, *, n_examples: int) -> TrainingArguments:
    training: TrainingConfig = config.training
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun and accelerate set it
    per_update = training.batch_size * training.gradient_accumulation * processes
    per_epoch = max(1, -(-n_examples // per_update))
    interval = max(1, per_epoch // training.evaluations_per_epoch)
    forget_precision()
    return TrainingArguments(
        output_dir=checkpoints,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation,
        learning_rate=training.encoder_rate,
        lr_scheduler_type="linear",
        max_grad_norm=training.max_grad_norm,
        bf16=training.precision == "bf16",
        fp16=training.precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        **schedule_arguments(warmup=training.warmup),
        eval_strategy="steps",
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
        logging_steps=max(1, interval // 4),
        report_to=["tensorboard"] if training.tensorboard else [],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=config.seed,
        label_names=[],
    )
