"""The relation head: what its logits may depend on, and what not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from emlb.model.gather import pick, pick_sides
from emlb.model.relation import DISTANCES, MASKED, RelationHead, find_cuts

WIDTH, N_TYPES, N_RELATIONS = 16, 3, 4


class Inputs(NamedTuple):
    hidden: Tensor
    attention_mask: Tensor
    spans: Tensor
    pairs: Tensor


@pytest.fixture
def head() -> RelationHead:
    torch.manual_seed(5)
    made = RelationHead(
        WIDTH, N_TYPES, N_RELATIONS, relation_width=8, n_heads=2, dropout=0.1
    ).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.5)
    return made


@pytest.fixture
def inputs() -> Inputs:
    """Two windows of 20 pieces, four spans each, all their ordered pairs."""
    torch.manual_seed(6)
    spans = torch.tensor(
        [
            [[1, 3, 0], [4, 5, 1], [8, 12, 2], [18, 20, 0]],
            [[2, 4, 1], [2, 3, 0], [10, 11, 1], [15, 19, 2]],
        ]
    )
    pairs = torch.tensor([[a, b] for a in range(4) for b in range(4) if a != b])
    mask = torch.ones(2, 20, dtype=torch.long)
    return Inputs(torch.randn(2, 20, WIDTH), mask, spans, pairs.repeat(2, 1, 1))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def by_the_equation(head: RelationHead, inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Logits (P, R) and attention (2·heads, P, T) of one window, pair after pair."""
    hidden, attention_mask, spans, pairs = inputs
    place, width = torch.arange(hidden.shape[0]), head.head_width
    types = spans[:, 2]
    typed = torch.zeros_like(hidden)
    for start, end, kind in spans.tolist():
        typed[start:end] += head.piece_type.weight[kind]
    pieces = head.piece_norm(hidden + typed)
    vectors = []
    for start, end, _ in spans.tolist():
        mean = pieces[start:end].mean(dim=0)
        vectors.append(torch.cat([pieces[start], pieces[end - 1], mean]))
    span = head.span(torch.stack(vectors)) + head.span_type(types)
    all_logits, all_weights = [], []
    for one, other in pairs.tolist():
        (start, end), (from_, to) = spans[one, :2].tolist(), spans[other, :2].tolist()
        gap_start, gap_end = min(end, to), max(start, from_)
        kinds = [
            (place >= start) & (place < end),
            (place >= from_) & (place < to),
            (place >= gap_start) & (place < gap_end),
            place < min(start, from_),
            place >= max(end, to),
        ]
        bias = (
            head.place(torch.stack(kinds, dim=-1).float()) + (1 - attention_mask)[:, None] * MASKED
        )
        asked = head.query_head(span[one]) + head.query_tail(span[other])
        weights, answer = [], []
        for number in range(2 * head.n_heads):
            part = slice(number % head.n_heads * width, (number % head.n_heads + 1) * width)
            query = asked[number * width : (number + 1) * width]
            scores = head.key(pieces)[:, part] @ query / width**0.5 + bias[:, number]
            weights.append(scores.softmax(dim=0))
            answer.append(weights[-1] @ head.value(pieces)[:, part])
        bucket = sum(gap_end - gap_start >= bound for bound in DISTANCES)
        bucket += (len(DISTANCES) + 1) * (from_ < start)
        pair = torch.cat([span[one], span[other]]) + torch.cat(answer)
        pair = head.pair_norm(pair + head.distance.weight[bucket])
        all_logits.append(head.output(nn.functional.gelu(head.hidden(pair))))
        all_weights.append(torch.stack(weights))
    return torch.stack(all_logits), torch.stack(all_weights, dim=1)


def test_logits_and_attention_are_those_of_the_equation(head: RelationHead, inputs: Inputs) -> None:
    """The second window's mentions are nested; one window ends early and has padding inside."""
    mask = inputs.attention_mask.clone()
    mask[1, 12:] = 0
    inputs = inputs._replace(attention_mask=mask)
    logits, weights = head.look(*inputs)
    for row in range(2):
        window = Inputs(*(values[row] for values in inputs))
        expected = by_the_equation(head, window)
        close(logits[row], expected[0])
        close(weights[row], expected[1])


def test_pick_takes_rows_of_its_own_window() -> None:
    values = torch.arange(24).reshape(2, 3, 4)
    index = torch.tensor([[[0, 2], [1, 1]], [[2, 0], [0, 0]]])
    rows = pick(values, index)
    assert rows.shape == (2, 2, 2, 4)
    for window, pair, side in np.ndindex(2, 2, 2):
        assert rows[window, pair, side].equal(values[window, index[window, pair, side]])
    assert pick_sides(values, index, width=4).equal(rows.reshape(2, 2, 8))
    assert pick(values, index[..., 1]).equal(rows[:, :, 1])


