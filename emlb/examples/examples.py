"""From annotated documents to training windows, with everything unusable counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emlb.data.mapping import UNKNOWN
from emlb_runtime.pipeline import Pipeline, align
from emlb_runtime.records import Document, Entity
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task, words_between
from emlb_runtime.text.layout import Layout
from emlb_runtime.text.tokens import Tokens
from emlb_runtime.text.windows import Window

from .coverage import Coverage
from .soft import SoftTargets, WindowText


@dataclass(frozen=True)
class Supervision:
    """What a corpus can teach a task.

    Attributes:
        task: the task it trains.
        coverage: what it annotates.
        relation_weight: how much its relation pairs count.
        partial_negatives: weight of an unrelated pair for relations annotated in part,
            against 1 for those annotated in full.
    """

    task: Task
    coverage: Coverage
    relation_weight: float = 1.0
    partial_negatives: float = 0.2

    @property
    def unknown_labels(self) -> NDArray[np.bool_]:
        """(E,) labels that an unlabelled word may have: O and types not annotated in full."""
        unknown = np.zeros(self.task.scheme.n_labels, dtype=bool)
        unknown[0] = True
        for index, type in enumerate(self.task.entity_types):
            if type not in self.coverage.full:
                unknown[1 + 2 * index : 3 + 2 * index] = True
        return unknown

    @property
    def pair_weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(R,) weights of related and of unrelated pairs, per relation type."""
        types = self.task.relation_types
        related = np.array([type in self.coverage.annotated for type in types], dtype=np.float32)
        unrelated = np.array(
            [
                1.0
                if type in self.coverage.full
                else self.partial_negatives
                if type in self.coverage.part
                else 0.0
                for type in types
            ],
            dtype=np.float32,
        )
        return related * self.relation_weight, unrelated * self.relation_weight

    def possible_values(self, type: str, stated: Mapping[str, str]) -> NDArray[np.bool_]:
        """(V,) attribute values that a mention may have.

        Args:
            type: the mention's.
            stated: its attributes as annotated.
        """
        possible = np.ones(self.task.n_attribute_values, dtype=bool)
        for attribute in self.task.attributes:
            marked = self.coverage.attributes.get((attribute.name, type))
            if marked is None:
                continue
            value = stated.get(attribute.name)
            if value in attribute.values:
                allowed = [value == other for other in attribute.values]
            else:
                allowed = [value is not None or other not in marked for other in attribute.values]
            possible[self.task.attribute_columns[attribute.name]] = allowed
        return possible


@dataclass(frozen=True)
class Example:
    """One training window.

    Attributes:
        supervision: whose task and coverage it follows.
        input_ids: (T,) pieces with special tokens.
        word_pieces: (W + 1,) where each word begins, and where the last ends.
        possible: (W, E) labels that agree with the annotation.
        mentions: gold mentions that BIO labels can hold, on the window's word axis.
        relations: (relation type, head, tail), indices into ``mentions``.
        uncertain: mentions that are gold but that labels cannot hold; of type -1 where it is not
            known which mentions there are.
        layout: what the words may be in a mention that is found.
        doubtful: relations, as in ``relations``, of which it is not known whether they hold.
        source: the window's text, for teachers.
        soft: what teachers think of it; None without teachers.
        attributes: (M, V) per mention, the attribute values that agree with the annotation; None
            of a task without attributes.
    """

    supervision: Supervision
    input_ids: NDArray[np.int64]
    word_pieces: NDArray[np.int64]
    possible: NDArray[np.bool_]
    mentions: tuple[WordSpan, ...]
    relations: tuple[tuple[int, int, int], ...]
    uncertain: tuple[WordSpan, ...]
    layout: Layout
    doubtful: tuple[tuple[int, int, int], ...] = ()
    source: WindowText | None = None
    soft: SoftTargets | None = None
    attributes: NDArray[np.bool_] | None = None


