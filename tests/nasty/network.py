"""A network that finds something everywhere, without a model: for notes of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from emlb_runtime.bundle.loader import DEFAULT_MODEL
from emlb_runtime.decoding.crf import Crf
from emlb_runtime.inference.backend import Encoded, Floats, Ints
from emlb_runtime.pipeline import Head, Pipeline
from emlb_runtime.schema.task import Task
from emlb_runtime.text.special_tokens import SpecialTokens
from emlb_runtime.text.windows import WindowConfig

TASK = Task(
    "clinical",
    ("Drug", "Disorder"),
    ("causes", "before"),
    (("causes", "Drug", "Disorder"), ("before", "Drug", "Drug")),
)


class Scatter:
    """Scores by piece id alone, from a fixed draw: mentions of all lengths, and relations.

    Attributes:
        windows: how many it has seen.
        pieces: how many they had in all.
    """

    provider = "Scatter"
    precision = "fp32"

    def __init__(self, vocabulary: int) -> None:
        draw = np.random.default_rng(7)
        self._emissions = draw.normal(0.0, 6.0, (vocabulary, TASK.scheme.n_labels))
        self._emissions = self._emissions.astype(np.float32)
        self._emissions[:, 0] += 0.5
        self.windows = self.pieces = 0

    def encode(self, input_ids: Ints, attention_mask: Ints) -> Encoded:
        self.windows += len(input_ids)
        self.pieces += int(attention_mask.sum())
        hidden = input_ids[:, :, None].astype(np.float32)
        return Encoded(hidden, {TASK.name: self._emissions[input_ids]})

    def relate(
        self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints, pairs: Ints
    ) -> Floats:
        firsts = hidden[0, spans[0, :, 0], 0].astype(np.int64)[pairs[0]].sum(axis=1)
        logits: Floats = (firsts[None, :, None] % 101 - np.array([97.5, 98.5])).astype(np.float32)
        return logits

    def describe(self, task: str, hidden: Floats, attention_mask: Ints, spans: Ints) -> Floats:
        raise AssertionError(f"task {task} has no attributes")


def bundled_tokenizer() -> Tokenizer:
    """The bundled model's, as the extractor loads it."""
    tokenizer: Any = Tokenizer.from_file(str(Path(DEFAULT_MODEL) / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def make_pipeline(tokenizer: Tokenizer) -> tuple[Pipeline, Scatter]:
    """A pipeline on such a network, with windows as bundles have them."""
    network = Scatter(tokenizer.get_vocab_size())
    n = TASK.scheme.n_labels
    crf = Crf.constrained(TASK.scheme, np.zeros(n), np.zeros(n), np.zeros((n, n)))
    ids = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[PAD]")]
    special = SpecialTokens(cls=ids[0], sep=ids[1], pad=ids[2])
    heads = [Head(TASK, crf)]
    return Pipeline(network, tokenizer, special, heads, windows=WindowConfig()), network
