"""Cells as aligned lines of text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def align(cells: Sequence[Sequence[str]], *, words: int = 1) -> list[str]:
    """A line per row, all rows equally long; no space at the ends of lines.

    Args:
        cells: the rows.
        words: how many columns stand to the left; the rest, numbers, to the right.
    """
    widths = [max(map(terminal_width, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - terminal_width(cell))
            padded.append(cell + space if number < words else space + cell)
        lines.append(f"  {'  '.join(padded)}".rstrip())
    return lines


def terminal_width(text: str) -> int:
    """Columns of a terminal: labels of Chinese corpora take two for each character."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