def window_text(text: str, tokens: Tokens, window: Window) -> WindowText:
    """The text of a window's words.

    Args:
        text: the note.
        tokens: the note's.
        window: of at least one word.
    """
    start, end = tokens.start[window.start : window.end], tokens.end[window.start : window.end]
    first, last = int(start[0]), int(end[-1])
    return WindowText(text[first:last], start - first, end - first)


@dataclass(frozen=True)
class _Gold:
    """A document's mentions on its word axis."""

    kept: dict[str, WordSpan]
    uncertain: tuple[WordSpan, ...]
    attributes: dict[str, NDArray[np.bool_]]


def make_examples(
    documents: Iterable[Document],
    supervision: Supervision,
    pipeline: Pipeline,
    unused: Counter[str],
) -> list[Example]:
    """Cut documents into windows with the runtime's own cutter.

    Args:
        documents: annotated in the task's types; others are counted and left out.
        supervision: how to read them.
        pipeline: gives the tokenizer and windows.
        unused: receives, per reason, the annotations that no window can teach.
    """
    examples = []
    for document in documents:
        state = pipeline.prepare(document.note)
        gold = _align(document, state.tokens, supervision, unused)
        related: set[tuple[str, str, str]] = set()
        for index, window in enumerate(state.windows):
            ids, word_pieces = pipeline.window_pieces(state, index)
            layout = state.window_layout(index)
            pieces = (ids, word_pieces)
            example = _example(document, gold, window, supervision, pieces, layout, related)
            source = window_text(document.note.text, state.tokens, window)
            examples.append(replace(example, source=source))
        _count_cut(gold, state.windows, unused)
        _count_relations(document, gold, supervision, related, unused)
    return examples


def _align(
    document: Document, tokens: Tokens, supervision: Supervision, unused: Counter[str]
) -> _Gold:
    task = supervision.task
    kept: dict[str, WordSpan] = {}
    uncertain: list[WordSpan] = []
    attributes: dict[str, NDArray[np.bool_]] = {}
    taken = np.zeros(tokens.n_words, dtype=bool)
    # Of overlapping mentions the longest is kept: labels hold one layer.
    for entity in sorted(document.entities, key=lambda e: (e.start - e.end, e.start, e.type)):
        if entity.type == UNKNOWN:
            uncertain.append((*_covering(tokens, entity), -1))
            continue
        if entity.type not in task.entity_types:
            unused[f"entity of type {entity.type}, which the task lacks"] += 1
            continue
        type = task.entity_types.index(entity.type)
        words = None if entity.fragments else align(tokens, entity.start, entity.end)
        if words is None:
            uncertain.append((*_covering(tokens, entity), type))
            reason = "discontinuous mention" if entity.fragments else "mention ends inside a word"
            unused[reason] += 1
        elif taken[slice(*words)].any():
            uncertain.append((*words, type))
            unused["mention overlaps a longer one"] += 1
        else:
            taken[slice(*words)] = True
            kept[entity.id] = (*words, type)
            attributes[entity.id] = supervision.possible_values(entity.type, entity.attributes)
            _count_attributes(entity, task, unused)
    return _Gold(kept, tuple(span for span in uncertain if span[0] < span[1]), attributes)


def _count_attributes(entity: Entity, task: Task, unused: Counter[str]) -> None:
    """Count what is said of a mention that the task cannot learn, if it learns attributes."""
    if not task.attributes:
        return
    known = {attribute.name: attribute for attribute in task.attributes}
    for name, value in entity.attributes.items():
        attribute = known.get(name)
        if attribute is None:
            unused[f"attribute {name}, which the task lacks"] += 1
        elif not attribute.applies_to(entity.type):
            unused[f"attribute {name} of type {entity.type}, which does not have it"] += 1
        elif value not in attribute.values:
            unused[f"attribute {name} with a value that the task lacks"] += 1


