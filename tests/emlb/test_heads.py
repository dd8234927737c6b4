"""The paper's plainer heads, variants (9) and (10): they learn, export, and decode legally."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from emlb.model.config import EmlbConfig
from emlb.model.linear_relation import LinearRelationHead
from emlb.model.model import EmlbModel
from emlb.model.pretrained import TrainedModel
from emlb.model.softmax import WordSoftmax
from emlb.training.train import train
from emlb_export.export import export
from emlb_runtime import Extractor
from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.labels import LabelScheme
from tests.tiny import TinyRun

SCHEME = LabelScheme(("Disorder", "Drug"))
E = SCHEME.n_labels


def test_softmax_loss_is_cross_entropy_where_labels_are_known() -> None:
    torch.manual_seed(1)
    emissions = torch.randn(2, 4, E)
    labels = torch.randint(0, E, (2, 4))
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    possible = torch.nn.functional.one_hot(labels, E).bool()
    expected = torch.nn.functional.cross_entropy(
        emissions.transpose(1, 2), labels, reduction="none"
    )
    loss = WordSoftmax(SCHEME).loss(emissions, mask, possible)
    torch.testing.assert_close(loss, (expected * mask).sum(dim=1))


def test_softmax_loss_of_unknown_labels() -> None:
    emissions = torch.randn(1, 3, E)
    mask = torch.ones(1, 3, dtype=torch.bool)
    anything = torch.ones(1, 3, E, dtype=torch.bool)
    head = WordSoftmax(SCHEME)
    torch.testing.assert_close(head.loss(emissions, mask, anything), torch.zeros(1))
    some = anything.clone()
    some[0, 1, 2:] = False
    expected = -emissions[0, 1].softmax(dim=-1)[:2].sum().log()
    torch.testing.assert_close(head.loss(emissions, mask, some)[0], expected)


def test_softmax_decodes_whole_mentions() -> None:
    emissions = np.random.default_rng(2).normal(size=(50, 9, E)).astype(np.float32)
    for path in WordSoftmax(SCHEME).deployed().viterbi(emissions, [9] * 50):
        assert SCHEME.legal_start[path[0]]
        assert SCHEME.legal[path[:-1], path[1:]].all()


def test_linear_head_sees_nothing_but_the_two_mentions() -> None:
    torch.manual_seed(3)
    head = LinearRelationHead(8, 2, 3, relation_width=16, dropout=0.0).eval()
    hidden = torch.randn(1, 6, 8)
    mask = torch.ones(1, 6, dtype=torch.long)
    spans = torch.tensor([[[1, 3, 0], [4, 5, 1]]])
    pairs = torch.tensor([[[0, 1], [1, 0]]])
    logits = head(hidden, mask, spans, pairs)
    assert logits.shape == (1, 2, 3)
    assert not torch.allclose(logits[0, 0], logits[0, 1])
    elsewhere = hidden.clone()
    elsewhere[0, [0, 3, 5]] += 1.0
    torch.testing.assert_close(head(elsewhere, mask, spans, pairs), logits)
    within = hidden.clone()
    within[0, 2] += 1.0
    assert not torch.allclose(head(within, mask, spans, pairs), logits)


def test_unknown_heads() -> None:
    with pytest.raises(ConfigError, match="entity_head is one of crf, softmax"):
        EmlbConfig(entity_head="crff")


@pytest.mark.parametrize(
    ("entity_head", "relation_head"),
    [("softmax", "linear"), ("softmax", "bilinear"), ("crf", "linear")],
)
def test_variants_learn_and_export(
    tiny_run: TinyRun, tmp_path: Path, entity_head: str, relation_head: str
) -> None:
    folder = train(
        tiny_run.config,
        overrides=[
            f"output={tmp_path}",
            f"model.entity_head={entity_head}",
            f"model.relation_head={relation_head}",
        ],
    )
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["development"]["notes_entities"] == 1.0
    assert run["development"]["notes_relations"] > 0.8
    trained = TrainedModel.load(folder / "model")
    assert isinstance(trained.model, EmlbModel)
    head = trained.model.head("notes")
    assert isinstance(head.crf, WordSoftmax) == (entity_head == "softmax")
    assert isinstance(head.relation, LinearRelationHead) == (relation_head == "linear")
    notes = [document.note for document in tiny_run.documents]
    expected = trained.pipeline(batch=1).run(notes)
    found = Extractor.load(export(folder, out=tmp_path / "bundle")).extract_many(notes)
    for one, other in zip(expected, found, strict=True):
        assert [(e.start, e.end, e.type) for e in one.entities] == [
            (e.start, e.end, e.type) for e in other.entities
        ]
        assert [(r.type, r.head, r.tail) for r in one.relations] == [
            (r.type, r.head, r.tail) for r in other.relations
        ]
