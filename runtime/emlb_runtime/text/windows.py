"""Cutting a tokenised note into overlapping windows, and which window decides what.

A word or mention is decided by the window that shows most of its surroundings: the
largest of the smaller of its distances to the window's two edges, where an edge that is
also an edge of the note counts as infinitely far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emlb_runtime.errors import ConfigError

from .tokens import MAX_WORD_PIECES, Ints, Tokens


@dataclass(frozen=True)
class WindowConfig:
    """How long notes are cut.

    Attributes:
        max_pieces: pieces of a window, its two special tokens included.
        overlap: pieces that a window shares with the one before, about.

    Raises:
        ConfigError: if the window is too small or the overlap above a third of it.
    """

    max_pieces: int = 160
    overlap: int = 24

    def __post_init__(self) -> None:
        if self.max_pieces < 2 * MAX_WORD_PIECES + 2:
            raise ConfigError(
                f"windows.max_pieces is {self.max_pieces}; it must be at least "
                f"{2 * MAX_WORD_PIECES + 2}"
            )
        if not 0 <= self.overlap <= self.max_pieces // 3:
            raise ConfigError(
                f"windows.overlap is {self.overlap}; it must lie between 0 and a third of "
                f"windows.max_pieces ({self.max_pieces // 3})"
            )


@dataclass(frozen=True, slots=True)
class Window:
    """Words ``[start, end)`` of a note of ``n_words``."""

    start: int
    end: int
    n_words: int

    def context(self, start: int, end: int) -> float:
        """How many words around ``[start, end)`` the window shows; negative if cut."""
        left = np.inf if self.start == 0 else start - self.start
        right = np.inf if self.end == self.n_words else self.end - end
        if start < self.start or end > self.end:
            return -1.0
        return float(min(left, right))


def cut_windows(tokens: Tokens, config: WindowConfig) -> list[Window]:
    """The windows of a note: all words, in order, cut at a sentence or line end if one is near.

    An empty note has none.
    """
    room = config.max_pieces - 2
    windows: list[Window] = []
    n_words, first = tokens.n_words, tokens.first_piece
    start = 0
    while start < n_words:
        limit = int(np.searchsorted(first, first[start] + room, side="right")) - 1
        end = limit
        if limit < n_words:
            near = int(np.searchsorted(first, first[start] + room - room // 4))
            breaks = np.flatnonzero(tokens.ends_sentence[near:limit])
            end = near + int(breaks[-1]) + 1 if len(breaks) else limit
        windows.append(Window(start, end, n_words))
        if end == n_words:
            break
        back = int(np.searchsorted(first, first[end] - config.overlap))
        breaks = np.flatnonzero(tokens.ends_sentence[back:end])
        # Prefer to begin where a sentence does, unless that leaves almost no overlap.
        if len(breaks) and first[end] - first[back + int(breaks[0]) + 1] >= config.overlap // 2:
            back += int(breaks[0]) + 1
        # Never three windows over one word: a decision needs a window and its neighbour only.
        earliest = windows[-2].end if len(windows) > 1 else start + 1
        start = min(max(back, start + 1, earliest), end)
    return windows


def deciding_window(windows: Sequence[Window], start: int, end: int, candidates: range) -> int:
    """Index of the window that decides words ``[start, end)``; the first of equals.

    Args:
        windows: the note's windows.
        start: first word.
        end: one past the last word.
        candidates: indices to consider.

    Returns:
        The index, or -1 if no candidate holds all the words.
    """
    best, most = -1, -1.0
    for index in candidates:
        context = windows[index].context(start, end)
        if context > most:
            best, most = index, context
    return best


def deciding_windows(
    windows: Sequence[Window], starts: Ints, ends: Ints, candidates: range
) -> Ints:
    """``deciding_window`` of many word ranges at once.

    Args:
        windows: the note's windows.
        starts: (P,) first words.
        ends: (P,) one past the last words.
        candidates: indices to consider.

    Returns:
        (P,) indices, -1 where no candidate holds all the words.
    """
    best = np.full(len(starts), -1, dtype=np.int64)
    most = np.full(len(starts), -1.0)
    for index in candidates:
        window = windows[index]
        left = np.full(len(starts), np.inf) if window.start == 0 else starts - window.start
        right = np.full(len(ends), np.inf) if window.end == window.n_words else window.end - ends
        inside = (starts >= window.start) & (ends <= window.end)
        context = np.where(inside, np.minimum(left, right), -1.0)
        better = context > most
        best[better], most[better] = index, context[better]
    return best
