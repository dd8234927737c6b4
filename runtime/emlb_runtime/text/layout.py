"""What a note's layout says: lines, items, table cells, sentences and sections of each word.

A network reads words, not the white space between them, so that a list, a table or a heading
is running text to it, and ``vancomycin`` at the end of one item goes on in the ``2`` of the
next. Only the line breaks of wrapped text may lie inside a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lines import read_lines

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_RULE = re.compile(r"([-=_*~#])\1{3,}|[|¦│║]|(?<=[|¦│║+])[ :]*[-=]+[ :]*(?=[|¦│║+])")
_BRACKET = re.compile(r"[()\[\]{}]")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s+[\"'“‘(\[]*[^\W_a-z])")
_ABBREVIATED = re.compile(
    r"(?:\b[A-Za-z]|\b(?:dr|drs|mr|mrs|ms|st|vs|approx|vit|fig|nos?))\Z", re.IGNORECASE
)


@dataclass(frozen=True)
class Structure:
    """Line, item, cell, sentence and section of each word of a note or window.

    Two words with the same number are in the same line, item and so on. Numbers never decrease from
    word to word; nothing else about them is meaningful, and a window's do not begin at 0.

    Attributes:
        line: (W,) lines of the text.
        block: (W,) runs of lines without a blank line between.
        item: (W,) paragraphs, list items, heading lines and table rows.
        cell: (W,) parts of an item between tabs, wide gaps and pipes.
        sentence: (W,) sentences. The end of an item ends a sentence; the end of a cell does not.
        section: (W,) headings, each with the text that follows it.
        column: (W,) index of the cell in its row, from 0; 0 outside tables.
        in_row: (W,) whether the word is part of a table row.
        in_heading: (W,) whether the word is part of a heading.
    """

    line: Ints
    block: Ints
    item: Ints
    cell: Ints
    sentence: Ints
    section: Ints
    column: Ints
    in_row: Flags
    in_heading: Flags

    @classmethod
    def plain(cls, n_words: int) -> Structure:
        """Running text: one line, one sentence."""
        zeros, no = np.zeros(n_words, dtype=np.int64), np.zeros(n_words, dtype=bool)
        return cls(zeros, zeros, zeros, zeros, zeros, zeros, zeros, no, no)

    def part(self, start: int, end: int) -> Structure:
        """Of words ``[start, end)`` alone."""
        words = slice(start, end)
        return Structure(
            line=self.line[words],
            block=self.block[words],
            item=self.item[words],
            cell=self.cell[words],
            sentence=self.sentence[words],
            section=self.section[words],
            column=self.column[words],
            in_row=self.in_row[words],
            in_heading=self.in_heading[words],
        )


@dataclass(frozen=True)
class Layout:
    """What the words of a note, or of a window of it, may be in a mention.

    Attributes:
        apart: (W,) whether no mention runs on into the word from the one before it.
        ruled: (W,) whether no mention holds the word: it is part of a drawn line.
        brackets: (W,) brackets that open in the word less those that close.
    """

    apart: Flags
    ruled: Flags
    brackets: Ints

    @property
    def n_words(self) -> int:
        """W."""
        return len(self.apart)

    @classmethod
    def plain(cls, n_words: int) -> Layout:
        """Of running text without brackets."""
        none = np.zeros(n_words, dtype=bool)
        return cls(none, none, np.zeros(n_words, dtype=np.int64))

    def part(self, start: int, end: int) -> Layout:
        """Of words ``[start, end)`` alone."""
        return Layout(self.apart[start:end], self.ruled[start:end], self.brackets[start:end])


def read_structure(text: str, starts: Ints) -> Structure:
    """Lines, items, cells, sentences and sections of a note.

    Args:
        text: the note.
        starts: (W,) first code point of each word.
    """
    lines = list(read_lines(text))
    items = [line.start for line in lines if line.starts_item]
    rows = [line for line in lines if line.is_row]
    headings = [line for line in lines if line.heading > line.start]
    cells = sorted({*items, *(cell for line in lines for cell in line.cells)})
    cell = _count(cells, starts)
    first_cell = np.array([line.start for line in rows], dtype=np.int64)
    row = _count(first_cell, starts)
    in_row = _inside([(line.start, line.end) for line in rows], starts)
    column = np.zeros(len(starts), dtype=np.int64)
    if rows:
        column[in_row] = cell[in_row] - _count(cells, first_cell)[row[in_row] - 1]
    return Structure(
        line=_count([line.start for line in lines], starts),
        block=_count([line.start for line in lines if line.starts_block], starts),
        item=_count(items, starts),
        cell=cell,
        sentence=_count(sorted({*items, *_sentences(text)}), starts),
        section=_count([line.start for line in headings], starts),
        column=column,
        in_row=in_row,
        in_heading=_inside([(line.start, line.heading) for line in headings], starts),
    )


def read_layout(text: str, starts: Ints, structure: Structure | None = None) -> Layout:
    """The layout of a note.

    Args:
        text: the note.
        starts: (W,) first code point of each word.
        structure: the structure of the same words, if it is known already.
    """
    structure = structure or read_structure(text, starts)
    n_words = len(starts)
    ruled = np.zeros(n_words + 1, dtype=np.int64)
    for edge, step in ((0, 1), (1, -1)):
        runs = np.fromiter((run.span()[edge] for run in _RULE.finditer(text)), dtype=np.int64)
        np.add.at(ruled, np.searchsorted(starts, runs), step)
    places = np.fromiter((found.start() for found in _BRACKET.finditer(text)), dtype=np.int64)
    signs = np.fromiter(
        (1 if found[0] in "([{" else -1 for found in _BRACKET.finditer(text)), dtype=np.int64
    )
    brackets = np.zeros(n_words + 1, dtype=np.int64)
    np.add.at(brackets, np.searchsorted(starts, places, side="right"), signs)
    new = {
        name: np.diff(ids, prepend=ids[:1]) != 0
        for name, ids in (
            ("cell", structure.cell),
            ("line", structure.line),
            ("sentence", structure.sentence),
        )
    }
    # A full stop within a line may belong to an abbreviation.
    apart = new["cell"] | (new["line"] & new["sentence"])
    return Layout(apart, np.cumsum(ruled)[:n_words] > 0, brackets[1:])


def _sentences(text: str) -> list[int]:
    """Ends of sentences."""
    return [
        found.end()
        for found in _SENTENCE_END.finditer(text)
        if text[found.start()] != "."
        or not _ABBREVIATED.search(text, max(0, found.start() - 8), found.start())
    ]


def _count(places: Iterable[int] | Ints, starts: Ints) -> Ints:
    """(W,) how many of the ascending places are at or before the start of each word."""
    ordered = np.fromiter(places, dtype=np.int64)
    return np.searchsorted(ordered, starts, side="right").astype(np.int64)


def _inside(spans: Iterable[tuple[int, int]], starts: Ints) -> Flags:
    """(W,) which words start in one of the ascending spans."""
    pairs = np.array(list(spans), dtype=np.int64).reshape(-1, 2)
    last = np.searchsorted(pairs[:, 0], starts, side="right") - 1
    inside = last >= 0
    inside[inside] = starts[inside] < pairs[last[inside], 1]
    return inside
