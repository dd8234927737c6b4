"""Merging made-up mentions and relations of overlapping windows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emlb_runtime.decoding.note_decoder import (
    Candidates,
    Decoding,
    Link,
    Mention,
    choose,
    score_pairs,
)
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task, enumerate_pairs
from emlb_runtime.text.windows import Window, deciding_window

TASK = Task("t", ("A", "B"), ("R",), (("R", "A", "B"),))
EVERY_PAIR = Task("t", ("A",), ("R",), (("R", "A", "A"),))
TWO = [Window(0, 20, 30), Window(10, 30, 30)]


@st.composite
def window_lists(draw: st.DrawFn) -> list[Window]:
    """Windows that overlap their neighbours and nothing else, over all words."""
    bounds = [(0, draw(st.integers(4, 20)))]
    for _ in range(draw(st.integers(0, 5))):
        earliest = bounds[-2][1] if len(bounds) > 1 else bounds[0][0] + 1
        end = bounds[-1][1]
        start = draw(st.integers(max(earliest, end - 8), end))
        bounds.append((start, end + draw(st.integers(3, 20))))
    return [Window(start, end, bounds[-1][1]) for start, end in bounds]


@st.composite
def disjoint_spans(draw: st.DrawFn, n_words: int) -> list[WordSpan]:
    spans, at = [], 0
    while at < n_words:
        start = at + draw(st.integers(0, 4))
        end = start + draw(st.integers(1, 5))
        if end <= n_words:
            spans.append((start, end, draw(st.integers(0, 1))))
        at = end
    return spans


def local(window: Window, spans: list[WordSpan]) -> list[tuple[WordSpan, float]]:
    """The spans that lie whole in a window, on its own axis."""
    return [
        ((start - window.start, end - window.start, type), 0.9)
        for start, end, type in spans
        if window.start <= start and end <= window.end
    ]


def feed(decoding: Decoding, proposals: list[list[tuple[WordSpan, float]]]) -> list[Mention]:
    for spans in proposals:
        decoding.add(spans)
    return [mention for window in decoding.mentions for mention in window]


def overlap(one: Mention, other: Mention) -> bool:
    return one.start < other.end and other.start < one.end


@given(window_lists(), st.data())
@settings(deadline=None, max_examples=150)
def test_windows_that_agree(windows: list[Window], data: st.DataObject) -> None:
    """Each mention that some window holds comes out once, and only those."""
    spans = data.draw(disjoint_spans(windows[-1].end))
    mentions = feed(Decoding(TASK, windows), [local(window, spans) for window in windows])
    held = [s for s in spans if any(w.start <= s[0] and s[1] <= w.end for w in windows)]
    assert sorted(mention[:3] for mention in mentions) == held


@given(window_lists(), st.data())
@settings(deadline=None, max_examples=300)
def test_windows_that_disagree(windows: list[Window], data: st.DataObject) -> None:
    """No two mentions overlap, each is its window's to decide, and none is lost for nothing."""
    proposals = [
        [(span, 0.9) for span in data.draw(disjoint_spans(window.end - window.start))]
        for window in windows
    ]
    decoding = Decoding(TASK, windows)
    mentions = sorted(feed(decoding, proposals))
    for before, after in pairwise(mentions):
        assert before.end <= after.start
    for index, decided in enumerate(decoding.mentions):
        window = windows[index]
        for mention in decided:
            assert window.start <= mention.start and mention.end <= window.end
        for (start, end, type), score in proposals[index]:
            own = Mention(start + window.start, end + window.start, type, score)
            if deciding_window(windows, own.start, own.end, range(len(windows))) == index:
                assert own in decided or any(overlap(own, kept) for kept in mentions)
            else:
                assert own not in decided


@given(window_lists(), st.data())
@settings(deadline=None, max_examples=200)
def test_each_pair_is_decided_once(windows: list[Window], data: st.DataObject) -> None:
    """A typed pair is a candidate of one window if one holds both mentions, else of none.

    A window is asked once its successor is in, and again at the end: nothing may change.
    """
    proposals = [
        [(span, 0.9) for span in data.draw(disjoint_spans(window.end - window.start))]
        for window in windows
    ]
    decoding = Decoding(TASK, windows)
    settled = []
    for index, spans in enumerate(proposals):
        decoding.add(spans)
        if index:
            settled.append(decoding.candidates(index - 1))
    settled.append(decoding.candidates(len(windows) - 1))

    found: list[tuple[Mention, Mention]] = []
    for index, candidates in enumerate(settled):
        again = decoding.candidates(index)
        assert again.mentions == candidates.mentions
        np.testing.assert_array_equal(again.pairs, candidates.pairs)
        for mention in candidates.mentions:
            assert windows[index].context(mention.start, mention.end) >= 0
        for head, tail in candidates.pairs:
            found.append((candidates.mentions[head], candidates.mentions[tail]))

    mentions = sorted(mention for window in decoding.mentions for mention in window)
    expected = []
    for head, tail in enumerate_pairs(TASK, [mention[:3] for mention in mentions]):
        pair = mentions[head], mentions[tail]
        start, end = min(pair)[0], max(mention.end for mention in pair)
        if any(window.context(start, end) >= 0 for window in windows):
            expected.append(pair)
    assert sorted(found) == sorted(expected)


