"""The joint model: shapes, tasks, saving, optimiser groups, and what its configuration refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModel

from emlb.model import EmlbConfig, EmlbModel
from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.task import Task
from emlb_runtime.text.windows import WindowConfig
from tests.tiny import WINDOWS

OTHER = Task("vitals", ("Test", "Value", "Unit"), ("Value-of",), (("Value-of", "Value", "Test"),))
BARE = Task("people", ("Person",))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Piece ids and mask (2, 9), the second window shorter."""
    ids = torch.tensor([[2, 7, 8, 9, 10, 11, 12, 13, 3], [2, 9, 9, 8, 3, 0, 0, 0, 0]])
    return ids, (ids != 0).long()


def test_forward_shapes(model: EmlbModel, task: Task) -> None:
    ids, mask = batch()
    output = model(ids, mask)
    assert output.hidden.shape == (2, 9, 32) and output.hidden.dtype == torch.float32
    assert {name: scores.shape for name, scores in output.emissions.items()} == {
        "notes": (2, 9, task.scheme.n_labels)
    }
    spans = torch.tensor([[[1, 3, 0], [4, 5, 1]], [[1, 2, 1], [0, 0, 0]]])
    pairs = torch.tensor([[[0, 1], [1, 0], [0, 1]], [[0, 0], [0, 0], [0, 0]]])
    assert model.relate("notes", output.hidden, mask, spans, pairs).shape == (2, 3, 2)


def test_padding_does_not_change_a_window(model: EmlbModel) -> None:
    ids, mask = batch()
    together, alone = model(ids, mask), model(ids[1:, :5], mask[1:, :5])
    torch.testing.assert_close(together.hidden[1:, :5], alone.hidden, atol=1e-5, rtol=1e-5)


def test_several_tasks_share_one_encoder(tiny_encoder: Path, task: Task) -> None:
    model = EmlbModel.from_base(tiny_encoder, [task, OTHER, BARE], windows=WINDOWS)
    model.train(False)
    ids, mask = batch()
    output = model(ids, mask)
    widths = {name: scores.shape[-1] for name, scores in output.emissions.items()}
    assert widths == {"notes": 5, "vitals": 7, "people": 3}
    spans, pairs = torch.tensor([[[1, 3, 0], [4, 5, 1]]]), torch.tensor([[[0, 1]]])
    for name, relations in (("notes", 2), ("vitals", 1)):
        logits = model.relate(name, output.hidden[:1], mask[:1], spans, pairs)
        assert logits.shape == (1, 1, relations)
    output.emissions["vitals"].sum().backward()
    for name, parameter in model.heads.named_parameters():
        assert (parameter.grad is not None) == name.startswith("vitals.emission."), name
    assert any(parameter.grad is not None for parameter in model.encoder.parameters())


def test_the_encoder_keeps_its_weights_and_loses_its_pooler(
    model: EmlbModel, tiny_encoder: Path
) -> None:
    base = AutoModel.from_pretrained(tiny_encoder).state_dict()
    ours = model.encoder.state_dict()
    assert set(ours) == {name for name in base if not name.startswith("pooler.")}
    assert all(torch.equal(ours[name], base[name]) for name in ours)


def test_saved_and_loaded_it_is_the_same(model: EmlbModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    with safe_open(tmp_path / "model.safetensors", framework="np") as weights:
        assert set(weights.keys()) == set(model.state_dict())
    loaded = EmlbModel.from_pretrained(tmp_path)
    assert loaded.config.task_list == model.config.task_list
    assert loaded.config.window_config == model.config.window_config
    for name, values in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], values), name
    ids, mask = batch()
    assert torch.equal(loaded(ids, mask).hidden, model(ids, mask).hidden)
    spans, pairs = torch.tensor([[[1, 3, 0], [4, 5, 1]]]), torch.tensor([[[0, 1], [1, 0]]])
    hidden = model(ids, mask).hidden[:1]
    assert torch.equal(
        loaded.relate("notes", hidden, mask[:1], spans, pairs),
        model.relate("notes", hidden, mask[:1], spans, pairs),
    )