@pytest.mark.parametrize(
    ("head_at", "tail_at", "cuts"),
    [
        ((2, 4), (7, 9), (2, 4, 7, 9)),
        ((7, 9), (2, 4), (2, 4, 7, 9)),
        ((2, 4), (4, 5), (2, 4, 4, 5)),
        ((2, 6), (4, 9), (2, 6, 6, 9)),
        ((2, 9), (4, 5), (2, 5, 5, 9)),
        ((3, 5), (3, 5), (3, 5, 5, 5)),
    ],
)
def test_nothing_is_between_mentions_that_touch_or_overlap(
    head_at: tuple[int, int], tail_at: tuple[int, int], cuts: tuple[int, ...]
) -> None:
    found, _ = find_cuts(torch.tensor([[[head_at, tail_at]]]))
    assert tuple(found[0, :, 0].tolist()) == cuts


def test_padding_of_spans_pairs_and_pieces_changes_nothing(
    head: RelationHead, inputs: Inputs
) -> None:
    logits = head(*inputs)
    assert logits.shape == (2, 12, N_RELATIONS)
    padded = head(
        torch.cat([inputs.hidden, 100 * torch.randn(2, 7, WIDTH)], dim=1),
        torch.cat([inputs.attention_mask, torch.zeros(2, 7, dtype=torch.long)], dim=1),
        torch.cat([inputs.spans, torch.zeros(2, 5, 3, dtype=torch.long)], dim=1),
        torch.cat([inputs.pairs, torch.zeros(2, 3, 2, dtype=torch.long)], dim=1),
    )
    assert padded.shape == (2, 15, N_RELATIONS)
    close(padded[:, :12], logits)


def test_windows_do_not_see_each_other(head: RelationHead, inputs: Inputs) -> None:
    alone = [head(*(values[row : row + 1] for values in inputs)) for row in range(2)]
    close(head(*inputs), torch.cat(alone))


@pytest.mark.parametrize("n_spans", [0, 4])
def test_no_pairs(head: RelationHead, inputs: Inputs, n_spans: int) -> None:
    none = torch.zeros(2, 0, 2, dtype=torch.long)
    logits = head(inputs.hidden, inputs.attention_mask, inputs.spans[:, :n_spans], none)
    assert logits.shape == (2, 0, N_RELATIONS)


def test_order_of_pairs_and_of_spans_is_free(head: RelationHead, inputs: Inputs) -> None:
    logits, order = head(*inputs), torch.randperm(12)
    close(head(*inputs._replace(pairs=inputs.pairs[:, order])), logits[:, order])
    place = torch.tensor([2, 0, 3, 1])  # span i of the new order is place[i] of the old
    moved = inputs._replace(spans=inputs.spans[:, place], pairs=place.argsort()[inputs.pairs])
    close(head(*moved), logits)


def test_fewer_pairs_give_the_same_logits(head: RelationHead, inputs: Inputs) -> None:
    close(head(*inputs._replace(pairs=inputs.pairs[:, 3:5])), head(*inputs)[:, 3:5])


def test_direction_type_place_and_context_matter(head: RelationHead, inputs: Inputs) -> None:
    logits, retyped, moved = head(*inputs), inputs.spans.clone(), inputs.spans.clone()
    retyped[:, 0, 2] = 2 - retyped[:, 0, 2]
    moved[:, 0, :2] += 2
    changed = {
        "direction": inputs._replace(pairs=inputs.pairs.flip(-1)),
        "type": inputs._replace(spans=retyped),
        "place": inputs._replace(spans=moved),
        "context": inputs._replace(hidden=inputs.hidden + torch.randn(2, 20, WIDTH)),
    }
    for what, other in changed.items():
        assert (head(*other) - logits).abs().amax() > 1e-3, what


def test_distance_is_bucketed_up_to_the_last_bound() -> None:
    """Mentions further apart than the last bucket begins are told apart by context alone."""
    spans = torch.tensor([[[0, 1, 0], [1, 2, 1], [3, 4, 1], [1 + DISTANCES[-1], 90, 1]]])
    pairs = torch.tensor([[[0, 1], [1, 0], [0, 2], [2, 0], [0, 3], [3, 0]]])
    _, bucket = find_cuts(spans[0, pairs, :2])
    last = len(DISTANCES)
    assert bucket.tolist() == [[0, last + 1, 2, last + 3, last, 2 * last + 1]]


def test_every_parameter_learns(head: RelationHead, inputs: Inputs) -> None:
    head(*inputs).square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
