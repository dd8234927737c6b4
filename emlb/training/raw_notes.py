"""Windows of raw notes, for trained models to label.

Notes that share a text or a long sentence with held-out documents are left out, and so are notes
that a corpus annotates: they need no teacher.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emlb.data.formats.detect import scan
from emlb.data.leaks import find_leaks
from emlb.examples.examples import window_text
from emlb.examples.packing import PACKED_CHARACTERS, pack
from emlb.examples.soft import WindowText
from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.pipeline import Pipeline
from emlb_runtime.records import Document
from emlb_runtime.schema.task import Task
from emlb_runtime.text.layout import Layout

from .config import DistillationConfig

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class RawNotes:
    """Where raw notes are, and which of them not to use.

    Attributes:
        data: folder that the notes' paths are relative to.
        held: development and test documents of all corpora.
        annotated: their training documents.
        seed: of the draw of notes.
    """

    data: Path
    held: Sequence[Document] = field(default=(), repr=False)
    annotated: Sequence[Document] = field(default=(), repr=False)
    seed: int = 13


@dataclass(frozen=True)
class RawWindow:
    """A window of a note that nobody annotated.

    Attributes:
        ids: (T,) pieces with special tokens.
        word_pieces: (W + 1,) where each word begins, and where the last ends.
        layout: what the words may be in a mention.
        source: the window's text.
    """

    ids: Ints
    word_pieces: Ints
    layout: Layout
    source: WindowText


def check_doubted(config: DistillationConfig, tasks: Sequence[Task]) -> None:
    """See that the relation types which teachers are not trusted with exist.

    Raises:
        ConfigError: if one is no task's.
    """
    known = {type for task in tasks for type in task.relation_types}
    if unknown := sorted({*config.doubted} - known):
        raise ConfigError(
            f"distillation.doubted has {unknown[0]!r}; the relation types are "
            f"{', '.join(sorted(known))}"
        )


def read_windows(
    config: DistillationConfig,
    pipeline: Pipeline,
    raw: RawNotes,
    *,
    say: Callable[[str], None],
) -> list[RawWindow]:
    """About as many windows of raw notes as configured, evenly from each place.

    Args:
        config: the places and the number of windows.
        pipeline: cuts notes as the student will.
        raw: where the places are, and which notes not to use.
        say: receives lines for the user.

    Raises:
        DataError: if a place has no note, or none that may be used.
    """
    windows: list[RawWindow] = []
    for place in config.notes:
        notes, unused = _usable(raw.data / place, raw.held, raw.annotated)
        found = _cut(notes, pipeline, -(-config.windows // len(config.notes)), seed=raw.seed)
        if not found:
            raise DataError(
                f"{raw.data / place}: no note is left to label{_reasons(unused)}; name other notes "
                "in distillation.notes"
            )
        say(f"{place}: {len(found)} windows for {len(config.teachers)} teachers to label")
        for reason, count in unused.items():
            say(f"  not used: {count} × {reason}")
        windows += found
    return windows


def _usable(
    path: Path, held: Sequence[Document], annotated: Sequence[Document]
) -> tuple[list[Document], Counter[str]]:
    """The notes at a path, short ones packed, and how many are not used, by reason."""
    notes: list[Document] = []
    unused: Counter[str] = Counter()
    for document, report in scan(path):
        if document is not None:
            notes.append(document)
        else:
            unused.update(report.summary())
    if not notes:
        raise DataError(f"{path}: no notes to label{_reasons(unused)}")
    leaking = set(find_leaks(held, {"notes": notes})["notes"].names)
    known = {document.note.text for document in annotated}
    bare: list[Document] = []
    for document in notes:
        if document.note.name in leaking:
            unused["note that shares text with a held-out document"] += 1
        elif document.note.text in known:
            unused["note that a corpus annotates"] += 1
        elif not document.note.text.strip():
            unused["note without text"] += 1
        else:
            bare.append(Document(document.note))  # annotations are not looked at
    if bare and sum(len(d.note.text) for d in bare) / len(bare) < PACKED_CHARACTERS[1] / 2:
        bare = pack(bare, seed=0)
    return bare, unused


def _reasons(unused: Counter[str]) -> str:
    return "".join(f"; {count} × {reason}" for reason, count in unused.most_common())


def _cut(
    notes: Sequence[Document], pipeline: Pipeline, n_windows: int, *, seed: int
) -> list[RawWindow]:
    """About as many windows as asked for, of notes drawn at random; notes are not cut short."""
    order = list(notes)
    random.Random(seed).shuffle(order)
    windows: list[RawWindow] = []
    for document in order:
        if len(windows) >= n_windows:
            break
        state = pipeline.prepare(document.note)
        windows += [
            RawWindow(
                *pipeline.window_pieces(state, index),
                state.window_layout(index),
                window_text(document.note.text, state.tokens, state.windows[index]),
            )
            for index in range(len(state.windows))
        ]
    return windows
