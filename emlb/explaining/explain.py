"""Explaining the triples that the deployed pipeline finds in a note."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from emlb_runtime.decoding.note_decoder import score_pairs
from emlb_runtime.errors import ArtefactError, ConfigError
from emlb_runtime.inference.backend import Floats, Ints
from emlb_runtime.pipeline import NoteState, Pipeline, align
from emlb_runtime.records import Document, Entity, Note, Triple
from emlb_runtime.schema.task import Task
from emlb_runtime.text.windows import deciding_window

from .attention import Attention, EncoderLook, RelationLook
from .records import Explained, Explanation, Side, Weights

TOLERANCE = 1e-4
"""Largest difference of a relation's probability, explained to extracted."""

Words = tuple[int, int]
"""``[start, end)`` on the note's word axis."""


def explain_note(
    note: Note, *, pipeline: Pipeline, attention: Attention, number: int | None = None
) -> Explanation:
    """Extract a note, then look again at the windows that decided its triples.

    Args:
        note: of any length.
        pipeline: what extracts, one window at a time (``batch=1``).
        attention: tells where the same network looked.
        number: explain this triple alone, counted from 1.

    Raises:
        ConfigError: if there is no such triple.
        ArtefactError: if the second look scores a triple differently than the pipeline did,
            so that what it saw would explain nothing.
    """
    (document,) = pipeline.run([note])
    triples = list(document.triples())
    if number is not None and not 1 <= number <= len(triples):
        raise ConfigError(f"triple {number} was asked for, but the note has {len(triples)}")
    wanted = range(len(triples)) if number is None else [number - 1]
    second_look = _SecondLook(pipeline, attention, document)
    explained = second_look.explain({index: triples[index] for index in wanted})
    return Explanation(document, tuple(explained), _missing(explained, attention))


def _missing(explained: Sequence[Explained], attention: Attention) -> tuple[str, ...]:
    sentences = []
    if any(each.head_side is None for each in explained):
        sentences.append(f"No attention of the relation head: {attention.no_relation}.")
    if any(each.encoder is None for each in explained):
        sentences.append(f"No attention of the encoder: {attention.no_encoder}.")
    return tuple(sentences)


@dataclass(frozen=True)
class _Case:
    """A triple on the word axis, and the window that decided it."""

    number: int
    triple: Triple
    head: Words
    tail: Words
    window: int


class _SecondLook:
    """Runs the windows of one document again."""

    def __init__(self, pipeline: Pipeline, attention: Attention, document: Document) -> None:
        self._pipeline = pipeline
        self._attention = attention
        self._document = document
        self._state: NoteState = pipeline.prepare(document.note)
        self._tasks = {head.task.name: head.task for head in pipeline.heads}

    def explain(self, triples: Mapping[int, Triple]) -> list[Explained]:
        """Explain triples, given by their index in the document, in its order."""
        cases = [self._case(index, triple) for index, triple in triples.items()]
        done: list[Explained] = []
        for window in sorted({case.window for case in cases}):
            done += self._window(window, [case for case in cases if case.window == window])
        return sorted(done, key=lambda explained: explained.number)

    def _case(self, index: int, triple: Triple) -> _Case:
        head, tail = self._words(triple.head), self._words(triple.tail)
        windows = self._state.windows
        window = deciding_window(
            windows, min(head[0], tail[0]), max(head[1], tail[1]), range(len(windows))
        )
        return _Case(index + 1, triple, head, tail, window)

    def _words(self, entity: Entity) -> Words:
        words = align(self._state.tokens, entity.start, entity.end)
        assert words is not None, "the pipeline's mentions are whole words"
        return words

    def _window(self, index: int, cases: Sequence[_Case]) -> Iterable[Explained]:
        ids, pieces = self._pipeline.window_pieces(self._state, index)
        hidden = self._pipeline.backend.encode(ids[None], np.ones_like(ids)[None]).hidden[0]
        encoder = self._attention.encode(ids)
        for task in {case.triple.relation.task: None for case in cases}:
            own = [case for case in cases if case.triple.relation.task == task]
            yield from self._task(self._tasks[task], own, pieces, hidden, encoder)

    def _task(
        self,
        task: Task,
        cases: Sequence[_Case],
        pieces: Ints,
        hidden: Floats,
        encoder: EncoderLook | None,
    ) -> Iterable[Explained]:
        """The triples of one task that one window decided."""
        window = self._state.windows[cases[0].window]
        mentions = self._mentions(task, window.start, window.end)
        place = {words: row for row, words in enumerate(mentions)}
        spans = np.array(
            [
                (pieces[start - window.start], pieces[end - window.start], type)
                for (start, end), type in mentions.items()
            ],
            dtype=np.int64,
        )
        pairs = np.array([(place[case.head], place[case.tail]) for case in cases], dtype=np.int64)
        look = self._attention.relate(task.name, hidden, spans, pairs)
        self._check(task, cases, look)
        if encoder is not None:
            again = self._attention.relate(task.name, encoder.hidden, spans, pairs)
            self._check(task, cases, again)
        words = np.stack([self._state.tokens.start, self._state.tokens.end], axis=1)
        for pair, case in enumerate(cases):
            first, end, _ = spans[pairs[pair, 0]]
            sides = [None, None] if look.weights is None else np.split(look.weights[:, pair], 2)
            yield Explained(
                number=case.number,
                triple=case.triple,
                window=case.window + 1,
                words=words[window.start : window.end],
                head_side=_side(sides[0], pieces),
                tail_side=_side(sides[1], pieces),
                encoder=None
                if encoder is None
                else Weights.of_pieces(encoder.weights[first:end].mean(axis=0), pieces),
            )

    def _mentions(self, task: Task, start: int, end: int) -> dict[Words, int]:
        """The task's mentions that lie whole in a window, and their types: all of them, for
        a pair is scored in view of the others.
        """
        found = {
            self._words(entity): task.entity_types.index(entity.type)
            for entity in self._document.entities
            if entity.task == task.name
        }
        return {words: type for words, type in found.items() if start <= words[0] < words[1] <= end}

    def _check(self, task: Task, cases: Sequence[_Case], look: RelationLook) -> None:
        """Refuse to explain scores that are not those of the pipeline."""
        mentions = [(case.triple.head, case.triple.tail) for case in cases]
        types = np.array([[task.entity_types.index(m.type) for m in pair] for pair in mentions])
        certainty = np.array([[_probability(task, m) for m in pair] for pair in mentions])
        scores = score_pairs(task, types, certainty, look.logits)
        for pair, case in enumerate(cases):
            relation = case.triple.relation
            score = scores[pair, task.relation_types.index(relation.type)]
            if not abs(score - relation.score) <= TOLERANCE:
                raise ArtefactError(
                    f"triple {case.number} scores {relation.score:.4f}, but {score:.4f} where its "
                    "attention is read: its attention cannot be shown"
                )


def _probability(task: Task, entity: Entity) -> float:
    """The entity head's own probability of a mention, before calibration."""
    if task.calibration is None:
        return entity.score
    return task.calibration.entity_probability(entity.type, entity.score)


def _side(weights: Floats | None, pieces: Ints) -> Side | None:
    """Of (heads, T) piece weights."""
    return (
        None
        if weights is None
        else Side(
            Weights.of_pieces(weights.astype(np.float64).mean(axis=0), pieces),
            tuple(Weights.of_pieces(head, pieces) for head in weights),
        )
    )
