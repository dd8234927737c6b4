"""What a note's layout says of its mentions: where one line does not go on in the next.

A network reads words, not the white space between them, so that a list, a table or a heading
is running text to it, and ``vancomycin`` at the end of one item goes on in the ``2`` of the
next. Only the line breaks of wrapped text may lie inside a mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

SHORT = 0.75
"""Up to this share of the block's longest line, a line into which the next one's first word
would have fitted was ended on purpose. Wrapped text never is that short; the rest is room for
lines that changed after they were wrapped, as by de-identification."""

BLOCK = 500
"""Lines of a block that are looked at together."""

_LINE_ENDS = "\n\x0b\x0c\r\x85\u2028\u2029"
_LINE_END = re.compile(f"\r\n|[{_LINE_ENDS}]")
_LINE = re.compile(rf"\S[^{_LINE_ENDS}]*")
_CHUNK = re.compile(r"\S+")
_COLUMN = re.compile(r"\s*\t\s*|\s{3,}")
_BULLET = re.compile(r"[•●▪◦‣○■□➢►✓]|[-*·–—](?=\s)")
_NUMBER = re.compile(
    r"\(?[0-9]{1,3}[.)](?=\s|[^\W\d_])|\(?[A-Za-z][.)](?=\s)|[0-9]{1,3}(?=[^\S\n\r]{2}|\t)"
)
_HEADING = re.compile(rf"[^\W\d_][^:{_LINE_ENDS}]{{0,39}}:(?=\s|$)")
_RULE = re.compile(r"([-=_*~#])\1{3,}")
_BRACKET = re.compile(r"[()\[\]{}]")


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


def read_layout(text: str, starts: Ints) -> Layout:
    """The layout of a note.

    Args:
        text: the note.
        starts: (W,) first code point of each word.
    """
    n_words = len(starts)
    apart, ruled = np.zeros(n_words + 1, dtype=bool), np.zeros(n_words + 1, dtype=np.int64)
    apart[np.searchsorted(starts, np.fromiter(_barriers(text), dtype=np.int64))] = True
    for edge, step in ((0, 1), (1, -1)):
        runs = np.fromiter((run.span()[edge] for run in _RULE.finditer(text)), dtype=np.int64)
        np.add.at(ruled, np.searchsorted(starts, runs), step)
    places = np.fromiter((found.start() for found in _BRACKET.finditer(text)), dtype=np.int64)
    signs = np.fromiter(
        (1 if found[0] in "([{" else -1 for found in _BRACKET.finditer(text)), dtype=np.int64
    )
    brackets = np.zeros(n_words + 1, dtype=np.int64)
    np.add.at(brackets, np.searchsorted(starts, places, side="right"), signs)
    return Layout(apart[:n_words], np.cumsum(ruled)[:n_words] > 0, brackets[1:])


@dataclass(frozen=True, slots=True)
class _Line:
    """A line's text, in code points.

    ``bullet`` is sure to begin an item, ``number`` only beside another one.
    """

    start: int
    length: int
    first_word: int
    bullet: bool
    number: bool
    heading: bool


def _barriers(text: str) -> Iterator[int]:
    """Where lines and columns begin that go on with no mention before them."""
    block: list[_Line] = []
    end = 0
    for match in _LINE.finditer(text):
        start = match.start()
        if _is_blank(text, end, start):
            yield from _inside(block)
            yield start
            block = []
        elif len(block) == BLOCK:
            yield from _inside(block)
            block = block[-1:]
        end = start + len(match[0].rstrip())
        block.append(_read_line(text, start, end))
        for gap in _COLUMN.finditer(text, start, end):
            yield gap.end()
    yield from _inside(block)


def _is_blank(text: str, end: int, start: int) -> bool:
    """Whether there is a blank line in the white space ``[end, start)``."""
    first = _LINE_END.search(text, end, start)
    return first is not None and _LINE_END.search(text, first.end(), start) is not None


def _read_line(text: str, start: int, end: int) -> _Line:
    word = _CHUNK.match(text, start, end)
    return _Line(
        start,
        end - start,
        word.end() - start if word else 0,
        _BULLET.match(text, start) is not None,
        _NUMBER.match(text, start) is not None,
        text[start].isupper() and _HEADING.match(text, start, end) is not None,
    )


def _inside(block: Sequence[_Line]) -> Iterator[int]:
    """Of lines without a blank one between, the beginnings that no mention runs on into."""
    if len(block) < 2:
        return
    width = max(line.length for line in block)
    listed = sum(line.number for line in block) > 1
    for before, line in zip(block, block[1:], strict=False):
        if (
            before.length + 1 + line.first_word <= SHORT * width
            or line.bullet
            or (line.number and listed)
            or line.heading
        ):
            yield line.start
