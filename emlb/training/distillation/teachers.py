"""Trained models as teachers: their probabilities on a text, by the student's words.

A teacher may cut words into other subwords, and even text into other words: everything is
matched by characters. It reads each text in its own windows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emlb.examples.soft import WindowText
from emlb.model.pretrained import TrainedModel
from emlb_runtime.decoding.crf import Crf
from emlb_runtime.decoding.mentions import bar
from emlb_runtime.pipeline import Job, NoteState
from emlb_runtime.records import Note
from emlb_runtime.schema.attributes import probabilities
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

_PAIRS = 512
"""Pairs that are scored at a time."""


@dataclass(frozen=True)
class _Seen:
    """A window as the teacher cut it: W words from ``start`` on, T pieces."""

    start: int
    pieces: Ints
    hidden: Floats
    marginals: Floats


@dataclass(frozen=True)
class View:
    """What one teacher made of one text.

    Attributes:
        start: (W,) first code point of each of its words.
        end: (W,) one past the last.
        seen: its windows.
    """

    start: Ints
    end: Ints
    seen: tuple[_Seen, ...]

    def labels(self, source: WindowText) -> Floats:
        """(W, E) the probability of each label at the student's words.

        A student's word has the labels of the teacher's word that it begins in; where that began
        before it, a beginning there is an inside here. A word that no teacher's word touches has
        zeros.
        """
        own = self._marginals()
        first = np.searchsorted(self.end, source.start, side="right")
        at = np.minimum(first, max(0, len(self.start) - 1))
        if not len(self.start):
            return np.zeros((len(source.start), own.shape[1]))
        touched = (first < len(self.start)) & (self.start[at] < source.end)
        labels = np.where(touched[:, None], own[at], 0.0)
        within = touched & (self.start[at] < source.start)
        labels[within, 2::2] += labels[within, 1::2]
        labels[within, 1::2] = 0.0
        return labels

    def _marginals(self) -> Floats:
        """(W, E); a word of two windows has those of the one in which it is farther inside."""
        n_labels = self.seen[0].marginals.shape[1] if self.seen else 0
        merged = np.zeros((len(self.start), n_labels))
        depth = np.full(len(self.start), -1)
        for window in self.seen:
            n_words = len(window.marginals)
            here = np.minimum(np.arange(n_words), np.arange(n_words)[::-1])
            place = slice(window.start, window.start + n_words)
            better = here > depth[place]
            merged[place][better] = window.marginals[better]
            depth[place][better] = here[better]
        return merged

    def words_of(self, start: int, end: int) -> tuple[int, int]:
        """The teacher's words that code points ``[start, end)`` touch."""
        return (
            int(np.searchsorted(self.end, start, side="right")),
            int(np.searchsorted(self.start, end)),
        )


