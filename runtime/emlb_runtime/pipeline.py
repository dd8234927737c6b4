"""Notes to documents on one backend: tokenise, cut, encode, decode, relate, merge.

Windows are encoded in segments, so that a note of any length needs the memory of one
segment. On a CPU each window runs alone and at its own length: no padding is computed, and
no window's result can depend on what runs beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decoding.crf import Crf
from .decoding.mentions import find_mentions
from .decoding.note_decoder import Candidates, Decoding, Link, Mention
from .formats.sniff import count_tags, name_markup
from .inference.backend import Backend, Encoded
from .records import Document, Entity, Note, Relation, Status
from .schema.attributes import Stated, are_facts
from .schema.labels import WordSpan
from .schema.task import Task
from .text.layout import Layout, read_layout, read_structure
from .text.special_tokens import SpecialTokens
from .text.tokens import Tokens, tokenise
from .text.windows import Window, WindowConfig, cut_windows

SEGMENT = 64
"""Windows encoded before they are decoded together."""

PAIRS = 512
"""Pairs of a window that are related at a time: a dense table has thousands, at 20 kB each."""


@dataclass(frozen=True)
class Head:
    """A task and its CRF."""

    task: Task
    crf: Crf


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One window of one note on its way through the network."""

    state: NoteState
    index: int
    ids: NDArray[np.int64]
    """(T,) pieces with special tokens."""
    pieces: NDArray[np.int64]
    """(W + 1,) where in ``ids`` each of the window's words begins, and where the last ends."""


class NoteState:
    """A note's tokens, layout, windows, and the decoding of each task."""

    def __init__(
        self, note: Note, tokens: Tokens, windows: Sequence[Window], tasks: Sequence[Task]
    ) -> None:
        self.note = note
        self.tokens = tokens
        self.structure = read_structure(note.text, tokens.start)
        self.layout = read_layout(note.text, tokens.start, self.structure)
        self.windows = windows
        self.decodings = [Decoding(task, windows) for task in tasks]
        self.waiting: dict[int, tuple[Job, Encoded]] = {}

    def window_layout(self, index: int) -> Layout:
        """The layout of a window's words."""
        window = self.windows[index]
        return self.layout.part(window.start, window.end)


Given = Mapping[str, Sequence[Entity]]
"""Per note name, mentions to relate instead of those the network finds."""


Observe = Callable[[str], AbstractContextManager[None]]
"""Given a stage's name as it begins, what is left when it ends; see ``profiling.stages``."""

_UNOBSERVED = nullcontext()
_NOTHING = Stated({}, {})


