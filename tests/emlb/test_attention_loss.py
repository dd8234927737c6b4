"""The two attention losses: their value, what they teach, and what they cost when off."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModel, BertConfig

from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, Supervision, make_examples
from emlb.model import EmlbModel, JointOutput
from emlb.model.attention import eager_twin, open_attention
from emlb.model.pretrained import LoadedTokenizer
from emlb.model.relation import RelationHead
from emlb.training.config import load_config
from emlb.training.loss.attention import EPSILON, attention_loss, cross_attention_loss
from emlb.training.loss.joint import SCALE, JointLoss, Losses, collate
from emlb_runtime.errors import ConfigError
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task
from tests.tiny import RELATIONS, TYPES

SPANS = torch.tensor([[[1, 3, 0], [4, 5, 1], [6, 8, 1]]])
PAIRS = torch.tensor([[[0, 1], [0, 2], [1, 0], [0, 0]]])  # the last one pads


def spread(*shape: int) -> Tensor:
    torch.manual_seed(1)
    return torch.rand(*shape).softmax(dim=-1)


def test_the_attention_loss_is_over_all_tails_of_a_head() -> None:
    attention = spread(1, 9, 9)
    weights = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    mass = attention[0, 1:3].mean(dim=0)[[4, 6, 7]].sum()
    expected = -torch.log((mass + EPSILON) / (1 + EPSILON))
    torch.testing.assert_close(attention_loss(attention, SPANS, PAIRS, weights), expected)
    one = attention_loss(attention, SPANS, PAIRS, torch.tensor([[0.5, 0.0, 0.0, 0.0]]))
    mass = attention[0, 1:3].mean(dim=0)[4]
    torch.testing.assert_close(one, -0.5 * torch.log((mass + EPSILON) / (1 + EPSILON)))


def test_heads_add_up() -> None:
    attention = spread(1, 9, 9)

    def loss(*weights: float) -> Tensor:
        return attention_loss(attention, SPANS, PAIRS, torch.tensor([weights]))

    both = loss(0.0, 1.0, 1.0, 0.0)
    torch.testing.assert_close(both, loss(0.0, 1.0, 0.0, 0.0) + loss(0.0, 0.0, 1.0, 0.0))


def test_the_cross_attention_loss_is_over_both_directions() -> None:
    looks = spread(1, 4, 4, 9)  # two heads for each side
    weights = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    at_tail = looks[0, :2, 1].mean(dim=0)[6:8].sum()
    at_head = looks[0, 2:, 1].mean(dim=0)[1:3].sum()
    expected = -(torch.log(at_tail) + torch.log(at_head)) / 2
    loss = cross_attention_loss(looks, SPANS, PAIRS, weights)
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-4)


def test_perfect_attention_has_no_loss_and_none_a_finite_one() -> None:
    attention = torch.zeros(1, 9, 9, requires_grad=True)
    weights = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    nothing = attention_loss(attention, SPANS, PAIRS, weights)
    nothing.backward()  # type: ignore[no-untyped-call]
    assert 13 < nothing.item() < 14
    assert attention.grad is not None and attention.grad.isfinite().all()
    perfect = torch.zeros(1, 9, 9)
    perfect[..., 4] = 1.25  # as dropout on the weights would scale it
    assert attention_loss(perfect, SPANS, PAIRS, weights).item() == 0.0
    assert attention_loss(perfect, SPANS, PAIRS, torch.zeros(1, 4)).item() == 0.0


Windows = Callable[..., list[Example]]


@pytest.fixture
def windows(pipeline: Pipeline, task: Task, tiny_documents: tuple[Document, ...]) -> Windows:
    def make(*types: str, documents: Sequence[Document] = tiny_documents) -> list[Example]:
        supervision = Supervision(task, Coverage(frozenset(types or {*TYPES, *RELATIONS})))
        return make_examples(documents, supervision, pipeline, Counter())

    return make


def step(
    model: EmlbModel,
    tokenizer: LoadedTokenizer,
    examples: Sequence[Example],
    *,
    attention: bool = True,
    **options: Any,
) -> Losses:
    batch = collate([{"example": e} for e in examples], special=tokenizer.special)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    output: JointOutput = model(ids, mask, attention=attention) if attention else model(ids, mask)
    return JointLoss(model, max_pairs=99, seed=1, **options)(output, mask, examples, predict=False)


def total(losses: Losses) -> float:
    return losses.attention.item() + losses.cross_attention.item()


def test_both_reach_the_encoder(
    model: EmlbModel, tokenizer: LoadedTokenizer, windows: Windows
) -> None:
    open_attention(model)
    for name in ("attention", "cross_attention"):
        model.zero_grad()
        losses = step(model, tokenizer, windows(), cross_attention=True)
        loss = getattr(losses, name)
        assert loss.item() > 0
        loss.backward()
        learning = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        assert "encoder.embeddings.word_embeddings.weight" in learning
        in_head = {n for n in learning if ".relation." in n}
        assert bool(in_head) == (name == "cross_attention")
        if name == "attention":  # the last layer's output is not part of it
            assert "encoder.encoder.layer.1.attention.self.query.weight" in learning
            assert "encoder.encoder.layer.1.attention.self.value.weight" not in learning


def test_only_annotated_related_pairs_count(
    model: EmlbModel,
    tokenizer: LoadedTokenizer,
    windows: Windows,
    tiny_documents: Sequence[Document],
) -> None:
    open_attention(model)
    bare = [replace(document, relations=()) for document in tiny_documents]
    assert total(step(model, tokenizer, windows(documents=bare), cross_attention=True)) == 0.0
    unannotated = windows(*TYPES)
    assert any(example.relations for example in unannotated)
    assert total(step(model, tokenizer, unannotated, cross_attention=True)) == 0.0
    half = step(model, tokenizer, windows(*TYPES, RELATIONS[0]), cross_attention=True)
    whole = step(model, tokenizer, windows(), cross_attention=True)
    assert 0 < half.attention < whole.attention
    assert 0 < half.cross_attention < whole.cross_attention


def test_the_batch_is_its_windows_mean(
    model: EmlbModel, tokenizer: LoadedTokenizer, windows: Windows
) -> None:
    open_attention(model)
    examples = windows()
    together = step(model, tokenizer, examples, cross_attention=True)
    alone = [step(model, tokenizer, [example], cross_attention=True) for example in examples]
    for name in ("entity", "relation", "attention", "cross_attention"):
        mean = torch.stack([getattr(losses, name) for losses in alone]).mean()
        torch.testing.assert_close(getattr(together, name), mean, atol=1e-5, rtol=1e-4)


def partner_mass(model: EmlbModel, tokenizer: LoadedTokenizer, example: Example) -> Tensor:
    """Mean attention from a relation's head mention to its tail: of the encoder, and of both
    sides of the relation head; worked out pair by pair."""
    ids = torch.from_numpy(example.input_ids)[None]
    mask = torch.ones_like(ids)
    pieces = example.word_pieces
    found = []
    with torch.no_grad():
        output = model(ids, mask, attention=True)
        head_of = model.head("notes").relation
        assert isinstance(head_of, RelationHead) and output.attention is not None
        for _, head, tail in example.relations:
            spans = [[pieces[s], pieces[e], t] for s, e, t in example.mentions]
            pairs = torch.tensor([[[head, tail]]])
            _, looks = head_of.look(output.hidden, mask, torch.tensor([spans]), pairs)
            at = [slice(spans[side][0], spans[side][1]) for side in (head, tail)]
            seen = output.attention[0, at[0], at[1]].sum(dim=1).mean()
            half = looks.shape[1] // 2
            to_tail = looks[0, :half, 0, at[1]].sum(dim=-1).mean()
            to_head = looks[0, half:, 0, at[0]].sum(dim=-1).mean()
            found.append(torch.stack([seen, to_tail, to_head]))
    return torch.stack(found).mean(dim=0)


def test_trained_on_a_window_attention_moves_to_the_partners(
    model: EmlbModel, tokenizer: LoadedTokenizer, windows: Windows
) -> None:
    example = next(e for e in windows() if len(e.relations) == 2)
    open_attention(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = partner_mass(model, tokenizer, example)
    losses = []
    for _ in range(30):
        parts = step(model, tokenizer, [example], cross_attention=True)
        loss = parts.attention + parts.cross_attention
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item() / SCALE)
    after = partner_mass(model, tokenizer, example)
    assert losses[-1] < 0.25 * losses[0]
    assert (before < 0.35).all() and (after > 0.6).all(), (before, after)


def test_off_they_leave_no_trace(
    model: EmlbModel, tokenizer: LoadedTokenizer, windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RelationHead, "look", forbid_second_use(RelationHead.look))
    losses = step(model, tokenizer, windows(), attention=False)
    assert (losses.attention.item(), losses.cross_attention.item()) == (0.0, 0.0)
    assert losses.attention.grad_fn is None or not losses.attention.requires_grad
    assert model.encoder.config._attn_implementation == "sdpa"
    batch = collate([{"example": e} for e in windows()], special=tokenizer.special)
    assert model(batch["input_ids"], batch["attention_mask"]).attention is None


def forbid_second_use(look: Callable[..., Any]) -> Callable[..., Any]:
    """Attention is only got on the way to logits: the weights are thrown away."""

    def wrapped(self: RelationHead, *inputs: Tensor) -> Any:
        logits, _ = look(self, *inputs)
        return logits, None

    return wrapped


def test_on_the_other_losses_are_the_same(
    model: EmlbModel, tokenizer: LoadedTokenizer, windows: Windows
) -> None:
    plain = step(model, tokenizer, windows(), attention=False)
    names = list(model.state_dict())
    open_attention(model)
    assert list(model.state_dict()) == names
    both = step(model, tokenizer, windows(), cross_attention=True)
    torch.testing.assert_close(both.entity, plain.entity, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.relation, plain.relation, atol=1e-5, rtol=1e-5)


def test_a_twin_shares_the_weights(model: EmlbModel) -> None:
    twin = eager_twin(model)
    ours = dict(model.encoder.named_parameters())
    for name, parameter in twin.named_parameters():
        assert parameter.data_ptr() == ours[name].data_ptr() and parameter.requires_grad, name


def test_an_encoder_without_attention_is_refused(
    model: EmlbModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = model.encoder

    class Blind(torch.nn.Module):
        def forward(self, **inputs: Any) -> Any:
            return type("Output", (), {"attentions": None})()

        def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
            return None

    monkeypatch.setattr(AutoModel, "from_config", lambda *args, **kwargs: Blind())
    with pytest.raises(ConfigError, match="attention_weight is set, but this encoder has no"):
        open_attention(model)
    assert model.encoder is encoder and isinstance(model.config.encoder_config, BertConfig)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.attention_weight=-1"], "training.attention_weight is -1; it must be 0 or more"),
        (
            ["training.attention_weight=0.5", "training.relation_weight=0"],
            "training.attention_weight is 0.5, but training.relation_weight is 0",
        ),
        (
            ["training.cross_attention_weight=0.5", "training.relation_weight=0"],
            "training.cross_attention_weight is 0.5, but training.relation_weight is 0",
        ),
        (
            ["training.cross_attention_weight=0.5", "model.relation_head=linear"],
            "model.relation_head is 'linear', which has no attention",
        ),
        (["training.loss_weights=free"], "it must be one of ('fixed', 'learned')"),
    ],
)
def test_what_cannot_be_is_refused(overrides: list[str], message: str) -> None:
    recipe = Path(__file__).parents[2] / "emlb" / "recipes" / "ade.toml"
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(recipe, overrides)
