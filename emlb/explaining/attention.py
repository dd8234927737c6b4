"""What an explanation asks of a network beside what the pipeline asks; torch or ONNX."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from emlb_runtime.inference.backend import Floats, Ints


class RelationLook(NamedTuple):
    """What the relation head makes of the pairs of one window."""

    logits: Floats
    """(P, R)."""
    weights: Floats | None
    """(2·heads, P, T): the head mention's side has the first half, the tail's the other; None
    from a head without attention.
    """


class EncoderLook(NamedTuple):
    """What the encoder makes of one window."""

    hidden: Floats
    """(T, D)."""
    weights: Floats
    """(T, T): the last layer's attention of each piece to each, averaged over its heads."""


class Attention(Protocol):
    """A network that tells where it looked."""

    @property
    def no_relation(self) -> str:
        """Why ``relate`` gives no weights, where it does not: a clause for the user."""

    @property
    def no_encoder(self) -> str:
        """Why ``encode`` gives None, where it does: a clause for the user."""

    def relate(self, task: str, hidden: Floats, spans: Ints, pairs: Ints) -> RelationLook:
        """Score the pairs of one window.

        Args:
            task: whose head to ask.
            hidden: (T, D) of the encoder.
            spans: (S, 3) first piece, one past the last piece, type index.
            pairs: (P, 2) indices into the spans, head then tail.
        """

    def encode(self, input_ids: Ints) -> EncoderLook | None:
        """Encode one window of pieces (T,) with special tokens in place."""
