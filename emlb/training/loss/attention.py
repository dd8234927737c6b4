"""The two attention losses that Algorithm 1 names; how they are defined is ours.

Guo, Liu & Niu (2023) add L_attention and L_cross-attention to the joint loss and define
neither. Here both say where a related pair of annotated mentions should look, as the negative
logarithm of the attention that is put there:

* L_attention: the encoder's last layer, averaged over its heads. The pieces of a mention that
  is the head of relations should look at the pieces of their tails, whichever of them.
* L_cross-attention: the relation head's bilinear attention, averaged over its heads. For a
  related pair the head mention's side should look at the tail's pieces, and the tail's side at
  the head's.

Shape letters are those of ``emlb.model``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from emlb.model.gather import cover, pick

EPSILON = 1e-6
"""Added to attention before its logarithm: where none is put the loss stays finite."""


def attention_loss(attention: Tensor, spans: Tensor, pairs: Tensor, weights: Tensor) -> Tensor:
    """L_attention, summed over the mentions that are heads of related pairs.

    Args:
        attention: (B, T, T) from piece to piece, each row adding up to one.
        spans: (B, S, 3) first piece, one past the last, type.
        pairs: (B, P, 2) head and tail span; a pair stands once.
        weights: (B, P) weight of each related pair, zero of all others and of padding. A
            mention counts as much as the heaviest of its pairs.
    """
    inside = cover(spans, attention.shape[-1], dtype=attention.dtype)
    size = spans.shape[1]
    links = attention.new_zeros(len(spans), size * size)
    links = links.scatter_add(1, pairs[..., 0] * size + pairs[..., 1], weights.to(links.dtype))
    links = links.reshape(-1, size, size)  # from head to tail
    wanted = ((links > 0).to(inside.dtype) @ inside).clamp(max=1.0)
    looking = inside / inside.sum(dim=-1, keepdim=True).clamp(min=1.0)
    mass = ((looking @ attention) * wanted).sum(dim=-1)
    return (links.amax(dim=-1) * _surprise(mass)).sum()


def cross_attention_loss(looks: Tensor, spans: Tensor, pairs: Tensor, weights: Tensor) -> Tensor:
    """L_cross-attention: the mean of both directions, summed over related pairs.

    Args:
        looks: (B, 2·heads, P, T) as ``RelationHead.look`` gives it.
        spans: see ``attention_loss``.
        pairs: see ``attention_loss``.
        weights: see ``attention_loss``.
    """
    inside = cover(spans, looks.shape[-1], dtype=looks.dtype)
    from_head, from_tail = (side.mean(dim=1) for side in looks.chunk(2, dim=1))  # (B, P, T)
    at_tail = (from_head * pick(inside, pairs[..., 1])).sum(dim=-1)
    at_head = (from_tail * pick(inside, pairs[..., 0])).sum(dim=-1)
    return (weights * (_surprise(at_tail) + _surprise(at_head)) / 2).sum()


def _surprise(mass: Tensor) -> Tensor:
    """Negative logarithm of attention; dropout may have scaled it above one."""
    return -torch.log((mass.clamp(max=1.0) + EPSILON) / (1.0 + EPSILON))
