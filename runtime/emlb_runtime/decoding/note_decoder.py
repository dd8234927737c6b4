"""From scores to mentions and relations of one task in one note, window by window.

A note's windows arrive in order. A window is settled once its successor has been decoded:
then every mention in it is final and its relations can be scored. So only the last window's
hidden states are ever kept, however long the note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emlb_runtime.schema.attributes import Stated, decide, spread
from emlb_runtime.schema.calibration import sigmoid
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task, enumerate_pairs, select
from emlb_runtime.text.windows import Window, deciding_window, deciding_windows


class Mention(NamedTuple):
    """A mention on the note's word axis.

    ``type`` is an index into the task's entity types, ``score`` the network's probability,
    not yet calibrated.
    """

    start: int
    end: int
    type: int
    score: float


class Link(NamedTuple):
    """A scored relation between two mentions; ``type`` indexes the task's relation types."""

    type: int
    head: Mention
    tail: Mention
    score: float


class Candidates(NamedTuple):
    """The pairs that one window decides."""

    mentions: list[Mention]
    pairs: NDArray[np.int64]
    """(P, 2) indices into ``mentions``."""


@dataclass
class Decoding:
    """The state of one task over one note's windows, fed in order.

    Attributes:
        task: the task.
        windows: all windows of the note.
        mentions: per window decoded so far, the mentions it decided.
        links: relations found so far.
        described: per mention of the settled windows, its attribute scores (V,); of a task
            without attributes there are none.
        resolve: whether to drop one of two overlapping mentions; off when they are given.
    """

    task: Task
    windows: Sequence[Window]
    mentions: list[list[Mention]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    described: dict[Mention, NDArray[np.floating]] = field(default_factory=dict)
    resolve: bool = True

    def add(self, spans: Sequence[tuple[WordSpan, float]]) -> None:
        """Take the next window's mentions, on the window's own word axis, with scores."""
        index = len(self.mentions)
        offset = self.windows[index].start
        near = range(max(0, index - 1), min(len(self.windows), index + 2))
        own = []
        for (start, end, type), score in spans:
            start, end = start + offset, end + offset
            if deciding_window(self.windows, start, end, near) == index:
                own.append(Mention(start, end, type, score))
        if index and self.resolve:
            self.mentions[-1], own = self._settle_border(index, self.mentions[-1], own)
        self.mentions.append(own)

    def _settle_border(
        self, index: int, before: list[Mention], after: list[Mention]
    ) -> tuple[list[Mention], list[Mention]]:
        """Where mentions of two neighbouring windows overlap, keep the one better in view.

        The best seen goes first and shuts out its rivals, so none is lost to a loser.
        """
        ahead, here = self.windows[index - 1], self.windows[index]
        ranked = [(-ahead.context(m.start, m.end), 0, m) for m in before if m.end > here.start]
        ranked += [(-here.context(m.start, m.end), 1, m) for m in after if m.start < ahead.end]
        kept: list[tuple[int, Mention]] = []
        lost: set[tuple[int, Mention]] = set()
        for _, side, mention in sorted(ranked):
            if any(
                side != other and mention.start < rival.end and rival.start < mention.end
                for other, rival in kept
            ):
                lost.add((side, mention))
            else:
                kept.append((side, mention))
        return (
            [mention for mention in before if (0, mention) not in lost],
            [mention for mention in after if (1, mention) not in lost],
        )

    def candidates(self, index: int) -> Candidates:
        """The pairs that a settled window decides: both mentions are in it whole, and no
        neighbour shows more around the two.
        """
        window = self.windows[index]
        near = range(max(0, index - 1), min(len(self.windows), index + 2))
        inside = [
            mention
            for neighbour in near
            if neighbour < len(self.mentions)
            for mention in self.mentions[neighbour]
            if mention.start >= window.start and mention.end <= window.end
        ]
        spans = np.array([mention[:3] for mention in inside], dtype=np.int64).reshape(-1, 3)
        pairs = enumerate_pairs(self.task, spans)
        if len(self.windows) == 1 or len(pairs) == 0:
            return Candidates(inside, pairs)
        bounds = spans[pairs, :2]  # (P, 2, 2)
        decided = deciding_windows(
            self.windows, bounds[..., 0].min(axis=1), bounds[..., 1].max(axis=1), near
        )
        return Candidates(inside, pairs[decided == index])

    def relate(self, candidates: Candidates, logits: NDArray[np.floating]) -> None:
        """Take the relation logits (P, R) of a window's candidates."""
        for pair, type, score in choose(self.task, candidates, logits):
            head, tail = candidates.pairs[pair]
            self.links.append(
                Link(type, candidates.mentions[head], candidates.mentions[tail], score)
            )

    def describe(self, index: int, candidates: Candidates, scores: NDArray[np.floating]) -> None:
        """Take the attribute scores (S, V) of a window's candidates: those of its own mentions."""
        own = set(self.mentions[index])
        for mention, values in zip(candidates.mentions, scores, strict=True):
            if mention in own:
                self.described[mention] = values

    def stated(self) -> dict[Mention, Stated]:
        """The attributes of the mentions that have any to state."""
        task, mentions = self.task, list(self.described)
        if not mentions:
            return {}
        types = [task.entity_types[mention.type] for mention in mentions]
        scores = np.array([self.described[mention] for mention in mentions])
        if task.undecided:
            found = spread(task.attributes, types, scores)
        else:
            scalings = task.calibration.attributes if task.calibration else None
            found = decide(task.attributes, types, scores, scalings)
        return dict(zip(mentions, found, strict=True))


def score_pairs(
    task: Task,
    types: NDArray[np.int64],
    certainty: NDArray[np.float64],
    logits: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Scores of pairs of mentions.

    Args:
        task: gives signatures and calibration.
        types: (P, 2) entity type index of head and tail.
        certainty: (P, 2) the network's probability of head and tail.
        logits: (P, R) of the relation head.

    Returns:
        (P, R): how likely the triple is right; without a calibration, the probability that
        the mentions are related. Zero where the signature forbids the relation.
    """
    scores = sigmoid(logits)
    if task.calibration is not None:
        scores = task.calibration.triple_scores(
            task.relation_types, certainty[:, 0], scores, certainty[:, 1]
        )
    return np.where(task.allowed[:, types[:, 0], types[:, 1]].T, scores, 0.0)


def choose(
    task: Task, candidates: Candidates, logits: NDArray[np.floating]
) -> list[tuple[int, int, float]]:
    """(pair, relation type, score) of the relations to report."""
    types = np.array([mention.type for mention in candidates.mentions], dtype=np.int64)
    certainty = np.array([mention.score for mention in candidates.mentions])
    scores = score_pairs(task, types[candidates.pairs], certainty[candidates.pairs], logits)
    return [
        (pair, relation, float(scores[pair, relation])) for pair, relation in select(task, scores)
    ]
