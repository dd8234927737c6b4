"""The ids of a tokenizer's special tokens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the tokens that frame a window, fill up a batch, and (in training) hide a word."""

    cls: int
    sep: int
    pad: int
    mask: int | None = None