def _covering(tokens: Tokens, entity: Entity) -> tuple[int, int]:
    """The words that a mention touches."""
    return (
        int(np.searchsorted(tokens.end, entity.start, side="right")),
        int(np.searchsorted(tokens.start, entity.end)),
    )


def _example(
    document: Document,
    gold: _Gold,
    window: Window,
    supervision: Supervision,
    pieces: tuple[NDArray[np.int64], NDArray[np.int64]],
    layout: Layout,
    related: set[tuple[str, str, str]],
) -> Example:
    n_words = window.end - window.start
    scheme = supervision.task.scheme
    possible = np.tile(supervision.unknown_labels, (n_words, 1))
    uncertain = []
    whole: dict[str, WordSpan] = {}
    for id, (start, end, type) in gold.kept.items():
        start, end = start - window.start, end - window.start
        if start >= 0 and end <= n_words:
            whole[id] = (start, end, type)
        elif start < n_words and end > 0:
            uncertain.append((max(start, 0), min(end, n_words), type))
    for start, end, type in gold.uncertain:
        start, end = max(start - window.start, 0), min(end - window.start, n_words)
        if start < end:
            uncertain.append((start, end, type))
    for start, end, _ in uncertain:
        possible[start:end] = True
    ordered = sorted(whole, key=lambda id: whole[id])
    for id in ordered:
        start, end, type = whole[id]
        labels = scheme.encode([(0, end - start, type)], end - start)
        possible[start:end] = labels[:, None] == np.arange(scheme.n_labels)
    for _, end, type in whole.values():
        if end < n_words:  # the mention ends here: the next word cannot be more of it
            possible[end, 2 + 2 * type] = False
    position = {id: index for index, id in enumerate(ordered)}
    relations = []
    for relation in document.relations:
        if relation.type not in supervision.task.relation_types:
            continue
        if relation.head in position and relation.tail in position:
            type = supervision.task.relation_types.index(relation.type)
            relations.append((type, position[relation.head], position[relation.tail]))
            related.add((relation.type, relation.head, relation.tail))
    return Example(
        supervision,
        *pieces,
        possible,
        tuple(whole[id] for id in ordered),
        tuple(relations),
        tuple(uncertain),
        layout,
        attributes=_stack(supervision.task, [gold.attributes[id] for id in ordered]),
    )


def _stack(task: Task, rows: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_] | None:
    """(M, V) of (V,) per mention; None of a task without attributes."""
    if not task.attributes:
        return None
    return np.array(rows, dtype=bool).reshape(-1, task.n_attribute_values)


def _count_cut(gold: _Gold, windows: Sequence[Window], unused: Counter[str]) -> None:
    """Count the mentions that no window holds whole."""
    for start, end, _ in gold.kept.values():
        if not any(window.start <= start and end <= window.end for window in windows):
            unused["mention cut by every window"] += 1


def _count_relations(
    document: Document,
    gold: _Gold,
    supervision: Supervision,
    taught: set[tuple[str, str, str]],
    unused: Counter[str],
) -> None:
    """Count the relations that no window teaches, by reason."""
    task = supervision.task
    for relation in document.relations:
        head, tail = gold.kept.get(relation.head), gold.kept.get(relation.tail)
        if relation.type not in task.relation_types:
            unused[f"relation of type {relation.type}, which the task lacks"] += 1
        elif head is None or tail is None:
            unused["relation with a mention that labels cannot hold"] += 1
        elif not task.allowed[task.relation_types.index(relation.type), head[2], tail[2]]:
            unused["relation between types that are seldom joined by it"] += 1
        elif (relation.type, relation.head, relation.tail) not in taught:
            unused["relation between mentions too far apart for one window"] += 1
        elif words_between(head, tail) > task.farthest[head[2], tail[2]]:
            unused["relation that spans more words than its type's reach"] += 1


class ExampleSet:
    """Training windows as the ``Trainer`` wants them: indexable, items are mappings."""

    def __init__(self, examples: list[Example]) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        example = self.examples[index]
        return {"input_ids": example.input_ids, "example": example}