class Pipeline:
    """The stages from notes to documents.

    Args:
        backend: runs the network.
        tokenizer: a ``tokenizers.Tokenizer`` without truncation and padding.
        special: its special tokens.
        heads: the tasks, in output order.
        windows: how notes are cut.
        min_score: entities and relations below it are left out.
        batch: windows per run of the network.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: Any,
        special: SpecialTokens,
        heads: Sequence[Head],
        *,
        windows: WindowConfig,
        min_score: float = 0.0,
        batch: int = 1,
    ) -> None:
        self.backend = backend
        self.heads = tuple(heads)
        self.observe: Observe = lambda stage: _UNOBSERVED
        self._tokenizer = tokenizer
        self._special = special
        self._windows = windows
        self._min_score = min_score
        self._batch = batch

    def run(
        self,
        notes: Sequence[Note],
        *,
        given: Given | None = None,
        executor: Executor | None = None,
    ) -> list[Document]:
        """Extract notes, in order.

        Args:
            notes: any number of notes of any length.
            given: mentions to use instead of the network's; names must be unique then.
            executor: threads to spread the runs of the network over.
        """
        mapped: Callable[..., Iterable[Any]] = executor.map if executor else map
        with self.observe("tokenise"):
            states = [self.prepare(note) for note in notes]
        jobs = (
            Job(state, index, *self.window_pieces(state, index))
            for state in states
            for index in range(len(state.windows))
        )
        if given is not None:
            for state in states:
                for decoding in state.decodings:
                    decoding.resolve = False
        while segment := list(islice(jobs, SEGMENT)):
            with self.observe("encode"):
                encoded = self._encode(segment, mapped)
            with self.observe("decode"):
                self._decode(segment, encoded, given)
            del encoded  # or one segment's would be held while the next is encoded
            with self.observe("relate"):
                self._relate({id(job.state): job.state for job in segment}.values(), mapped)
        with self.observe("merge"):
            return [self._document(state) for state in states]

    def prepare(self, note: Note) -> NoteState:
        """Tokenise a note and cut it."""
        tokens = tokenise(self._tokenizer, note.text)
        return NoteState(
            note, tokens, cut_windows(tokens, self._windows), [head.task for head in self.heads]
        )

    def window_pieces(
        self, state: NoteState, index: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A window's piece ids (T,) in its special tokens, and where its words begin (W + 1,)."""
        window, first = state.windows[index], state.tokens.first_piece
        begin, end = first[window.start], first[window.end]
        ids = np.empty(end - begin + 2, dtype=np.int64)
        ids[0], ids[-1] = self._special.cls, self._special.sep
        ids[1:-1] = state.tokens.ids[begin:end]
        return ids, first[window.start : window.end + 1] - begin + 1

    def inputs(self, jobs: Sequence[Job]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Piece ids and attention mask (B, T), padded to the longest."""
        return pad_windows([job.ids for job in jobs], self._special.pad)

    def _encode(
        self, jobs: Sequence[Job], mapped: Callable[..., Iterable[list[Encoded]]]
    ) -> list[Encoded]:
        """One result per job, cut to the job's own length."""
        order = sorted(range(len(jobs)), key=lambda index: -len(jobs[index].ids))
        batches = [
            order[first : first + self._batch] for first in range(0, len(order), self._batch)
        ]
        results: list[Encoded | None] = [None] * len(jobs)
        outputs = mapped(lambda batch: self._encode_batch([jobs[i] for i in batch]), batches)
        for batch, encoded in zip(batches, outputs, strict=True):
            for index, result in zip(batch, encoded, strict=True):
                results[index] = result
        return [result for result in results if result is not None]

    def _encode_batch(self, jobs: Sequence[Job], *, halve: bool = True) -> list[Encoded]:
        """One result per job of a batch; where memory is short, of its two halves instead."""
        try:
            output = self.backend.encode(*self.inputs(jobs))
        except MemoryError:
            if not halve or len(jobs) == 1:
                raise
            middle = len(jobs) // 2
            return [
                encoded
                for part in (jobs[:middle], jobs[middle:])
                for encoded in self._encode_batch(part, halve=False)
            ]
        return [
            Encoded(
                output.hidden[row, : len(job.ids)],
                {task: scores[row, : len(job.ids)] for task, scores in output.emissions.items()},
            )
            for row, job in enumerate(jobs)
        ]

    def _decode(self, jobs: Sequence[Job], encoded: Sequence[Encoded], given: Given | None) -> None:
        """Feed each window's mentions to its note's decodings."""
        for position, head in enumerate(self.heads):
            found = (
                [_given_spans(job, head.task, given[job.state.note.name]) for job in jobs]
                if given is not None
                else _mentions(head, jobs, encoded)
            )
            for job, spans in zip(jobs, found, strict=True):
                job.state.decodings[position].add(spans)
        for job, result in zip(jobs, encoded, strict=True):
            job.state.waiting[job.index] = (job, result)

    def _relate(self, states: Iterable[NoteState], mapped: Callable[..., Iterable[Any]]) -> None:
        """Score the pairs and mentions of every settled window and let its hidden states go."""
        work = [
            (position, job, result, candidates)
            for state in states
            for job, result in _settled(state)
            for position, head in enumerate(self.heads)
            if (candidates := state.decodings[position].candidates(job.index)).mentions
            and (len(candidates.pairs) or head.task.attributes)
        ]
        outputs = mapped(lambda item: self._score(*item), work)
        for (position, job, _, candidates), (logits, described) in zip(work, outputs, strict=True):
            decoding = job.state.decodings[position]
            if logits is not None:
                decoding.relate(candidates, logits)
            if described is not None:
                decoding.describe(job.index, candidates, described)

    def _score(
        self, position: int, job: Job, result: Encoded, candidates: Candidates
    ) -> tuple[NDArray[np.floating] | None, NDArray[np.floating] | None]:
        """Relation logits (P, R) and attribute scores (S, V); None where none are wanted."""
        task = self.heads[position].task
        offset = job.state.windows[job.index].start
        spans = np.array(
            [
                (job.pieces[m.start - offset], job.pieces[m.end - offset], m.type)
                for m in candidates.mentions
            ],
            dtype=np.int64,
        )
        hidden, mask = result.hidden[None], np.ones((1, len(job.ids)), dtype=np.int64)
        parts = [
            self.backend.relate(
                task.name,
                hidden,
                mask,
                spans[None],
                candidates.pairs[None, first : first + PAIRS],
            )[0]
            for first in range(0, len(candidates.pairs), PAIRS)
        ]
        described = (
            self.backend.describe(task.name, hidden, mask, spans[None])[0]
            if task.attributes
            else None
        )
        return np.concatenate(parts) if parts else None, described

    def _document(self, state: NoteState) -> Document:
        found = sorted(
            (mention.start, mention.end, position, mention, score)
            for position, decoding in enumerate(state.decodings)
            for mention, score in _scored(decoding)
            if score >= self._min_score
        )
        ids = {(position, m): f"T{n}" for n, (_, _, position, m, _) in enumerate(found, start=1)}
        stated = [decoding.stated() for decoding in state.decodings]
        entities = [
            self._entity(state, position, mention, ids[position, mention], score, stated[position])
            for _, _, position, mention, score in found
        ]
        relations = [
            self._relation(position, link, ids, stated[position])
            for position, decoding in enumerate(state.decodings)
            for link in sorted(decoding.links, key=lambda link: (link.head, link.tail, link.type))
            if link.score >= self._min_score
            and {(position, link.head), (position, link.tail)} <= ids.keys()
        ]
        status = Status(
            characters=len(state.note.text),
            windows=len(state.windows),
            provider=self.backend.provider,
            precision=self.backend.precision,
            warnings=_warnings(state),
        )
        return Document(state.note, tuple(entities), tuple(relations), status)

    def _entity(
        self,
        state: NoteState,
        position: int,
        mention: Mention,
        id: str,
        score: float,
        stated: Mapping[Mention, Stated],
    ) -> Entity:
        said = stated.get(mention, _NOTHING)
        task = self.heads[position].task
        start = int(state.tokens.start[mention.start])
        end = int(state.tokens.end[mention.end - 1])
        return Entity(
            id=id,
            type=task.entity_types[mention.type],
            start=start,
            end=end,
            text=state.note.text[start:end],
            score=score,
            task=task.name,
            attributes=said.values,
            attribute_scores=said.scores,
        )

    def _relation(
        self,
        position: int,
        link: Link,
        ids: Mapping[tuple[int, Mention], str],
        stated: Mapping[Mention, Stated],
    ) -> Relation:
        said = (stated.get(mention, _NOTHING).values for mention in (link.head, link.tail))
        task = self.heads[position].task
        return Relation(
            type=task.relation_types[link.type],
            head=ids[position, link.head],
            tail=ids[position, link.tail],
            score=link.score,
            task=task.name,
            asserted=None if task.undecided else are_facts(task.attributes, *said),
        )


def pad_windows(
    rows: Sequence[NDArray[np.int64]], pad: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Piece ids and attention mask (B, T) of windows, padded to the longest."""
    longest = max(len(row) for row in rows)
    ids = np.full((len(rows), longest), pad, dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return ids, mask


def _mentions(
    head: Head, jobs: Sequence[Job], encoded: Sequence[Encoded]
) -> list[list[tuple[WordSpan, float]]]:
    """The mentions of windows and how likely each is."""
    longest = max(len(job.pieces) - 1 for job in jobs)
    words = [
        result.emissions[head.task.name][job.pieces[:-1]]
        for job, result in zip(jobs, encoded, strict=True)
    ]
    padded = np.zeros((len(jobs), longest, head.task.scheme.n_labels), dtype=np.float32)
    for row, scores in enumerate(words):
        padded[row, : len(scores)] = scores
    layouts = [job.state.window_layout(job.index) for job in jobs]
    return find_mentions(head.crf, padded, layouts)


def _given_spans(job: Job, task: Task, entities: Sequence[Entity]) -> list[tuple[WordSpan, float]]:
    """Given mentions of the task's types that lie whole in the window, on its word axis.

    Of several mentions of one type and extent the first counts.
    """
    tokens, window = job.state.tokens, job.state.windows[job.index]
    spans: dict[WordSpan, float] = {}
    for entity in entities:
        if entity.type not in task.entity_types:
            continue
        span = align(tokens, entity.start, entity.end)
        if span and window.start <= span[0] and span[1] <= window.end:
            type = task.entity_types.index(entity.type)
            spans.setdefault((span[0] - window.start, span[1] - window.start, type), entity.score)
    return list(spans.items())


def align(tokens: Tokens, start: int, end: int) -> tuple[int, int] | None:
    """The words that code points ``[start, end)`` cover exactly, or None."""
    first = int(np.searchsorted(tokens.start, start))
    last = int(np.searchsorted(tokens.end, end))
    if first > last or last >= tokens.n_words:
        return None
    if tokens.start[first] != start or tokens.end[last] != end:
        return None
    return first, last + 1


def _scored(decoding: Decoding) -> Iterator[tuple[Mention, float]]:
    """The mentions and how likely each is right; given ones keep the score they came with."""
    task = decoding.task
    mentions = sorted({mention for window in decoding.mentions for mention in window})
    scores = [mention.score for mention in mentions]
    if task.calibration is not None and decoding.resolve:
        types = [task.entity_types[mention.type] for mention in mentions]
        scores = task.calibration.entity_scores(types, scores).tolist()
    return zip(mentions, scores, strict=True)


def _settled(state: NoteState) -> Iterator[tuple[Job, Encoded]]:
    """The windows whose successor is decoded, taken off the waiting list."""
    decoded = len(state.decodings[0].mentions)
    for index in sorted(state.waiting):
        if index + 1 < decoded or decoded == len(state.windows):
            yield state.waiting.pop(index)


def _warnings(state: NoteState) -> tuple[str, ...]:
    """What a user should know about how this note was read."""
    warnings = []
    if state.note.source_format:
        warnings.append(
            f"read from {state.note.source_format}: offsets count the text without its markup"
        )
    elif markup := name_markup(state.note.text):
        warnings.append(f"the text is {markup}: its markup was read as words")
    elif (tags := count_tags(state.note.text)) > 1:
        warnings.append(f"{tags} HTML tags were read as words")
    if "\x00" in state.note.text:
        warnings.append(f"{state.note.text.count(chr(0))} NUL characters")
    if not state.windows:
        warnings.append("no words in the note")
    return tuple(warnings)
