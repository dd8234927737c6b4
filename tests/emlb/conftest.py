"""What the tests of the torch side share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from emlb.model import EmlbModel
from emlb.model.pretrained import LoadedTokenizer, load_tokenizer, make_pipeline
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.schema.task import Task
from tests.tiny import RELATIONS, TYPES, WINDOWS

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def task() -> Task:
    """The types of the eight notes; adverse events lead from a disorder to a drug."""
    signatures = (("ADE-Drug", "Disorder", "Drug"), ("Treats", "Drug", "Disorder"))
    return Task("notes", TYPES, RELATIONS, signatures)


@pytest.fixture(scope="session")
def tokenizer(tiny_encoder: Path) -> LoadedTokenizer:
    """The tiny encoder's tokenizer."""
    return load_tokenizer(tiny_encoder)


@pytest.fixture
def model(tiny_encoder: Path, task: Task) -> EmlbModel:
    """An untrained model of that task, without dropout."""
    torch.manual_seed(5)  # not the encoder's own
    made = EmlbModel.from_base(
        tiny_encoder, [task], windows=WINDOWS, relation_width=32, relation_heads=2
    )
    made.train(False)
    return made


@pytest.fixture
def pipeline(model: EmlbModel, tokenizer: LoadedTokenizer) -> Pipeline:
    """The runtime's pipeline on the untrained model: it tokenises and cuts as deployed."""
    return make_pipeline(model, tokenizer)
