"""From a note's text to subword pieces and words with exact offsets."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

MAX_WORD_PIECES = 24
"""A longer run of pieces without a break (a sequence, a base64 blob) is cut into words of this
or, where that would split a character, a little less."""

MAX_MARKS = 8
"""Combining marks that a word may end with; a longer run of them is left out."""

_SURROGATES = re.compile("[\ud800-\udfff]")
# BERT's normaliser deletes these, which would make one word of the two around a page break.
_BREAKS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_SENTENCE_ENDS = np.array([ord(mark) for mark in ".!?;。！？"], dtype=np.uint32)
_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], dtype=np.uint32)
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
    readable = _BREAKS.sub(" ", _SURROGATES.sub("\ufffd", text))
    encoding = tokenizer.encode(readable, add_special_tokens=False)
    ids = np.array(encoding.ids, dtype=np.int64)
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    # Some tokenizers count the space before a word as its own: only characters that are seen
    # count here, and pieces that show none (such spaces, byte-level leftovers) are dropped.
    shown = np.flatnonzero(~np.isin(codes, _SPACES))
    begin, end = np.searchsorted(shown, offsets[:, 0]), np.searchsorted(shown, offsets[:, 1])
    seen = end > begin
    ids, words, begin, end = ids[seen], words[seen], begin[seen], end[seen]
    # Pieces may share a character (the bytes of an emoji, the parts of a syllable), words not.
    reached = np.maximum.accumulate(np.concatenate([[0], end]))
    fresh, begin, end = end > reached[:-1], np.maximum(begin, reached[:-1]), reached[1:]
    kept = _pieces_of_character(fresh) < MAX_WORD_PIECES
    ids, words, fresh, begin, end = ids[kept], words[kept], fresh[kept], begin[kept], end[kept]
    first = _first_pieces(words, fresh)
    starts, ends = shown[begin[first[:-1]]], shown[end[first[1:] - 1] - 1] + 1
    ends = _with_marks(codes, starts, ends)
    return Tokens(ids, first, starts, ends, _sentence_ends(codes, starts, ends))


def _pieces_of_character(fresh: NDArray[np.bool_]) -> Ints:
    """(P,) how many pieces ago a new character was begun."""
    position = np.arange(len(fresh))
    return position - np.maximum.accumulate(np.where(fresh, position, 0))


def _first_pieces(words: Ints, fresh: NDArray[np.bool_]) -> Ints:
    """(W + 1,) where each word begins, with over-long words cut.

    Args:
        words: (P,) the tokenizer's own words.
        fresh: (P,) whether a piece begins a new character; a word begins with one.
    """
    if len(words) == 0:
        return np.zeros(1, dtype=np.int64)
    new = np.concatenate([[True], words[1:] != words[:-1]])
    bounds = np.append(np.flatnonzero(new & fresh), len(words))
    if np.diff(bounds).max() <= MAX_WORD_PIECES:
        return bounds
    places = np.append(np.flatnonzero(fresh), len(words))
    cut = [0]
    for start, end in pairwise(bounds.tolist()):
        while end - start > MAX_WORD_PIECES:
            last = np.searchsorted(places, start + MAX_WORD_PIECES, side="right") - 1
            start = int(places[last])
            cut.append(start)
        cut.append(end)
    return np.array(cut, dtype=np.int64)


def _with_marks(codes: NDArray[np.uint32], starts: Ints, ends: Ints) -> Ints:
    """(W,) ends past the accents of a last letter that the tokenizer strips or composes."""
    ends, limits = ends.copy(), np.append(starts[1:], len(codes))
    for _ in range(MAX_MARKS):
        words = np.flatnonzero(ends < limits[: len(ends)])
        after = codes[ends[words]]
        marks = [
            code for code in np.unique(after).tolist() if unicodedata.category(chr(code)) == "Mn"
        ]
        if not marks:
            break
        ends[words[np.isin(after, marks)]] += 1
    return ends


def _sentence_ends(codes: NDArray[np.uint32], starts: Ints, ends: Ints) -> NDArray[np.bool_]:
    """(W,) words after which a line ends, and sentence marks followed by a space."""
    if len(starts) == 0:
        return np.zeros(0, dtype=bool)
    lines_before = np.concatenate([[0], np.cumsum(np.isin(codes, _LINE_ENDS))])
    next_start = np.append(starts[1:], len(codes))
    line_end = lines_before[next_start] > lines_before[ends]
    mark = np.isin(codes[ends - 1], _SENTENCE_ENDS) & (next_start > ends)
    found: NDArray[np.bool_] = line_end | mark
    found[-1] = True
    return found
