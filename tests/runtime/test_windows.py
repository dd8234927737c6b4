"""Cutting notes into windows, and which window decides what."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb_runtime.errors import ConfigError
from emlb_runtime.text.tokens import MAX_WORD_PIECES, Tokens
from emlb_runtime.text.windows import Window, WindowConfig, cut_windows, deciding_window

SMALLEST = 2 * MAX_WORD_PIECES + 2


def make_tokens(pieces: list[int], sentence_ends: set[int] | None = None) -> Tokens:
    """Words of so many pieces each, one code point and a space to a word."""
    n = len(pieces)
    ends = np.zeros(n, dtype=bool)
    ends[sorted(sentence_ends or ())] = True
    return Tokens(
        ids=np.arange(sum(pieces), dtype=np.int64),
        first_piece=np.concatenate([[0], np.cumsum(pieces)]).astype(np.int64),
        start=np.arange(n, dtype=np.int64) * 2,
        end=np.arange(n, dtype=np.int64) * 2 + 1,
        ends_sentence=ends,
    )


@dataclass(frozen=True)
class Cut:
    """A note that has been cut."""

    tokens: Tokens
    config: WindowConfig
    windows: list[Window]

    def pieces(self, start: int, end: int) -> int:
        return int(self.tokens.first_piece[end] - self.tokens.first_piece[start])


@st.composite
def cuts(draw: st.DrawFn) -> Cut:
    max_pieces = draw(st.one_of(st.integers(SMALLEST, SMALLEST + 30), st.just(160)))
    config = WindowConfig(max_pieces, draw(st.integers(0, max_pieces // 3)))
    longest = draw(st.sampled_from([1, 3, MAX_WORD_PIECES]))
    # A seed, so that notes of several windows are as likely as short ones.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_words = draw(st.integers(1, 400))
    pieces = rng.integers(1, longest + 1, n_words).tolist()
    share = draw(st.sampled_from([0.0, 0.03, 0.1, 0.5, 1.0]))
    tokens = make_tokens(pieces, set(np.flatnonzero(rng.random(n_words) < share).tolist()))
    return Cut(tokens, config, cut_windows(tokens, config))


def neighbours(windows: list[Window], index: int) -> range:
    return range(max(0, index - 1), min(len(windows), index + 2))


@given(cuts())
@settings(deadline=None, max_examples=200)
def test_windows_cover_the_note(cut: Cut) -> None:
    n_words = cut.tokens.n_words
    assert cut.windows[0].start == 0
    assert cut.windows[-1].end == n_words
    seen = np.zeros(n_words, dtype=int)
    for window in cut.windows:
        assert window.n_words == n_words
        assert window.start < window.end
        assert cut.pieces(window.start, window.end) + 2 <= cut.config.max_pieces
        seen[window.start : window.end] += 1
    assert seen.min() == 1
    assert seen.max() <= 2
    for before, after in pairwise(cut.windows):
        assert before.start < after.start <= before.end < after.end
        assert cut.pieces(after.start, before.end) <= cut.config.overlap


@given(cuts())
@settings(deadline=None, max_examples=200)
def test_windows_end_with_a_sentence_if_one_ends_near(cut: Cut) -> None:
    """Near: in the last quarter of the pieces there is room for. Else the window is full."""
    room = cut.config.max_pieces - 2
    for window in cut.windows[:-1]:
        near = [
            word
            for word in range(window.start, cut.tokens.n_words)
            if cut.tokens.ends_sentence[word]
            and cut.pieces(window.start, word) >= room - room // 4
            and cut.pieces(window.start, word + 1) <= room
        ]
        if near:
            assert window.end == near[-1] + 1
        else:
            assert cut.pieces(window.start, window.end + 1) > room


@given(cuts(), st.data())
@settings(deadline=None, max_examples=200)
def test_every_word_and_span_is_decided_once(cut: Cut, data: st.DataObject) -> None:
    windows, n_words = cut.windows, cut.tokens.n_words
    width = data.draw(st.integers(1, 12))
    for start in range(n_words - width + 1):
        end = start + width
        holders = [i for i, w in enumerate(windows) if w.start <= start and end <= w.end]
        deciders = [
            index
            for index in range(len(windows))
            if deciding_window(windows, start, end, neighbours(windows, index)) == index
        ]
        assert len(deciders) == min(1, len(holders))
        everywhere = deciding_window(windows, start, end, range(len(windows)))
        assert deciders == ([everywhere] if holders else [])
        if holders:
            most = max(windows[i].context(start, end) for i in holders)
            assert windows[everywhere].context(start, end) == most


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05, 0.5]))
@settings(deadline=None, max_examples=50)
def test_neighbours_share_about_the_overlap(seed: int, share: float) -> None:
    """At the default setting: at least half of it, but for a word that does not fit."""
    rng = np.random.default_rng(seed)
    tokens = make_tokens(
        rng.integers(1, 4, 1000).tolist(), set(np.flatnonzero(rng.random(1000) < share).tolist())
    )
    config = WindowConfig()
    windows = cut_windows(tokens, config)
    assert len(windows) > 5
    for before, after in pairwise(windows):
        shared = tokens.first_piece[before.end] - tokens.first_piece[after.start]
        assert config.overlap // 2 <= shared <= config.overlap
        if not tokens.ends_sentence[after.start - 1]:
            assert shared > config.overlap - 3


def test_one_window_for_a_short_note() -> None:
    tokens = make_tokens([1] * 158, {40, 150})
    assert cut_windows(tokens, WindowConfig()) == [Window(0, 158, 158)]


def test_no_window_for_an_empty_note() -> None:
    assert cut_windows(make_tokens([]), WindowConfig()) == []


def test_cuts_by_hand() -> None:
    """Room for 60: the first ends behind word 49, the next begins behind word 39."""
    tokens = make_tokens([1] * 130, {10, 39, 49})
    windows = cut_windows(tokens, WindowConfig(max_pieces=62, overlap=20))
    assert windows == [Window(0, 50, 130), Window(40, 100, 130), Window(80, 130, 130)]


def test_cuts_by_hand_without_overlap() -> None:
    tokens = make_tokens([1] * 130, {10, 39, 49})
    windows = cut_windows(tokens, WindowConfig(max_pieces=62, overlap=0))
    assert windows == [Window(0, 50, 130), Window(50, 110, 130), Window(110, 130, 130)]


def test_longest_words_in_the_smallest_windows() -> None:
    tokens = make_tokens([MAX_WORD_PIECES] * 7)
    windows = cut_windows(tokens, WindowConfig(SMALLEST, SMALLEST // 3))
    assert [(window.start, window.end) for window in windows] == [(0, 2), (2, 4), (4, 6), (6, 7)]


def test_no_word_is_in_three_windows() -> None:
    """A long word cuts the second window short; the third may not reach back into the first."""
    tokens = make_tokens([1] * 57 + [MAX_WORD_PIECES, 1, 1])
    windows = cut_windows(tokens, WindowConfig(SMALLEST, 16))
    assert windows == [Window(0, 48, 60), Window(32, 57, 60), Window(48, 60, 60)]


def test_context() -> None:
    middle = Window(10, 30, 100)
    assert middle.context(12, 15) == 2
    assert middle.context(25, 29) == 1
    assert middle.context(10, 30) == 0
    assert middle.context(9, 12) == middle.context(28, 31) == -1
    assert Window(0, 30, 100).context(0, 5) == 25
    assert Window(80, 100, 100).context(90, 100) == 10
    assert Window(0, 100, 100).context(3, 4) == np.inf


def test_deciding_window() -> None:
    windows = [Window(0, 30, 80), Window(20, 60, 80), Window(50, 80, 80)]
    assert deciding_window(windows, 21, 22, range(3)) == 0
    assert deciding_window(windows, 27, 28, range(3)) == 1
    assert deciding_window(windows, 24, 26, range(3)) == 0  # 4 words in both: the first
    assert deciding_window(windows, 15, 35, range(3)) == -1
    assert deciding_window(windows, 21, 22, range(1, 3)) == 1
    assert deciding_window(windows, 70, 71, range(2)) == -1
    assert deciding_window(windows, 0, 1, range(0)) == -1


@pytest.mark.parametrize("max_pieces", [-1, 0, 2, SMALLEST - 1])
def test_too_small_windows(max_pieces: int) -> None:
    with pytest.raises(ConfigError, match=f"is {max_pieces}; it must be at least {SMALLEST}"):
        WindowConfig(max_pieces, 0)


@pytest.mark.parametrize("overlap", [-1, 54, 160])
def test_overlap_out_of_range(overlap: int) -> None:
    with pytest.raises(ConfigError, match=rf"overlap is {overlap}; .* between 0 and .*\(53\)"):
        WindowConfig(160, overlap)


def test_limits_are_allowed() -> None:
    WindowConfig(SMALLEST, 0)
    WindowConfig(160, 53)
