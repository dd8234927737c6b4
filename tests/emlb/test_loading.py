"""Encoders and tokenizers of many kinds load as they were saved, whatever transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, normalizers
from transformers import CONFIG_MAPPING, AutoModel

from emlb.model.loading import read_tokenizer, without_bars
from emlb.model.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, TrainedModel, load_tokenizer
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task
from tests import architectures
from tests.tiny import WINDOWS

# The classes that checkpoints on the hub name, by the tokenizer that such a class is for.
CLASSES = {
    "roberta": "RobertaTokenizerFast",
    "xlm-roberta": "XLMRobertaTokenizerFast",
    "electra": "ElectraTokenizerFast",
    "distilbert": "DistilBertTokenizerFast",
}
SAMPLE = "Café NAÏVE\u2002pt's  two  spaces\n\ttab, 10mg/kg β-blocker 北京 x² ﬁbrosis [SEP]"


@pytest.fixture
def texts(tiny_documents: tuple[Document, ...]) -> list[str]:
    return [document.note.text for document in tiny_documents]


@pytest.mark.parametrize("architecture", architectures.KINDS)
def test_a_model_is_the_same_once_loaded(
    architecture: str, texts: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if architecture not in CONFIG_MAPPING:
        pytest.skip(f"the installed transformers has no {architecture}")
    base = architectures.build_encoder(architecture, tmp_path / "base", texts)
    capfd.readouterr()
    model = EmlbModel.from_base(base, [Task("notes", ("Drug",))], windows=WINDOWS)
    model.train(False)
    TrainedModel(model, load_tokenizer(base)).save(tmp_path / "model")
    loaded = TrainedModel.load(tmp_path / "model")
    assert capfd.readouterr().err == ""
    ids = torch.randint(5, 100, (2, 33), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 20:] = 0
    with torch.inference_mode():
        before, after = (each(ids, mask) for each in (model, loaded.model))
    real = mask.bool()
    assert torch.equal(before.hidden[real], after.hidden[real])
    assert torch.equal(before.emissions["notes"][real], after.emissions["notes"][real])
    pieces = load_tokenizer(base).tokenizer.encode(SAMPLE, add_special_tokens=False)
    again = loaded.tokenizer.tokenizer.encode(SAMPLE, add_special_tokens=False)
    assert (pieces.ids, pieces.offsets) == (again.ids, again.offsets)


@pytest.mark.parametrize("architecture", CLASSES)
def test_the_rules_of_the_file_hold_whatever_the_class(
    architecture: str, texts: list[str], tmp_path: Path
) -> None:
    """transformers 5 would build the tokenizer anew, with the rules of its class."""
    folder = architectures.build_encoder(architecture, tmp_path / "base", texts)
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**values, "tokenizer_class": CLASSES[architecture]}))
    filed = Tokenizer.from_file(str(folder / "tokenizer.json"))
    filed.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.Replace("10", "aa")])
    filed.save(str(folder / "tokenizer.json"))
    filed.encode_special_tokens = True
    wanted = filed.encode(SAMPLE, add_special_tokens=False)
    loaded = load_tokenizer(folder)
    for tokenizer in (loaded, saved_and_loaded(loaded, tmp_path / "again")):
        got = tokenizer.tokenizer.encode(SAMPLE, add_special_tokens=False)
        assert (got.ids, got.offsets) == (wanted.ids, wanted.offsets)


def saved_and_loaded(tokenizer: LoadedTokenizer, folder: Path) -> LoadedTokenizer:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "emlb"}')
    tokenizer.save(folder)
    return load_tokenizer(folder)


def test_special_tokens_that_the_file_lacks(texts: list[str], tmp_path: Path) -> None:
    folder = architectures.build_encoder("electra", tmp_path / "base", texts)
    config = folder / "tokenizer_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps({**values, "mask_token": "<hidden>"}))
    loaded = load_tokenizer(folder)
    assert loaded.special.mask == loaded.tokenizer.token_to_id("<hidden>")
    assert loaded.tokenizer.get_vocab() == loaded.source.get_vocab()


def test_a_saved_tokenizer_names_a_class_that_transformers_4_knows(
    texts: list[str], tmp_path: Path
) -> None:
    folder = architectures.build_encoder("roberta", tmp_path / "base", texts)
    load_tokenizer(folder).save(tmp_path)
    values = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert values["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_without_a_file_it_is_what_transformers_builds(tiny_encoder: Path, tmp_path: Path) -> None:
    source = load_tokenizer(tiny_encoder).source
    assert read_tokenizer(tmp_path, source) is source.backend_tokenizer
    assert read_tokenizer("nobody/nothing", source) is source.backend_tokenizer


def test_a_checkpoint_in_half_precision_is_trained_in_single(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    AutoModel.from_pretrained(tiny_encoder).half().save_pretrained(tmp_path)
    model = EmlbModel.from_base(tmp_path, [Task("notes", ("Drug",))], windows=WINDOWS)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    model.save_pretrained(tmp_path / "model")
    loaded = EmlbModel.from_pretrained(tmp_path / "model")
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}


def test_bars_are_back_afterwards() -> None:
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    with without_bars():
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled() is before
