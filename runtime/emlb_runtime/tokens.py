"""From a note's text to subword pieces and words with exact offsets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MAX_WORD_PIECES = 24
"""A longer run of pieces without a break (a sequence, a base64 blob) is cut into words of this."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_SENTENCE_ENDS = np.array([ord(mark) for mark in ".!?;。！？"], dtype=np.uint32)
_LINE_ENDS = np.array([0x0A, 0x0B, 0x0C, 0x0D, 0x85, 0x2028, 0x2029], dtype=np.uint32)


@dataclass(frozen=True)
class Tokens:
    """A whole note as pieces and words; P pieces, W words.

    Attributes:
        ids: (P,) piece ids, without special tokens.
        first_piece: (W + 1,) index of each word's first piece; the last value is P.
        start: (W,) first code point of each word.
        end: (W,) one past its last code point.
        ends_sentence: (W,) whether a sentence or a line ends with the word.
    """

    ids: Ints
    first_piece: Ints
    start: Ints
    end: Ints
    ends_sentence: NDArray[np.bool_]

    @property
    def n_words(self) -> int:
        """W."""
        return len(self.start)


def tokenise(tokenizer: Any, text: str) -> Tokens:
    """Tokenise a note whole; nothing is truncated.

    Args:
        tokenizer: a ``tokenizers.Tokenizer`` with truncation and padding off.
        text: the note. Lone surrogates, which no tokenizer takes, are read as U+FFFD;
            offsets stay those of the text given.
    """
    encoding = tokenizer.encode(_SURROGATES.sub("\ufffd", text), add_special_tokens=False)
    ids = np.array(encoding.ids, dtype=np.int64)
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    seen = offsets[:, 1] > offsets[:, 0]
    if not seen.all():  # pieces that stand for no character (byte-level leftovers) carry nothing
        ids, offsets, words = ids[seen], offsets[seen], words[seen]
    first = _first_pieces(words)
    starts = offsets[first[:-1], 0] if len(ids) else np.zeros(0, dtype=np.int64)
    ends = offsets[first[1:] - 1, 1] if len(ids) else np.zeros(0, dtype=np.int64)
    return Tokens(ids, first, starts, ends, _sentence_ends(text, starts, ends))


def _first_pieces(words: Ints) -> Ints:
    """(W + 1,) where each word begins, with over-long words cut."""
    if len(words) == 0:
        return np.zeros(1, dtype=np.int64)
    first = np.flatnonzero(np.concatenate([[True], words[1:] != words[:-1]]))
    bounds = np.append(first, len(words))
    lengths = np.diff(bounds)
    if lengths.max() <= MAX_WORD_PIECES:
        return bounds
    cut = [
        np.arange(start, start + length, MAX_WORD_PIECES)
        for start, length in zip(first, lengths, strict=True)
    ]
    return np.append(np.concatenate(cut), len(words))


def _sentence_ends(text: str, starts: Ints, ends: Ints) -> NDArray[np.bool_]:
    """(W,) words after which a line ends, and sentence marks followed by a space."""
    if len(starts) == 0:
        return np.zeros(0, dtype=bool)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lines_before = np.concatenate([[0], np.cumsum(np.isin(codes, _LINE_ENDS))])
    next_start = np.append(starts[1:], len(codes))
    line_end = lines_before[next_start] > lines_before[ends]
    mark = np.isin(codes[ends - 1], _SENTENCE_ENDS) & (next_start > ends)
    found: NDArray[np.bool_] = line_end | mark
    found[-1] = True
    return found
