"""Rates by epochs, and runs until converged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from emlb.training.config import TrainingConfig
from emlb.training.schedule import epoch_schedule
from emlb.training.train import train
from emlb_runtime.errors import ConfigError
from tests.tiny import TinyRun

from .test_training import Killed, history, kill_after


def rates(updates: int, **settings: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=8.0)
    schedule = epoch_schedule(optimizer, updates_per_epoch=4, **settings)
    seen = []
    for _ in range(updates):
        seen.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return seen


def test_rates_fall_at_the_end_of_an_epoch() -> None:
    assert rates(12, warmup=0.0, decay=0.5) == [8.0] * 4 + [4.0] * 4 + [2.0] * 4


def test_rates_rise_in_the_first_epoch() -> None:
    assert rates(6, warmup=0.5, decay=0.5) == [0.0, 4.0, 8.0, 8.0, 4.0, 4.0]
    assert rates(5, warmup=0.5, decay=1.0) == [0.0, 4.0, 8.0, 8.0, 8.0]


def test_a_decay_that_is_none_is_refused() -> None:
    for decay in (0.0, 1.5):
        with pytest.raises(ConfigError, match="epoch_decay is .*; it must be above 0 and at most"):
            TrainingConfig(epoch_decay=decay)


def test_a_run_until_converged(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with its patience at an end, a run does not train on when it is resumed."""

    def run(name: str) -> Path:
        overrides = [
            f"output={tmp_path / name}",
            "training.epochs=40",
            "training.patience=2",
            "training.schedule=epoch",
            "training.epoch_decay=0.8",
        ]
        return train(tiny_run.config, overrides=overrides)

    folder = run("unbroken")
    entries = [entry for entry in history(folder) if "eval_score" in entry]
    assert 3 <= len(entries) < 12
    best = max(entry["eval_score"] for entry in entries)
    assert [entry["eval_score"] == best for entry in entries].index(True) == len(entries) - 3
    learning = {e["epoch"]: e["learning_rate"] for e in history(folder) if "loss" in e}
    assert learning[3.0] == pytest.approx(3e-3 * 0.8**2)  # the rate of its last update

    for number, checkpoints in enumerate((len(entries) - 1, len(entries))):
        revive = kill_after(monkeypatch, checkpoints)
        with pytest.raises(Killed):
            run(f"broken{number}")
        revive()
        resumed = run(f"broken{number}")
        scored = [entry for entry in history(resumed) if "eval_score" in entry]
        assert len(scored) == len(entries)
        expected = load_file(folder / "model" / "model.safetensors")
        for name, values in load_file(resumed / "model" / "model.safetensors").items():
            torch.testing.assert_close(values, expected[name], atol=1e-5, rtol=1e-4, msg=name)
    steps = json.loads((folder / "run.json").read_text("utf-8"))["steps"]
    assert steps == 12 * len(entries)
