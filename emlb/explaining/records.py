"""An explained note: its triples, and for each where the network looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.inference.backend import Floats, Ints
from emlb_runtime.records import Document, Triple, triple_to_json

DECIMALS = 6


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """How one reader weighs a window; all weights together are one.

    Attributes:
        words: (W,) weight of each word, the sum of its pieces'.
        special: weight of the tokens that frame the window. There is no padding: a window
            runs alone.
    """

    words: NDArray[np.float64]
    special: float

    @classmethod
    def of_pieces(cls, weights: Floats, pieces: Ints) -> Weights:
        """Sum pieces to words.

        Args:
            weights: (T,) of the window's pieces, special tokens included.
            pieces: (W + 1,) where each word begins, and where the last ends.
        """
        exact = weights.astype(np.float64)
        words = np.add.reduceat(exact[: pieces[-1]], pieces[:-1])
        return cls(words, float(exact[: pieces[0]].sum() + exact[pieces[-1] :].sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Where one side of a pair looked.

    Attributes:
        mean: over the relation head's attention heads.
        heads: each of them.
    """

    mean: Weights
    heads: tuple[Weights, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One triple.

    Attributes:
        number: its place among the note's triples, from 1.
        triple: the triple, as extracted.
        window: which of the note's windows decided it, from 1.
        words: (W, 2) code points ``[start, end)`` of that window's words.
        head_side: where the relation head looked on behalf of the head mention; None if it
            has no attention.
        tail_side: where it looked on behalf of the tail mention; None if it has no attention.
        encoder: the last encoder layer's attention from the head mention's pieces, averaged
            over them and the layer's heads; None if it is not available.
    """

    number: int
    triple: Triple
    window: int
    words: Ints
    head_side: Side | None
    tail_side: Side | None
    encoder: Weights | None

    @property
    def extent(self) -> tuple[int, int]:
        """The window's ``[start, end)`` in code points."""
        return int(self.words[0, 0]), int(self.words[-1, 1])

    def views(self) -> list[tuple[str, str, Weights]]:
        """(short name, full name, weights) of what there is to show."""
        shown: list[tuple[str, str, Weights]] = []
        for role, side in (("head", self.head_side), ("tail", self.tail_side)):
            if side is not None:
                full = f"Relation head, on behalf of the {role} mention"
                shown.append((f"{role} side", full, side.mean))
        if self.encoder is not None:
            shown.append(("encoder", "Encoder's last layer, from the head mention", self.encoder))
        return shown

    def to_json(self, note_name: str) -> dict[str, Any]:
        """A line of the ``triples`` format, with the window and the weights."""
        start, end = self.extent
        return {
            "number": self.number,
            **triple_to_json(note_name, self.triple),
            "window": {"number": self.window, "start": start, "end": end},
            "head_side": self._side_to_json(self.head_side),
            "tail_side": self._side_to_json(self.tail_side),
            "encoder": self._weights_to_json(self.encoder) if self.encoder else None,
        }

    def _side_to_json(self, side: Side | None) -> dict[str, Any] | None:
        if side is None:
            return None
        return {
            **self._weights_to_json(side.mean),
            "attention_heads": [
                {"weights": _rounded(weights.words), "special_tokens": _round(weights.special)}
                for weights in side.heads
            ],
        }

    def _weights_to_json(self, weights: Weights) -> dict[str, Any]:
        bounds = self.words.tolist()
        return {
            "words": [
                [start, end, weight]
                for (start, end), weight in zip(bounds, _rounded(weights.words), strict=True)
            ],
            "special_tokens": _round(weights.special),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A note's triples, explained.

    Attributes:
        document: what was extracted, with its status.
        triples: those that were asked for.
        missing: a sentence for each kind of attention that they lack.
    """

    document: Document
    triples: tuple[Explained, ...]
    missing: tuple[str, ...]

    @property
    def summary(self) -> str:
        """How much was found, and what ran, in a line without text of the note."""
        found, status = len(self.document.relations), self.document.status
        entities = len(self.document.entities)
        parts = [_count(found, "triple") if found else "no triples", _count(entities, "entity")]
        if status is not None:
            parts += [_count(status.windows, "window"), f"{status.provider} {status.precision}"]
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """The explanation as JSON-ready values."""
        status = self.document.status
        name = self.document.note.name
        return {
            "note": name,
            "found": len(self.document.relations),
            "windows": status.windows if status else None,
            "provider": status.provider if status else None,
            "precision": status.precision if status else None,
            "missing": list(self.missing),
            "triples": [explained.to_json(name) for explained in self.triples],
        }


def _rounded(weights: NDArray[np.float64]) -> list[float]:
    return [_round(weight) for weight in weights.tolist()]


def _round(weight: float) -> float:
    return round(weight, DECIMALS)


def _count(number: int, thing: str) -> str:
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"
