"""The transformers ``Trainer`` with the joint loss and the deployed decoder's scores."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from emlb.data.examples import ExampleSet
from emlb.model.model import EmlbModel
from emlb_runtime.pipeline import Special

from .config import RunConfig, TrainingConfig
from .loss import JointLoss, collate
from .precision import forget_precision
from .sampling import DatasetSampler


class JointTrainer(Trainer):
    """Trains an ``EmlbModel``; evaluation extracts and scores as deployed.

    Args:
        model: the network.
        config: the run.
        examples: training windows.
        special: ids of the padding and mask tokens.
        scorer: development scores of the model, with ``score`` the one to maximise.
        checkpoints: folder for checkpoints.
        **kwargs: for ``Trainer`` (callbacks).
    """

    def __init__(
        self,
        model: EmlbModel,
        *,
        config: RunConfig,
        examples: ExampleSet,
        special: Special,
        scorer: Callable[[EmlbModel], dict[str, float]],
        checkpoints: str,
        **kwargs: Any,
    ) -> None:
        self._config = config.training
        self._joint = model
        self._scorer = scorer
        self._examples = examples
        self._loss = JointLoss(
            model,
            max_pairs=config.training.max_pairs,
            seed=config.seed,
            learned=config.training.learned,
        )
        super().__init__(
            model=model,
            args=_arguments(config, checkpoints, n_examples=len(examples)),
            train_dataset=examples,
            eval_dataset=examples,  # only its presence is asked for: ``evaluate`` is our own
            data_collator=lambda items: collate(
                items, special=special, word_dropout=config.training.word_dropout
            ),
            **kwargs,
        )

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
        """Equation (11) on a batch of ``collate``."""
        mask = inputs["attention_mask"]
        output = model(input_ids=inputs["input_ids"], attention_mask=mask)
        done = self.state.global_step / max(1, self.state.max_steps)
        with torch.autocast(mask.device.type, enabled=False):  # the CRF needs single precision
            losses = self._loss(
                output, mask, inputs["examples"], predict=done >= self._config.predicted_from
            )
        loss = (
            self._config.entity_weight * losses.entity
            + self._config.relation_weight * losses.relation
        )
        return (loss, output) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Development scores through the deployed decoder, as ``eval_…`` metrics."""
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        metrics = {f"eval_{name}": value for name, value in self._scorer(model).items()}
        model.train(training)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


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
        warmup_ratio=training.warmup,
        lr_scheduler_type="linear",
        max_grad_norm=training.max_grad_norm,
        bf16=training.precision == "bf16",
        fp16=training.precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        group_by_length=True,
        eval_strategy="steps",
        eval_steps=interval,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="score",
        greater_is_better=True,
        logging_steps=max(1, interval // 4),
        report_to=["tensorboard"] if training.tensorboard else [],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        seed=config.seed,
        label_names=[],
    )
