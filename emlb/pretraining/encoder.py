"""The base encoder with a masked-language-model head, its perplexity, and the encoder alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig, AutoModelForMaskedLM
from transformers.utils import logging

from emlb.model.loading import without_bars
from emlb_runtime.errors import ConfigError

from .masking import IGNORE


@dataclass(frozen=True)
class MaskedEncoder:
    """An encoder to be trained on.

    Attributes:
        model: the encoder and its head.
        fresh_head: whether the head has to be learned too, the base having none.
        attention_dropout: the base's own setting; zero while it is trained, since attention
            without dropout is markedly faster on a CPU.
    """

    model: Any
    fresh_head: bool
    attention_dropout: float | None

    @property
    def max_pieces(self) -> int | None:
        """The longest window that it has positions for; None if there is no limit."""
        positions = getattr(self.model.config, "max_position_embeddings", None)
        if positions is None:
            return None
        embeddings = getattr(self.model.base_model, "embeddings", None)
        padding = getattr(embeddings, "padding_idx", None)  # RoBERTa counts positions from there
        return int(positions) - (0 if padding is None else int(padding) + 1)

    def save(self, folder: Path) -> None:
        """Write the encoder alone, without its head, as safetensors."""
        encoder = self.model.base_model
        if self.attention_dropout is not None:
            encoder.config.attention_probs_dropout_prob = self.attention_dropout
        encoder.config._name_or_path = ""  # a path of the machine it was trained on
        with without_bars():
            encoder.save_pretrained(folder)


def load_masked_encoder(base: str) -> MaskedEncoder:
    """Load a base encoder; one without a head gets one tied to its word embeddings.

    Args:
        base: what ``resolve_base`` returned.

    Raises:
        ConfigError: if no encoder can be loaded from there, or weights of it are missing.
    """
    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=False)
        dropout = getattr(config, "attention_probs_dropout_prob", None)
        if dropout is not None:
            config.attention_probs_dropout_prob = 0.0
        with _quiet(), without_bars() if Path(base).is_dir() else nullcontext():
            model, found = AutoModelForMaskedLM.from_pretrained(
                base, config=config, output_loading_info=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{base}: no encoder for masked words could be loaded ({type(error).__name__}); name "
            "a folder with a BERT-like encoder, a hub id that can be reached, or "
            "package:NAME/FOLDER"
        ) from None
    own = f"{model.base_model_prefix}."
    if lost := [name for name in found["missing_keys"] if name.startswith(own)]:
        raise ConfigError(f"{base}: {len(lost)} weights of the encoder are missing")
    if found["missing_keys"]:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    return MaskedEncoder(model, bool(found["missing_keys"]), dropout)


def masked_logits(model: Any, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Scores of every word piece for the hidden ones.

    The head sees no other positions: with a small encoder it costs as much as the encoder.

    Args:
        model: an encoder with its head.
        batch: of ``collate``.

    Returns:
        Logits (N, V) in single precision and true ids (N,).
    """
    wanted = batch["labels"] != IGNORE

    def keep(module: Any, arguments: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[wanted].unsqueeze(0)
        return output

    hook = model.base_model.register_forward_hook(keep)
    try:
        output = model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            return_dict=True,
        )
    finally:
        hook.remove()
    return output.logits[0].float(), batch["labels"][wanted]


@dataclass(frozen=True)
class Perplexity:
    """How well hidden pieces are guessed.

    Attributes:
        value: e to the mean negative log-likelihood per hidden piece; lower is better.
        pieces: how many were hidden.
    """

    value: float
    pieces: int


def measure(
    model: Any, batches: Iterable[dict[str, Tensor]], *, autocast: torch.dtype | None
) -> Perplexity:
    """The perplexity on hidden pieces.

    Args:
        model: an encoder with its head; its mode is left as it was.
        batches: of ``collate``.
        autocast: compute in this type; None is single precision.
    """
    training, device = model.training, model.device
    model.eval()
    loss, pieces = 0.0, 0
    cast = nullcontext() if autocast is None else torch.autocast(device.type, autocast)
    with torch.inference_mode(), cast:
        for batch in batches:
            logits, truth = masked_logits(
                model, {name: tensor.to(device) for name, tensor in batch.items()}
            )
            loss += float(functional.cross_entropy(logits, truth, reduction="sum"))
            pieces += len(truth)
    model.train(training)
    return Perplexity(math.exp(min(loss / max(1, pieces), 700.0)), pieces)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the list of weights that the checkpoint has no use for, or lacks."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
