"""Training windows that an ensemble of models has labelled, for distilling it into one model.

Several models of the same task, such as seeds of one recipe, label raw notes together, and
one model of the same size learns from that beside the annotated corpora (noisy-student
self-training, Xie et al. 2020; for sequence labels, Wang et al. 2020). Only what the
ensemble is sure of is taught, and the rest is left open by the same means as in partly
annotated corpora:

* A word may have every label that the ensemble's mean marginal gives at least
  ``possible``; the CRF's constrained lattice sums over them.
* A mention counts as annotated where the mean marginal of each of its labels is at least
  ``sure``; otherwise it is uncertain, like a gold mention that labels cannot hold.
* A pair of such mentions is related if all models say so at their own thresholds,
  unrelated if none does, and else carries no loss. Of a relation type that is ``doubted``
  in the notes, no pair counts as related.
* A mention may have every attribute value that the mean probability gives at least
  ``possible``, and only the likeliest where that has at least ``sure``.

``soft_targets`` teaches the ensemble's probabilities instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emlb.examples.coverage import Coverage
from emlb.examples.examples import Example, Supervision
from emlb.model.pretrained import LoadedTokenizer, TrainedModel
from emlb.training.config import DistillationConfig
from emlb.training.raw_notes import RawNotes, RawWindow, check_doubted, read_windows
from emlb.training.warm_start.start import load_alike
from emlb_runtime.decoding.crf import Crf
from emlb_runtime.decoding.mentions import bar
from emlb_runtime.decoding.note_decoder import score_pairs
from emlb_runtime.pipeline import Pipeline, pad_windows
from emlb_runtime.schema.attributes import probabilities
from emlb_runtime.schema.labels import WordSpan
from emlb_runtime.schema.task import Task, enumerate_pairs

_BATCH = 16
_TINY = 1e-9

Ints = NDArray[np.int64]


def distil(
    config: DistillationConfig,
    tasks: Sequence[Task],
    pipeline: Pipeline,
    tokenizer: LoadedTokenizer,
    *,
    raw: RawNotes,
    say: Callable[[str], None],
    autocast: torch.dtype | None = None,
) -> list[Example]:
    """Have the teachers label raw notes.

    Args:
        config: teachers, notes and thresholds.
        tasks: the run's tasks; every teacher must have them, type by type.
        pipeline: cuts notes as the student will.
        tokenizer: the student's; the teachers' must be the same.
        raw: where the notes are, and which of them not to use.
        say: receives lines for the user.
        autocast: what the teachers' encoders compute in; None is single precision.

    Raises:
        ConfigError: if a teacher does not fit, or a doubted relation type is no task's.
        DataError: if a place has no note that may be used.
    """
    check_doubted(config, tasks)
    teachers = [
        load_alike(Path(folder), tasks, tokenizer, role="teacher") for folder in config.teachers
    ]
    windows = read_windows(config, pipeline, raw, say=say)
    examples: list[Example] = []
    for task in tasks:
        coverage = Coverage(frozenset((*task.entity_types, *task.relation_types)))
        supervision = Supervision(task, coverage, relation_weight=config.relation_weight)
        ensemble = [_Teacher(teacher, task, autocast) for teacher in teachers]
        labelled = list(_label(windows, ensemble, supervision, config, tokenizer.special.pad))
        mentions = sum(len(example.mentions) for example in labelled)
        relations = sum(len(example.relations) for example in labelled)
        say(f"  task {task.name}: {mentions} sure mentions, {relations} relations")
        examples += labelled
    return examples


def _label(
    windows: Sequence[RawWindow],
    ensemble: Sequence[_Teacher],
    supervision: Supervision,
    config: DistillationConfig,
    pad: int,
) -> Iterator[Example]:
    order = sorted(windows, key=lambda window: len(window.ids))
    for first in range(0, len(order), _BATCH):
        batch = order[first : first + _BATCH]
        ids, mask = pad_windows([window.ids for window in batch], pad)
        for teacher in ensemble:
            teacher.read(ids, mask, batch)
        for row, window in enumerate(batch):
            yield _example(row, window, ensemble, supervision, config)


class _Teacher:
    """One model's view of a batch of windows."""

    def __init__(self, trained: TrainedModel, task: Task, autocast: torch.dtype | None) -> None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        trained.model.to(device)  # type: ignore[arg-type]  # transformers wraps it without types
        pipeline = trained.pipeline(autocast=autocast)
        self._backend = pipeline.backend
        (head,) = (head for head in pipeline.heads if head.task.name == task.name)
        self._task, self._crf = head.task, head.crf

    def read(self, ids: Ints, mask: Ints, windows: Sequence[RawWindow]) -> None:
        """Encode the batch; the marginals of each window are (W, E)."""
        encoded = self._backend.encode(ids, mask)
        self._hidden = encoded.hidden
        scores = encoded.emissions[self._task.name]
        self.marginals = [
            self._marginals(bar(scores[row, window.word_pieces[:-1]], window.layout))
            for row, window in enumerate(windows)
        ]

    def _marginals(self, scores: NDArray[np.floating]) -> NDArray[np.floating]:
        (lattice,) = self._crf.lattices(scores[None], [len(scores)])
        return lattice.marginals()

    @property
    def has_attributes(self) -> bool:
        """Whether it was trained with the student's attributes."""
        return bool(self._task.attributes)

    def values(self, row: int, length: int, spans: Ints) -> NDArray[np.float64]:
        """(S, V) probabilities of the attribute values of a window's mentions."""
        hidden = self._hidden[row : row + 1, :length]
        mask = np.ones((1, length), dtype=np.int64)
        scores = self._backend.describe(self._task.name, hidden, mask, spans[None])[0]
        return probabilities(self._task.attributes, scores)

    def votes(
        self, row: int, length: int, spans: Ints, pairs: Ints, certainty: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """(P, R) relations of a window's pairs above this model's own thresholds.

        ``certainty`` (S,) is how sure the mentions are.
        """
        logits = self._backend.relate(
            self._task.name,
            self._hidden[row : row + 1, :length],
            np.ones((1, length), dtype=np.int64),
            spans[None],
            pairs[None],
        )[0]
        scores = score_pairs(self._task, spans[pairs, 2], certainty[pairs], logits)
        related: NDArray[np.bool_] = scores >= self._task.cutoffs
        return related & (scores > 0.0)


def _example(
    row: int,
    window: RawWindow,
    ensemble: Sequence[_Teacher],
    supervision: Supervision,
    config: DistillationConfig,
) -> Example:
    task = supervision.task
    posterior = np.mean([teacher.marginals[row] for teacher in ensemble], axis=0)
    path = best_path(task, posterior)
    possible = posterior >= config.possible
    possible[np.arange(len(path)), path] = True
    chosen = posterior[np.arange(len(path)), path]
    certain = chosen >= config.sure
    mentions = task.scheme.decode(path)
    sure = tuple(mention for mention in mentions if certain[mention[0] : mention[1]].all())
    pairs = enumerate_pairs(task, sure)
    relations: list[tuple[int, int, int]] = []
    doubtful: list[tuple[int, int, int]] = []
    if len(pairs):
        pieces = window.word_pieces
        spans = np.array([(pieces[s], pieces[e], type) for s, e, type in sure], dtype=np.int64)
        certainty = np.array([chosen[start:end].min() for start, end, _ in sure])
        ballots = [
            teacher.votes(row, len(window.ids), spans, pairs, certainty) for teacher in ensemble
        ]
        votes = np.sum(ballots, axis=0)
        for pair, relation in np.argwhere(votes):
            link = (int(relation), int(pairs[pair, 0]), int(pairs[pair, 1]))
            trusted = task.relation_types[relation] not in config.doubted
            agreed = votes[pair, relation] == len(ensemble)
            (relations if trusted and agreed else doubtful).append(link)
    return Example(
        supervision,
        window.ids,
        window.word_pieces,
        possible,
        sure,
        tuple(relations),
        tuple(mention for mention in mentions if mention not in sure),
        window.layout,
        tuple(doubtful),
        attributes=_possible_values(row, window, ensemble, task, sure, config),
    )


def _possible_values(
    row: int,
    window: RawWindow,
    ensemble: Sequence[_Teacher],
    task: Task,
    mentions: Sequence[WordSpan],
    config: DistillationConfig,
) -> NDArray[np.bool_] | None:
    """(S, V) the attribute values that mentions may have; None where no teacher tells."""
    able = [teacher for teacher in ensemble if teacher.has_attributes]
    if not able or not mentions:
        return None
    pieces = window.word_pieces
    spans = np.array([(pieces[s], pieces[e], type) for s, e, type in mentions], dtype=np.int64)
    found = np.mean([teacher.values(row, len(window.ids), spans) for teacher in able], axis=0)
    possible: NDArray[np.bool_] = found >= config.possible
    for own in task.attribute_columns.values():
        best = found[:, own] == found[:, own].max(axis=1, keepdims=True)
        certain = found[:, own].max(axis=1, keepdims=True) >= config.sure
        possible[:, own] = np.where(certain, best, possible[:, own] | best)
    return possible


def best_path(task: Task, posterior: NDArray[np.float64]) -> Ints:
    """The legal labels with the greatest product of marginals."""
    n_labels = task.scheme.n_labels
    none = np.zeros(n_labels)
    crf = Crf.constrained(task.scheme, none, none, np.zeros((n_labels, n_labels)))
    (path,) = crf.viterbi(np.log(posterior + _TINY)[None], [len(posterior)])
    return path
