"""Learning on from a trained model's weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from emlb.model.model import EmlbModel
from emlb.model.pretrained import TrainedModel
from emlb.training.run import train
from emlb.training.start import load_alike, take_weights
from emlb_runtime.errors import ArtefactError, ConfigError
from tests.tiny import WINDOWS, TinyRun


def test_a_run_begins_with_the_weights_it_starts_from(tiny_run: TinyRun, tmp_path: Path) -> None:
    folder = train(
        tiny_run.config,
        overrides=[
            f"output={tmp_path}",
            "name=further",
            f"data={json.dumps(str(tiny_run.data.parent))}",
            f"start={json.dumps(str(tiny_run.folder))}",
            "training.epochs=1",
            "training.encoder_rate=1e-9",
            "training.head_rate=1e-9",
        ],
    )
    before, after = (
        TrainedModel.load(each / "model").model.state_dict() for each in (tiny_run.folder, folder)
    )
    assert before.keys() == after.keys()
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, atol=1e-5, rtol=0)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["config"]["start"] == str(tiny_run.folder)


def test_models_that_do_not_fit(tiny_run: TinyRun, tiny_encoder: Path, tmp_path: Path) -> None:
    trained = TrainedModel.load(tiny_run.model)
    tasks, tokenizer = trained.model.config.task_list, trained.tokenizer
    other = EmlbModel.from_base(tiny_encoder, tasks, windows=WINDOWS, relation_width=16)
    with pytest.raises(ConfigError, match="is not as in this run; give both the same base"):
        take_weights(other, tiny_run.folder, tasks, tokenizer)
    renamed = [replace(task, name="another") for task in tasks]
    with pytest.raises(ConfigError, match="start .* its task another does not have"):
        take_weights(trained.model, tiny_run.folder, renamed, tokenizer)
    with pytest.raises(ArtefactError, match="not a trained model"):
        load_alike(tmp_path, tasks, tokenizer, role="start")
