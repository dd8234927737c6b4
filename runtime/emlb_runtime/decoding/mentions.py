"""The mentions that a CRF finds, as far as the note's layout lets them be."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.schema.labels import INSIDE, MENTION, WordSpan
from emlb_runtime.text.layout import Layout

from .crf import FORBIDDEN, Crf, Floats

LEAST = 0.4
"""A mention is found if it is more probable than this. The best path would be likeliest to be
right as a whole; for F1 it counts which mentions are, each for itself."""

Found = tuple[WordSpan, float]


def bar(emissions: Floats, layout: Layout) -> Floats:
    """Emissions (W, E) with the labels switched off that the layout rules out.

    The CRF's probabilities are then those among the paths that are left.
    """
    barred = np.array(emissions)
    barred[layout.apart, INSIDE] = FORBIDDEN
    barred[layout.ruled, MENTION] = FORBIDDEN
    return barred


def find_mentions(crf: Crf, emissions: Floats, layouts: Sequence[Layout]) -> list[list[Found]]:
    """The mentions of some windows that are likely enough, with their probabilities.

    None overlaps another. Brackets that a mention would tear from their partners are not run
    into: they are barred too, and the window is decoded once more.

    Args:
        crf: the CRF.
        emissions: (B, T, E); what lies past a window's words is ignored.
        layouts: (B,) of each window's words.
    """
    found: list[list[Found]] = [[] for _ in layouts]
    rows = [row for row, layout in enumerate(layouts) if layout.n_words]
    if not rows:
        return found
    barred = np.array(emissions[rows])
    for scores, row in zip(barred, rows, strict=True):
        n_words = layouts[row].n_words
        scores[:n_words] = bar(scores[:n_words], layouts[row])
    lattices = crf.lattices(barred, [layouts[row].n_words for row in rows])
    for lattice, row in zip(lattices, rows, strict=True):
        found[row] = _choose(lattice.likely_spans(LEAST))
        known: set[tuple[int, bool]] = set()
        while torn := _torn(found[row], layouts[row].brackets) - known:
            known |= torn
            scores = lattice.emissions
            for word, begins in torn:
                scores[word, MENTION if begins else INSIDE] = FORBIDDEN
            (lattice,) = crf.lattices(scores[None], [len(scores)])
            found[row] = _choose(lattice.likely_spans(LEAST))
    return found


def _choose(likely: Sequence[Found]) -> list[Found]:
    """Of overlapping mentions those whose probabilities exceed ``LEAST`` by most in all."""
    best: list[tuple[float, list[Found]]] = [(0.0, [])]
    ordered = sorted(likely, key=lambda item: item[0][1])
    ends = [end for (_, end, _), _ in ordered]
    for index, ((start, end, type), probability) in enumerate(ordered):
        gain, kept = best[bisect_right(ends, start)]
        taken = (gain + probability - LEAST, [*kept, ((start, end, type), probability)])
        best.append(max(best[index], taken, key=lambda option: option[0]))
    return sorted(best[-1][1])


def _torn(mentions: Sequence[Found], brackets: NDArray[np.int64]) -> set[tuple[int, bool]]:
    """Words with a bracket whose partner is not in the mention, and whether one begins there."""
    torn: set[tuple[int, bool]] = set()
    if not brackets.any():
        return torn
    for (start, end, _), _ in mentions:
        net = brackets[start:end]
        if not net.any():
            continue
        depth = np.cumsum(net)
        before = depth - net
        unopened = depth < np.minimum.accumulate(before)
        least_after = np.minimum.accumulate(depth[::-1])[::-1]
        unclosed = least_after > before
        torn |= {
            (start + int(word), bool(word == 0)) for word in np.flatnonzero(unopened | unclosed)
        }
    return torn
