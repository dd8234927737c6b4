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

SLAB = 2**18
"""Characters tokenised at a time. A tokenizer takes some 150 bytes for each, so that a note
of 50 million would need gigabytes at once; hardly any note is longer than one slab."""

_SURROGATES = re.compile("[\ud800-\udfff]")
# BERT's normaliser deletes these, which would make one word of the two around a page break.
_BREAKS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_SENTENCE_ENDS = ".!?;。！？"
_SPACES = "".join(filter(str.isspace, map(chr, range(0x3001))))
_LINE_ENDS = "\n\x0b\x0c\r\x85\u2028\u2029"
_LINE_END = re.compile(f"[{_LINE_ENDS}]")


def _table(characters: str) -> NDArray[np.bool_]:
    """By code point, whether it is one of the characters; the last entry is false."""
    codes = [ord(character) for character in characters]
    table = np.zeros(max(codes) + 2, dtype=bool)
    table[codes] = True
    return table


_IS_SENTENCE_END, _IS_SPACE, _IS_LINE_END = map(_table, (_SENTENCE_ENDS, _SPACES, _LINE_ENDS))


def _among(codes: NDArray[np.uint32], table: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which code points a table has; unlike ``np.isin`` without a sort."""
    return table[np.minimum(codes, len(table) - 1)]


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


def make_plain(tokenizer: Any) -> None:
    """Make a ``tokenizers.Tokenizer`` read notes whole, and as nothing but text.

    No truncation, no padding, and ``[SEP]`` in a note is a bracketed word like any other.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True


def tokenise(tokenizer: Any, text: str) -> Tokens:
    """Tokenise a note whole; nothing is truncated.

    A note longer than a slab is read slab by slab, cut before a space, so that the words are
    those of the whole; only where a slab's second half has no space is a word cut.

    Args:
        tokenizer: a ``tokenizers.Tokenizer`` with truncation and padding off.
        text: the note. Lone surrogates, which no tokenizer takes, are read as U+FFFD;
            offsets stay those of the text given.
    """
    if len(text) <= SLAB:
        return _tokenise(tokenizer, text)
    bounds = _slab_bounds(text)
    slabs = [_tokenise(tokenizer, text[start:end]) for start, end in pairwise(bounds)]
    pieces = np.cumsum([0, *(len(slab.ids) for slab in slabs)])
    shifted = list(zip(slabs, bounds, pieces.tolist(), strict=False))
    tokens = Tokens(
        ids=np.concatenate([slab.ids for slab in slabs]),
        first_piece=np.concatenate(
            [*(slab.first_piece[:-1] + before for slab, _, before in shifted), pieces[-1:]]
        ),
        start=np.concatenate([slab.start + offset for slab, offset, _ in shifted]),
        end=np.concatenate([slab.end + offset for slab, offset, _ in shifted]),
        ends_sentence=np.concatenate([slab.ends_sentence for slab in slabs]),
    )
    _mend_slab_ends(tokens, text, np.cumsum([slab.n_words for slab in slabs[:-1]]))
    return tokens


def _slab_bounds(text: str) -> list[int]:
    """Where slabs begin, and the text's end; no slab is empty."""
    bounds = [0]
    while (limit := bounds[-1] + SLAB) < len(text):
        middle = limit - SLAB // 2
        found = (text.rfind(space, middle, limit + 1) for space in " \n\r\t")
        place = next((place for place in found if place >= 0), -1)
        bounds.append(place if place >= 0 else _inside_word(text, middle, limit))
    return [*bounds, len(text)]


def _inside_word(text: str, middle: int, limit: int) -> int:
    """The last place to cut a word where no mark, joiner or half of a pair follows."""
    for cut in range(limit, middle, -1):
        if unicodedata.category(text[cut])[0] not in "MC" and text[cut - 1] != "\u200d":
            return cut
    return limit


def _mend_slab_ends(tokens: Tokens, text: str, ends: Ints) -> None:
    """A slab takes its last word for the note's: see what really follows it.

    Args:
        tokens: the whole note's; changed in place.
        text: the note.
        ends: of each slab but the last, one past its last word.
    """
    for word in {*(ends - 1).tolist()} - {-1, tokens.n_words - 1}:
        end, next_start = int(tokens.end[word]), int(tokens.start[word + 1])
        line_end = _LINE_END.search(text, end, next_start) is not None
        mark = text[end - 1] in _SENTENCE_ENDS and next_start > end
        tokens.ends_sentence[word] = line_end or mark


def _tokenise(tokenizer: Any, text: str) -> Tokens:
    """A note, or a slab of it, with offsets from its own start."""
    readable = _BREAKS.sub(" ", _SURROGATES.sub("\ufffd", text))
    encoding = tokenizer.encode(readable, add_special_tokens=False)
    ids = np.array(encoding.ids, dtype=np.int64)
    offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    words = np.array([-1 if word is None else word for word in encoding.word_ids], dtype=np.int64)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    # Some tokenizers count the space before a word as its own: only characters that are seen
    # count here, and pieces that show none (such spaces, byte-level leftovers) are dropped.
    shown = np.flatnonzero(~_among(codes, _IS_SPACE))
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
        found = set(after.tolist())
        marks = [code for code in found if unicodedata.category(chr(code)) == "Mn"]
        if not marks:
            break
        ends[words[np.isin(after, marks)]] += 1
    return ends


def _sentence_ends(codes: NDArray[np.uint32], starts: Ints, ends: Ints) -> NDArray[np.bool_]:
    """(W,) words after which a line ends, and sentence marks followed by a space."""
    if len(starts) == 0:
        return np.zeros(0, dtype=bool)
    lines_before = np.concatenate([[0], np.cumsum(_among(codes, _IS_LINE_END))])
    next_start = np.append(starts[1:], len(codes))
    line_end = lines_before[next_start] > lines_before[ends]
    mark = _among(codes[ends - 1], _IS_SENTENCE_END) & (next_start > ends)
    found: NDArray[np.bool_] = line_end | mark
    found[-1] = True
    return found
