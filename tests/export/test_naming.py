"""Weights by name, of encoders of any kind: a bundle gives the trained model back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AlbertConfig, DistilBertConfig, RobertaConfig

from emlb.model.config import EmlbConfig
from emlb.model.model import EmlbModel
from emlb.model.pretrained import TrainedModel, load_tokenizer
from emlb_export.bundle_writer import add_int8, write_config, write_networks, write_whole
from emlb_export.verify import compare_tensors
from emlb_runtime.bundle.loader import Bundle
from emlb_runtime.bundle.state import read_state
from emlb_runtime.extract import load_pipeline
from emlb_runtime.inference.arithmetic import PRODUCTS, self_test
from emlb_runtime.schema.task import Task
from tests.tiny import WINDOWS

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "max_position_embeddings": 140,
}
TASK = Task("notes", ("Disorder", "Drug"), ("ADE-Drug",), (("ADE-Drug", "Disorder", "Drug"),))
ENCODERS: dict[str, Callable[[int], Any]] = {
    "roberta": lambda n: RobertaConfig(vocab_size=n, pad_token_id=0, **SIZES),
    "distilbert": lambda n: DistilBertConfig(
        vocab_size=n, dim=64, n_layers=2, n_heads=2, hidden_dim=128, max_position_embeddings=140
    ),
    "albert": lambda n: AlbertConfig(vocab_size=n, embedding_size=32, **SIZES),  # shares layers
}


@pytest.mark.parametrize("relation_head", ["bilinear", "linear"])
@pytest.mark.parametrize("kind", ENCODERS)
def test_a_bundle_gives_the_model_back(
    tiny_encoder: Path, tmp_path: Path, kind: str, relation_head: str
) -> None:
    pytest.importorskip("optimum", reason="needs optimum-onnx: pip install 'emlb[optimum]'")
    tokenizer = load_tokenizer(tiny_encoder)
    n_pieces = tokenizer.tokenizer.get_vocab_size()
    torch.manual_seed(1)
    config = EmlbConfig(
        encoder=ENCODERS[kind](n_pieces).to_dict(),
        tasks=[TASK.to_json()],
        windows=asdict(WINDOWS),
        relation_width=64,
        relation_heads=2,
        relation_head=relation_head,
    )
    model = EmlbModel(config)
    torch.nn.Module.eval(model)
    for parameter in model.parameters():  # no two alike, as after a training
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    trained, parts, out = TrainedModel(model, tokenizer), tmp_path / "parts", tmp_path / "bundle"
    parts.mkdir()
    out.mkdir()
    whole = write_whole(model, parts)
    written = write_networks(trained, whole, out, {}, name="m", version="1")

    def parity(bundle: Bundle) -> float:
        torch_backend = trained.pipeline(batch=1).backend
        ours = load_pipeline(bundle, precision="fp32").backend
        tasks, longest = bundle.config.tasks, WINDOWS.max_pieces
        return compare_tensors(
            torch_backend, ours, tasks, vocabulary=n_pieces, max_pieces=longest
        ).worst

    write_config(out, written)
    bundle = Bundle.load(out)
    assert parity(bundle) < 1e-4
    state, before = read_state(bundle), model.state_dict()
    assert state.keys() == before.keys()
    same = [name for name in state if np.array_equal(state[name], before[name].numpy())]
    assert len(same) >= len(state) - 4  # the CRF's and the table of distances are folded

    write_config(out, add_int8(whole, out, written))
    bundle = Bundle.load(out)
    bundle.verify()
    model.load_state_dict(
        {name: torch.from_numpy(value) for name, value in read_state(bundle).items()}
    )
    assert parity(bundle) < 1e-4
    ids = np.arange(5, 45)[None]
    hidden = [
        load_pipeline(bundle, precision="int8", products=products)
        .backend.encode(ids, np.ones_like(ids))
        .hidden
        for products in PRODUCTS
        if self_test(products)
    ]
    assert all(np.array_equal(each, hidden[0]) for each in hidden)
