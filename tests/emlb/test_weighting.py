"""The total loss with fixed and learned weights, and runs that learn them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from emlb.model.pretrained import TrainedModel
from emlb.training.config import TrainingConfig
from emlb.training.loss.joint import Losses
from emlb.training.loss.total import LossBalance
from emlb.training.train import train
from emlb_runtime.errors import ConfigError
from tests.tiny import TinyRun

from .test_training import Killed, history, kill_after

BOTH = [
    "training.attention_weight=0.2",
    "training.cross_attention_weight=0.3",
    "training.loss_weights=learned",
]


def losses(*values: float, attribute: float = 0.0) -> Losses:
    parts = (*values, attribute)
    return Losses(*(torch.tensor(value, requires_grad=True) for value in parts))


def settings(**values: Any) -> TrainingConfig:
    """Of a run whose tasks have no attributes, unless it says otherwise."""
    return TrainingConfig(**{"attribute_weight": 0.0, **values})


def test_fixed_weights() -> None:
    balance = LossBalance(settings(entity_weight=2.0, relation_weight=0.5))
    assert balance(losses(1.5, 4.0, 7.0, 9.0)).item() == 2.0 * 1.5 + 0.5 * 4.0
    assert balance.weights() == {"entity": 2.0, "relation": 0.5}
    assert not list(balance.parameters())
    with_attributes = settings(attribute_weight=0.5)
    assert LossBalance(with_attributes)(losses(1.0, 1.0, 4.0, 8.0, attribute=3.0)).item() == 3.5
    more = settings(attention_weight=0.25, cross_attention_weight=0.125)
    assert LossBalance(more)(losses(1.0, 1.0, 4.0, 8.0)).item() == 4.0


def test_a_part_without_weight_stays_in_the_graph() -> None:
    parts = losses(1.5, 4.0, 0.0, 0.0)
    LossBalance(settings(entity_weight=0.0))(parts).backward()
    assert parts.entity.grad is not None and parts.entity.grad.item() == 0.0


def test_learned_weights_begin_as_configured_and_follow_the_formula() -> None:
    config = settings(relation_weight=0.5, attention_weight=0.25, loss_weights="learned")
    balance = LossBalance(config)
    parts = losses(1.0, 2.0, 4.0, 9.0)
    assert balance(parts).item() == 1.0 + 1.0 + 1.0
    assert balance.log_variance is not None
    with torch.no_grad():
        balance.log_variance.copy_(torch.tensor([0.0, 1.0, -1.0]))
    expected = 1.0 + (math.exp(-1) + 0.5) + (math.exp(1) - 0.5)
    assert balance(parts).item() == pytest.approx(expected)
    assert balance.weights() == pytest.approx(
        {"entity": 1.0, "relation": 0.5 * math.exp(-1), "attention": 0.25 * math.exp(1)}
    )


def test_a_loss_that_stays_is_weighted_by_its_inverse() -> None:
    balance = LossBalance(settings(loss_weights="learned"))
    optimizer = torch.optim.SGD(balance.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        balance(losses(4.0, 0.25, 0.0, 0.0)).backward()
        optimizer.step()
    assert balance.weights() == pytest.approx({"entity": 1 / 8, "relation": 2.0}, rel=1e-3)


def test_what_is_not_in_a_batch_teaches_nothing() -> None:
    balance = LossBalance(settings(loss_weights="learned"))
    balance(losses(4.0, 0.0, 0.0, 0.0)).backward()
    assert balance.log_variance is not None and balance.log_variance.grad is not None
    assert balance.log_variance.grad[0] != 0 and balance.log_variance.grad[1] == 0


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def run(tiny: TinyRun, output: Path, *more: str, said: list[str] | None = None) -> Path:
    overrides = [f"output={output}", "training.epochs=3", *BOTH, *more]
    say = (said if said is not None else []).append
    return train(tiny.config, overrides=overrides, say=say)


@pytest.fixture(scope="module")
def learned(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs with both attention losses and learned weights."""
    said: list[str] = []
    folder = run(tiny_run, tmp_path_factory.mktemp("learned"), said=said)
    (folder / "said.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


def test_learned_weights_are_told_and_logged(learned: Path) -> None:
    told = [line for line in read(learned / "said.json") if line.startswith("epoch ")]
    assert len(told) == 3
    assert told[-1].startswith("epoch 3 of 3; loss weights: entity ")
    entries = history(learned)
    last = [entry for entry in entries if "eval_score" in entry][-1]
    names = ("entity", "relation", "attention", "cross_attention")
    for name, start in zip(names, (1.0, 1.0, 0.2, 0.3), strict=True):
        assert 0 < last[f"eval_{name}_weight"] != start
        assert f"{name} {last[f'eval_{name}_weight']:.3f}" in told[-1]
    parts = [entry for entry in entries if "loss" in entry]
    assert all(parts[-1][f"loss_{name}"] < parts[0][f"loss_{name}"] for name in names)


def test_the_model_leaves_without_them(learned: Path) -> None:
    (last,) = learned.glob("checkpoints/checkpoint-36")
    kept = load_file(last / "model.safetensors")
    assert kept["balance.log_variance"].shape == (4,) and kept["balance.log_variance"].all()
    saved = load_file(learned / "model" / "model.safetensors")
    assert set(kept) - set(saved) == {"balance.log_variance"}
    assert set(TrainedModel.load(learned / "model").model.state_dict()) == set(saved)


def test_a_killed_run_goes_on_to_the_same_end(
    learned: Path, tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revive = kill_after(monkeypatch, 2)
    with pytest.raises(Killed):
        run(tiny_run, tmp_path)
    revive()
    folder = run(tiny_run, tmp_path)
    for weights in ("checkpoints/checkpoint-36/model.safetensors", "model/model.safetensors"):
        unbroken = load_file(learned / weights)
        resumed = load_file(folder / weights)
        assert resumed.keys() == unbroken.keys()
        for name, values in resumed.items():
            torch.testing.assert_close(values, unbroken[name], atol=1e-6, rtol=1e-5, msg=name)


def test_unrelated_pairs_are_drawn_as_in_an_unbroken_run(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ("training.max_pairs=1",)
    unbroken = run(tiny_run, tmp_path / "unbroken", *few)
    revive = kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        run(tiny_run, tmp_path / "broken", *few)
    revive()
    resumed = run(tiny_run, tmp_path / "broken", *few)
    last = Path("checkpoints/checkpoint-36/model.safetensors")
    expected = load_file(unbroken / last)
    for name, values in load_file(resumed / last).items():
        torch.testing.assert_close(values, expected[name], atol=1e-6, rtol=1e-5, msg=name)


def test_a_run_begun_before_a_setting_was_there_goes_on(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"output={tmp_path}", "training.epochs=2"]
    revive = kill_after(monkeypatch, 1)
    with pytest.raises(Killed):
        train(tiny_run.config, overrides=overrides)
    revive()
    kept = tmp_path / "tiny" / "config.json"
    record = read(kept)
    del record["training"]["loss_weights"], record["distillation"]["doubted"]
    del record["task"][0]["attribute"], record["training"]["attribute_weight"]
    kept.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ConfigError, match="other settings"):
        train(tiny_run.config, overrides=[*overrides, "training.loss_weights=learned"])
    said: list[str] = []
    train(tiny_run.config, overrides=overrides, say=said.append)
    assert any(line.startswith("going on from") for line in said)