class Teacher:
    """One trained model.

    Args:
        trained: the model.
        task: the student's; the teacher's has the same types in the same order.
        temperature: its scores are divided by it.
        autocast: what its encoder computes in; None is single precision.
    """

    def __init__(
        self,
        trained: TrainedModel,
        task: Task,
        *,
        temperature: float,
        autocast: torch.dtype | None = None,
    ) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trained.model.to(device)  # type: ignore[arg-type]  # transformers wraps it without types
        self._pipeline = trained.pipeline(autocast=autocast)
        (head,) = (head for head in self._pipeline.heads if head.task.name == task.name)
        self._task, crf = head.task, head.crf
        self._crf = Crf(
            crf.start / temperature, crf.end / temperature, crf.transitions / temperature
        )
        self._temperature = temperature

    def read(self, sources: Sequence[WindowText]) -> list[View]:
        """Encode some texts together."""
        states = [self._pipeline.prepare(Note("", source.text)) for source in sources]
        jobs = [
            Job(state, index, *self._pipeline.window_pieces(state, index))
            for state in states
            for index in range(len(state.windows))
        ]
        seen: dict[int, list[_Seen]] = {id(state): [] for state in states}
        if jobs:
            encoded = self._pipeline.backend.encode(*self._pipeline.inputs(jobs))
            scores = encoded.emissions[self._task.name]
            for row, job in enumerate(jobs):
                own = self._see(job, encoded.hidden[row], scores[row])
                seen[id(job.state)].append(own)
        return [self._view(state, seen[id(state)]) for state in states]

    def _see(self, job: Job, hidden: Floats, scores: Floats) -> _Seen:
        barred = bar(scores[job.pieces[:-1]], job.state.window_layout(job.index))
        lattice = self._crf.lattices(barred[None] / self._temperature, [len(barred)])[0]
        start = job.state.windows[job.index].start
        return _Seen(start, job.pieces, hidden[: len(job.ids)], lattice.marginals())

    @staticmethod
    def _view(state: NoteState, seen: Sequence[_Seen]) -> View:
        return View(state.tokens.start, state.tokens.end, tuple(seen))

    @property
    def has_attributes(self) -> bool:
        """Whether it was trained with the student's attributes."""
        return bool(self._task.attributes)

    def attributes(
        self, view: View, source: WindowText, mentions: Sequence[WordSpan]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """The probability (S, V) of each attribute value of some mentions, and which (S,) have one.

        Args:
            view: of the text.
            source: the text.
            mentions: on the student's word axis.
        """
        scores = np.zeros((len(mentions), self._task.n_attribute_values))
        known = np.zeros(len(mentions), dtype=bool)
        for window in view.seen if self._task.attributes and mentions else ():
            spans, held = _spans_in(window, view, source, mentions)
            todo = np.flatnonzero(held & ~known)
            if len(todo):
                found = self._pipeline.backend.describe(
                    self._task.name,
                    window.hidden[None],
                    np.ones((1, len(window.hidden)), dtype=np.int64),
                    spans[None],
                )[0]
                scaled = found[todo] / self._temperature
                scores[todo] = probabilities(self._task.attributes, scaled)
                known[todo] = True
        return scores, known

    def relations(
        self, view: View, source: WindowText, mentions: Sequence[WordSpan], pairs: Ints
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """The probability (P, R) of each relation of some pairs, and which pairs (P,) have one.

        Args:
            view: of the text.
            source: the text.
            mentions: on the student's word axis.
            pairs: (P, 2) head and tail, indices of ``mentions``.
        """
        scores = np.zeros((len(pairs), len(self._task.relation_types)))
        known = np.zeros(len(pairs), dtype=bool)
        for window in view.seen:
            spans, held = _spans_in(window, view, source, mentions)
            todo = np.flatnonzero(held[pairs].all(axis=1) & ~known)
            if not len(todo):
                continue
            for first in range(0, len(todo), _PAIRS):
                chosen = todo[first : first + _PAIRS]
                scores[chosen] = self._relate(window, spans, pairs[chosen])
            known[todo] = True
        return scores, known

    def _relate(self, window: _Seen, spans: Ints, pairs: Ints) -> Floats:
        logits = self._pipeline.backend.relate(
            self._task.name,
            window.hidden[None],
            np.ones((1, len(window.hidden)), dtype=np.int64),
            spans[None],
            pairs[None],
        )[0]
        allowed = self._task.allowed[:, spans[pairs[:, 0], 2], spans[pairs[:, 1], 2]].T
        scaled = np.clip(logits.astype(np.float64) / self._temperature, -60, 60)
        scores: Floats = allowed / (1 + np.exp(-scaled))
        return scores


def _spans_in(
    window: _Seen, view: View, source: WindowText, mentions: Sequence[WordSpan]
) -> tuple[Ints, NDArray[np.bool_]]:
    """The pieces (S, 3) of mentions in a window, and which of them (S,) it holds whole."""
    words = [
        view.words_of(int(source.start[start]), int(source.end[end - 1]))
        for start, end, _ in mentions
    ]
    stop = window.start + len(window.marginals)
    held = np.array([window.start <= a < b <= stop for a, b in words], dtype=bool)
    spans = np.array(
        [
            (window.pieces[a - window.start], window.pieces[b - window.start], type)
            if inside
            else (0, 1, type)
            for (a, b), (_, _, type), inside in zip(words, mentions, held, strict=True)
        ],
        dtype=np.int64,
    )
    return spans.reshape(-1, 3), held