def test_every_parameter_is_in_one_optimiser_group(model: EmlbModel) -> None:
    groups = model.parameter_groups(encoder_rate=1e-4, head_rate=1e-3, weight_decay=0.1)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    settings = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    expected = {
        "encoder.embeddings.word_embeddings.weight": (1e-4, 0.0),
        "encoder.encoder.layer.1.attention.self.query.weight": (1e-4, 0.1),
        "encoder.encoder.layer.1.attention.self.query.bias": (1e-4, 0.0),
        "encoder.encoder.layer.1.output.LayerNorm.weight": (1e-4, 0.0),
        "heads.notes.emission.weight": (1e-3, 0.1),
        "heads.notes.emission.bias": (1e-3, 0.0),
        "heads.notes.crf.transitions": (1e-3, 0.0),
        "heads.notes.relation.key.weight": (1e-3, 0.1),
    }
    parameters = dict(model.named_parameters())
    assert {name: settings[id(parameters[name])] for name in expected} == expected


def test_rates_fall_towards_the_embeddings(model: EmlbModel) -> None:
    groups = model.parameter_groups(
        encoder_rate=1e-4, head_rate=1e-3, weight_decay=0.1, layer_decay=0.5
    )
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    parameters = dict(model.named_parameters())
    expected = {
        "encoder.encoder.layer.1.attention.self.query.weight": 1e-4,
        "encoder.encoder.layer.0.attention.self.query.weight": 5e-5,
        "encoder.embeddings.word_embeddings.weight": 2.5e-5,
        "heads.notes.emission.weight": 1e-3,
    }
    assert {name: rates[id(parameters[name])] for name in expected} == pytest.approx(expected)
    assert len(rates) == len(parameters)


def test_same_seed_same_heads(tiny_encoder: Path, task: Task) -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(EmlbModel.from_base(tiny_encoder, [task], windows=WINDOWS).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_overrides_reach_the_encoder_and_unknown_ones_do_not(
    tiny_encoder: Path, task: Task
) -> None:
    changes = {"hidden_dropout_prob": 0.25, "attention_probs_dropout_prob": 0.0, "dropout": 0.9}
    model = EmlbModel.from_base(tiny_encoder, [task], windows=WINDOWS, encoder_overrides=changes)
    config = model.encoder.config
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.25, 0.0)
    assert not hasattr(config, "dropout")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"relation_width": 30, "relation_heads": 4}, "relation_width 30 is not a multiple of"),
        ({"windows": {"max_pieces": 160, "overlap": 24}}, "encoder has 128 positions"),
        ({"windows": {"max_pieces": 20, "overlap": 4}}, "windows.max_pieces is 20; it must be"),
        ({"windows": {"max_pieces": 60, "overlap": 21}}, "windows.overlap is 21; it must lie"),
    ],
)
def test_configuration_errors(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EmlbConfig(encoder={"model_type": "bert", "max_position_embeddings": 128}, **values)


def test_windows_beyond_the_encoder_are_refused(tiny_encoder: Path, task: Task) -> None:
    with pytest.raises(ConfigError, match="129, but the encoder has 128 positions"):
        EmlbModel.from_base(tiny_encoder, [task], windows=WindowConfig(max_pieces=129))


def test_configuration_survives_json(model: EmlbModel, task: Task, tmp_path: Path) -> None:
    model.config.save_pretrained(tmp_path)
    loaded = EmlbConfig.from_pretrained(tmp_path)
    assert loaded.task_list == [Task.from_json(task.to_json())]
    assert loaded.window_config == WINDOWS
    assert loaded.encoder_config.hidden_size == 32
    assert (loaded.relation_width, loaded.relation_heads, loaded.head_dropout) == (32, 2, 0.1)
