"""Soft targets of an ensemble, on raw notes and on the annotated corpora.

The mean over the teachers of each label's marginal probability at each word, of each relation's
probability for each pair of mentions, and of each attribute value's for each mention: the annotated
mentions where a corpus annotates them, else those on the best path of the mean marginals. What the
teachers are unsure of is taught as unsure, and partly annotated corpora learn the rest of the
schema.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, Supervision
from emlb.examples.soft import SoftTargets, WindowText
from emlb.training.config import DistillationConfig
from emlb.training.raw_notes import RawNotes, RawWindow, check_doubted, read_windows
from emlb.training.warm_start.start import load_alike
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task, enumerate_pairs

from .hard_labels import best_path
from .store import Stored, fingerprint, load_targets, save_targets
from .teachers import Teacher, View

_BATCH = 16

Say = Callable[[str], None]


@dataclass(frozen=True)
class _Asked:
    """A text that the teachers read; mentions are None where nobody annotated it."""

    source: WindowText
    mentions: tuple[WordSpan, ...] | None


def distil_softly(
    config: DistillationConfig,
    tasks: Sequence[Task],
    pipeline: Pipeline,
    examples: Sequence[Example],
    *,
    raw: RawNotes,
    cache: Path,
    say: Say,
    autocast: torch.dtype | None = None,
) -> list[Example]:
    """Give training windows soft targets, and add windows of raw notes that have nothing else.

    Args:
        config: teachers, notes, temperature and weights.
        tasks: the run's tasks; every teacher must have them, type by type.
        pipeline: cuts notes as the student will.
        examples: the windows of the annotated corpora.
        raw: where the notes are, and which of them not to use.
        cache: a file for the targets: numbers alone, no text. If it is there and of the same
            teachers and windows, it is read instead of asking the teachers again.
        say: receives lines for the user.
        autocast: what the teachers' encoders compute in; None is single precision.

    Returns:
        The examples, task by task; within a task, those of the raw notes last.

    Raises:
        ConfigError: if a teacher does not fit, or a doubted relation type is no task's.
        DataError: if a place has no note that may be used.
    """
    check_doubted(config, tasks)
    windows = read_windows(config, pipeline, raw, say=say)
    taught: list[Example] = []
    for task in tasks:
        own = [example for example in examples if example.supervision.task is task]
        asked = _ask([], own if config.annotated else [])
        order = [*asked, *(_Asked(window.source, None) for window in windows)]
        file = cache.with_stem(f"{cache.stem}_{task.name}")
        stored = _targets(config, task, tasks, order, file, say, autocast)
        weigh = _Weighing(config, task)
        at = {id_of: index for index, id_of in enumerate(map(_key, asked))}
        for example in own:
            index = at.get(_key(_asked(example))) if config.annotated else None
            soft = None if index is None else weigh(stored[index])
            taught.append(replace(example, source=None, soft=soft))
        nothing = Supervision(task, Coverage(frozenset()))
        for window, found in zip(windows, stored[len(asked) :], strict=True):
            taught.append(_raw_example(window, found, nothing, weigh(found)))
    return taught


def _asked(example: Example) -> _Asked:
    assert example.source is not None  # make_examples sees to it
    return _Asked(example.source, example.mentions)


def _key(asked: _Asked) -> tuple[str, tuple[WordSpan, ...] | None]:
    return asked.source.text, asked.mentions


def _ask(asked: list[_Asked], examples: Sequence[Example]) -> list[_Asked]:
    """The texts of windows, each once: a corpus that is repeated repeats its windows."""
    known = {_key(item) for item in asked}
    for example in examples:
        item = _asked(example)
        if _key(item) not in known:
            known.add(_key(item))
            asked.append(item)
    return asked


def _targets(
    config: DistillationConfig,
    task: Task,
    tasks: Sequence[Task],
    asked: Sequence[_Asked],
    cache: Path,
    say: Say,
    autocast: torch.dtype | None,
) -> list[Stored]:
    """What the teachers say, from the cache if it is of the same question."""
    folders = [Path(folder) for folder in config.teachers]
    question = fingerprint(
        folders, config.temperature, task, map(_key, asked), autocast=str(autocast)
    )
    if (found := load_targets(cache, question)) is not None:
        say(f"task {task.name}: soft targets of {len(found)} windows read from {cache.name}")
        return found
    teachers = [
        Teacher(
            load_alike(folder, tasks, None, role="teacher"),
            task,
            temperature=config.temperature,
            autocast=autocast,
        )
        for folder in folders
    ]
    say(f"task {task.name}: {len(teachers)} teachers label {len(asked)} windows softly")
    # Windows of like length together; every text is read alone, so that order changes nothing.
    order = sorted(range(len(asked)), key=lambda index: len(asked[index].source.text))
    answers: dict[int, Stored] = {}
    for first in range(0, len(order), _BATCH):
        batch = order[first : first + _BATCH]
        for index, answer in zip(
            batch, _answer(teachers, task, [asked[index] for index in batch]), strict=True
        ):
            answers[index] = answer
    targets = [answers[index] for index in range(len(asked))]
    if os.environ.get("RANK", "0") == "0":  # as torchrun and accelerate number processes
        save_targets(cache, question, targets)
    return targets


def _answer(teachers: Sequence[Teacher], task: Task, asked: Sequence[_Asked]) -> list[Stored]:
    sources = [item.source for item in asked]
    views = [teacher.read(sources) for teacher in teachers]
    answers = []
    for row, item in enumerate(asked):
        own = [seen[row] for seen in views]
        mean = np.mean([view.labels(item.source) for view in own], axis=0)
        labels = mean.astype(np.float16)
        mentions = item.mentions if item.mentions is not None else find_mentions(task, labels)
        pairs = enumerate_pairs(task, mentions)
        scores = np.zeros((len(pairs), len(task.relation_types)))
        known = np.ones(len(pairs), dtype=bool)
        if len(pairs):
            for teacher, view in zip(teachers, own, strict=True):
                found, seen_pairs = teacher.relations(view, item.source, mentions, pairs)
                scores += found / len(teachers)
                known &= seen_pairs
        described = _describe(teachers, task, own, item.source, mentions)
        answers.append(Stored(labels, pairs[known], scores[known].astype(np.float16), described))
    return answers


def _describe(
    teachers: Sequence[Teacher],
    task: Task,
    views: Sequence[View],
    source: WindowText,
    mentions: Sequence[WordSpan],
) -> NDArray[np.float16]:
    """(S, V) the mean probabilities of attribute values; zeros where there are none.

    Teachers that were trained without attributes say nothing of them.
    """
    scores = np.zeros((len(mentions), task.n_attribute_values))
    known = np.ones(len(mentions), dtype=bool)
    able = [(t, view) for t, view in zip(teachers, views, strict=True) if t.has_attributes]
    for teacher, view in able:
        found, seen = teacher.attributes(view, source, mentions)
        scores += found / len(able)
        known &= seen
    return np.where(known[:, None], scores, 0.0).astype(np.float16)


def find_mentions(task: Task, labels: NDArray[np.float16]) -> tuple[WordSpan, ...]:
    """The mentions on the best path of some marginals (W, E)."""
    if not len(labels):
        return ()
    return tuple(task.scheme.decode(best_path(task, labels.astype(np.float64))))


class _Weighing:
    """Gives targets the weights of a configuration."""

    def __init__(self, config: DistillationConfig, task: Task) -> None:
        self._labels = config.label_weight
        self._columns = task.attribute_columns
        self._relations = np.array(
            [
                0.0 if type in config.doubted else config.relation_weight
                for type in task.relation_types
            ],
            dtype=np.float32,
        )

    def __call__(self, stored: Stored) -> SoftTargets:
        return SoftTargets(
            stored.labels,
            stored.pairs,
            stored.relations,
            self._labels,
            self._relations,
            {name: stored.attributes[:, own] for name, own in self._columns.items()}
            if stored.attributes.size
            else {},
        )


def _raw_example(
    window: RawWindow, stored: Stored, nothing: Supervision, soft: SoftTargets
) -> Example:
    """A window of which only the teachers say something."""
    task = nothing.task
    mentions = find_mentions(task, stored.labels)
    n_words = len(window.word_pieces) - 1
    return Example(
        nothing,
        window.ids,
        window.word_pieces,
        np.ones((n_words, task.scheme.n_labels), dtype=bool),
        mentions,
        (),
        (),
        window.layout,
        soft=soft,
    )