def test_overlap_goes_to_the_mention_better_in_view() -> None:
    # 8-14 shows 6 words in the first window; 12-19 would show 2 in the second and 1 in the first.
    decoding = Decoding(TASK, TWO)
    mentions = feed(decoding, [[((8, 14, 0), 0.5)], [((2, 9, 1), 0.99)]])
    assert mentions == [Mention(8, 14, 0, 0.5)]
    # 9-18 shows 2 words in the first window, 14-19 shows 4 in the second.
    decoding = Decoding(TASK, TWO)
    mentions = feed(decoding, [[((9, 18, 0), 0.99)], [((4, 9, 1), 0.5)]])
    assert mentions == [Mention(14, 19, 1, 0.5)]


def test_equal_views_go_to_the_earlier_window() -> None:
    mentions = feed(Decoding(TASK, TWO), [[((9, 18, 0), 0.5)], [((2, 9, 1), 0.5)]])
    assert mentions == [Mention(9, 18, 0, 0.5)]


def test_a_dropped_mention_drops_no_other() -> None:
    """A long mention loses to a well placed one; its other rival overlaps nothing that stays."""
    windows = [Window(0, 20, 26), Window(8, 24, 26), Window(24, 26, 26)]
    first = [((9, 19, 0), 0.9)]  # 1 word in view
    second = [((5, 9, 1), 0.9), ((10, 15, 1), 0.9)]  # 13-17 shows 5 words, 18-23 shows 1
    mentions = feed(Decoding(TASK, windows), [first, second, []])
    assert mentions == [Mention(13, 17, 1, 0.9), Mention(18, 23, 1, 0.9)]


def test_given_mentions_may_overlap() -> None:
    decoding = Decoding(TASK, TWO, resolve=False)
    mentions = feed(decoding, [[((8, 14, 0), 1.0)], [((2, 9, 1), 1.0)]])
    assert mentions == [Mention(8, 14, 0, 1.0), Mention(12, 19, 1, 1.0)]


def test_a_mention_cut_by_a_window_edge_is_left_to_the_neighbour() -> None:
    """The first window sees 17-20 of a mention that goes on to 23."""
    mentions = feed(Decoding(TASK, TWO), [[((17, 20, 0), 0.9)], [((7, 13, 0), 0.8)]])
    assert mentions == [Mention(17, 23, 0, 0.8)]


def test_pairs_across_the_border() -> None:
    """15 words from 2 to 17 fit the first window only; 12 and 17 are both windows'."""
    spans: list[WordSpan] = [(2, 3, 0), (12, 13, 0), (17, 18, 0), (28, 29, 0)]
    decoding = Decoding(EVERY_PAIR, TWO)
    feed(decoding, [local(window, spans) for window in TWO])
    decided = [
        [
            (candidates.mentions[head].start, candidates.mentions[tail].start)
            for head, tail in candidates.pairs
            if head < tail
        ]
        for candidates in map(decoding.candidates, range(2))
    ]
    assert decided == [[(2, 12), (2, 17), (12, 17)], [(12, 28), (17, 28)]]


def test_one_window_decides_everything() -> None:
    decoding = Decoding(EVERY_PAIR, [Window(0, 30, 30)])
    feed(decoding, [[((0, 1, 0), 0.9), ((29, 30, 0), 0.9)]])
    assert decoding.candidates(0).pairs.tolist() == [[0, 1], [1, 0]]


def test_no_pairs_without_mentions() -> None:
    decoding = Decoding(EVERY_PAIR, TWO)
    feed(decoding, [[], []])
    for index in range(2):
        assert decoding.candidates(index).mentions == []
        assert decoding.candidates(index).pairs.shape == (0, 2)


def test_probabilities_of_allowed_pairs() -> None:
    task = Task("t", ("A", "B"), ("R", "S"), (("R", "A", "B"), ("S", "B", "A")))
    types = np.array([[0, 1], [1, 0], [0, 0]])
    logits = np.array([[0.0, 9.0], [9.0, 1e5], [-1e5, 9.0]], dtype=np.float32)
    certainty = np.full((3, 2), 0.7)
    np.testing.assert_array_equal(
        score_pairs(task, types, certainty, logits), [[0.5, 0.0], [0.0, 1.0], [0.0, 0.0]]
    )
    assert score_pairs(task, types, certainty, np.full((3, 2), -1e5)).max() == 0.0


@given(st.floats(-30, 30))
def test_probability_is_the_sigmoid(logit: float) -> None:
    certainty = np.array([[0.2, 0.9]])  # counts only where there is a calibration
    (value,) = score_pairs(TASK, np.array([[0, 1]]), certainty, np.array([[logit]]))[0]
    assert value == pytest.approx(1.0 / (1.0 + np.exp(-logit)), rel=1e-9, abs=1e-15)


def test_links() -> None:
    head, tail, other = Mention(3, 5, 0, 0.9), Mention(0, 1, 1, 0.8), Mention(6, 7, 1, 0.7)
    candidates = Candidates([head, tail, other], np.array([[0, 1], [0, 2]]))
    logits = np.array([[2.0], [-2.0]], dtype=np.float32)
    ((pair, relation, score),) = choose(TASK, candidates, logits)
    assert (pair, relation) == (0, 0)
    assert score == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert type(score) is float
    decoding = Decoding(TASK, [Window(0, 9, 9)])
    decoding.relate(candidates, logits)
    assert decoding.links == [Link(0, head, tail, score)]
