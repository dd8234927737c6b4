"""Tiny random encoders of many architectures, each with a fast tokenizer of its usual kind.

torch and transformers are imported inside the functions, as in ``tests.tiny``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

KINDS = {
    "roberta": "bytes",
    "distilbert": "words",
    "electra": "words",
    "mpnet": "words",
    "deberta-v2": "sentencepiece",
    "xlm-roberta": "sentencepiece",
    "modernbert": "bytes",
}
"""Architectures by transformers' names, with the kind of their tokenizer."""

SPECIAL = {"words": "[PAD] [UNK] [CLS] [SEP] [MASK]", "bytes": "<pad> <unk> <s> </s> <mask>"}
SPECIAL["sentencepiece"] = SPECIAL["bytes"]
PADDING = 0

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 130,
    "initializer_range": 0.1,
    "pad_token_id": PADDING,
}
_OWN: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 16},  # narrower than the layers, so that it is projected
    "deberta-v2": {  # as in DeBERTa-v3, with the convolution of v2
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
        "type_vocab_size": 0,
        "conv_kernel_size": 3,
        "conv_act": "gelu",
    },
    "modernbert": {  # one layer that sees everything, one that sees 16 pieces
        "global_attn_every_n_layers": 2,
        "local_attention": 16,
        "cls_token_id": 2,
        "sep_token_id": 3,
        "bos_token_id": 2,
        "eos_token_id": 3,
    },
}


def build_tokenizer(kind: str, texts: Sequence[str]) -> Tokenizer:
    """Train a tokenizer on a few texts.

    Args:
        kind: ``words`` (lower-casing WordPiece), ``bytes`` (byte-level BPE) or
            ``sentencepiece`` (Unigram over words that begin with a mark).
        texts: to learn pieces from.
    """
    special = SPECIAL[kind].split()
    if kind == "words":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
    elif kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=letters
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.normalizer = normalizers.NFKC()
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=200, special_tokens=special, unk_token=special[1]
        )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def build_encoder(architecture: str, folder: Path, texts: Sequence[str]) -> Path:
    """Write an untrained encoder, 32 wide with two layers, and its tokenizer.

    Args:
        architecture: a key of ``KINDS``.
        folder: to write to.
        texts: that the tokenizer learns its pieces from.

    Returns:
        The folder.
    """
    import torch
    from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

    kind = KINDS[architecture]
    tokenizer = build_tokenizer(kind, texts)
    pad, unknown, first, last, mask = SPECIAL[kind].split()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=first,
        sep_token=last,
        mask_token=mask,
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=tokenizer.get_vocab_size(),
        **{**_SIZES, **_OWN.get(architecture, {})},
    )
    AutoModel.from_config(config).save_pretrained(folder)
    return folder
