"""What a recipe says of tasks and corpora: their types, files, splits and coverage."""

from __future__ import annotations

from dataclasses import dataclass

from emlb_runtime.errors import ConfigError
from emlb_runtime.schema.attributes import Attribute
from emlb_runtime.schema.task import SELECTIONS

from .formats.detect import FORMATS, RAW_FORMATS
from .mapping import find_mapping


@dataclass(frozen=True)
class TaskConfig:
    """A schema to learn.

    Attributes:
        name: what outputs call it.
        entity_types: the types, in index order; empty takes all that the corpora have.
        relation_types: the types, in index order; empty takes all that the corpora have.
        min_signature: how often head and tail types must be seen under a relation for the
            relation to be allowed between them.
        reach: share of a type's training relations that must lie within its reach: a pair of
            mentions with more words between than all its relations reach is never asked, which
            spares the relation head most of its pairs. 1 is as far as the farthest.
        selection: how relations are chosen among scored pairs.
        attribute: what is said of mentions: name, values, default, entity types, and the values
            under which it is no fact.
    """

    name: str
    entity_types: tuple[str, ...] = ()
    relation_types: tuple[str, ...] = ()
    min_signature: int = 5
    reach: float = 1.0
    selection: str = "threshold"
    attribute: tuple[Attribute, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.reach <= 1:
            raise ConfigError(f"task.reach is {self.reach:g}; it must be above 0 and at most 1")
        if self.selection not in SELECTIONS:
            raise ConfigError(f"task.selection is {self.selection!r}; allowed: {SELECTIONS}")


@dataclass(frozen=True)
class SplitConfig:
    """How one folder of documents is divided.

    Attributes:
        official: by the folders it was released in: ``train``, ``dev``, ``test``.
        file: which document is in which part, relative to the data folder or in a package:
            JSON that ``emlb data split`` wrote, or folds under ``key``; or a table of two
            columns, name and part, with tabs (``.tsv``).
        key: where in the file the list of folds is; empty for a file of parts.
        test_share: share of the documents drawn for testing; above 0 in place of folds.
        folds: number of random folds when there is no file.
        test: index of the fold kept for testing; -1 keeps none.
        dev: index of the fold for development; -1 takes ``dev_share`` of what is left.
        dev_share: share of the training documents for development where none is given.
        group: keep documents of one source together in a random division.
        group_pattern: regular expression that finds the source in a document's name; empty
            takes ``SOURCE`` of a name ``SOURCE_k``.
        group_file: CSV with a header and two columns, document and source (such as a
            patient), relative to the data folder; takes the place of the pattern.
        seed: of random folds and draws.
    """

    official: bool = False
    file: str = ""
    key: str = ""
    test_share: float = 0.0
    folds: int = 10
    test: int = -1
    dev: int = -1
    dev_share: float = 0.05
    group: bool = True
    group_pattern: str = ""
    group_file: str = ""
    seed: int = 13

    def __post_init__(self) -> None:
        if self.dev >= 0 and self.dev == self.test:
            raise ConfigError(f"split.dev and split.test are both fold {self.dev}; choose two")
        ways = [self.official, bool(self.file), self.test_share > 0]
        if sum(ways) > 1:
            raise ConfigError("split: give only one of official, file and test_share")
        if not 0 <= self.test_share < 1 or not 0 <= self.dev_share < 1:
            raise ConfigError("split.test_share and split.dev_share must be from 0 to below 1")


@dataclass(frozen=True)
class LeaveOutConfig:
    """A list of documents that a corpus must not train on.

    Attributes:
        file: a table with tabs between its columns and no header, relative to the data folder.
        column: which column has the names, counted from 1: of documents, or of what they are
            pieces of (``PMID`` of ``PMID_k``).
    """

    file: str
    column: int = 1

    def __post_init__(self) -> None:
        if self.column < 1:
            raise ConfigError(f"leave_out.column is {self.column}; columns are counted from 1")


@dataclass(frozen=True)
class CorpusConfig:
    """One corpus.

    Attributes:
        name: for reports; unique in a run.
        select: of a mixture file, the value of ``corpus`` to take; empty is the name.
        task: which task it trains; may be left out if there is one.
        format: ``auto`` finds out; or one of those that ``emlb data inspect`` names.
        train: file or folder below the data folder.
        texts: folder or table of the notes' texts below the data folder, where they do not
            lie with the annotations.
        dev: as ``train``; empty if ``split`` divides ``train``.
        split: how to divide ``train``.
        mapping: rules that rewrite its annotations in the task's types (``emlb.data.mapping``);
            empty takes them as they are.
        leave_out: lists of documents that do not train; those for development stay.
        limit: training documents at most, drawn by the run's seed; 0 takes all.
        full: types and attributes that it annotates in full; with ``part`` empty too: all of the
            task's. An attribute may be limited to one entity type, ``NAME:TYPE``, and to one
            value, ``NAME=VALUE`` or ``NAME:TYPE=VALUE``: an unmarked mention may have any other.
        part: types and attributes that it annotates in part: of an attribute, what is marked is
            right, and an unmarked mention may have any value.
        repeat: how often it is seen per epoch; what is packed is packed again each time.
        pack: join short documents into note-shaped ones.
        relation_weight: how much its pairs count.
        dev_limit: development documents scored during training; 0 scores all.
        tune: whether its development documents choose thresholds and fit the calibration.
        calibrate: whether those that choose thresholds fit the calibration too.
    """

    name: str
    train: str
    select: str = ""
    task: str = ""
    format: str = "auto"
    texts: str = ""
    dev: str = ""
    split: SplitConfig | None = None
    mapping: str = ""
    leave_out: tuple[LeaveOutConfig, ...] = ()
    limit: int = 0
    full: tuple[str, ...] = ()
    part: tuple[str, ...] = ()
    repeat: int = 1
    pack: bool = False
    relation_weight: float = 1.0
    dev_limit: int = 0
    tune: bool = True
    calibrate: bool = True

    def __post_init__(self) -> None:
        if bool(self.dev) == (self.split is not None):
            raise ConfigError(f"corpus {self.name}: give either dev or split, not both or neither")
        known = ("auto", *(format for format in FORMATS if format not in RAW_FORMATS))
        if self.format not in known:
            raise ConfigError(
                f"corpus {self.name}: format is {self.format!r}; choose {', '.join(known)}"
            )
        if self.repeat < 1:
            raise ConfigError(f"corpus {self.name}: repeat is {self.repeat}; it must be at least 1")
        if self.limit < 0:
            raise ConfigError(f"corpus {self.name}: limit is {self.limit}; it must be 0 or more")
        if self.mapping:
            find_mapping(self.mapping)
