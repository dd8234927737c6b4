"""Extract many notes into one output, and go on where an earlier run was cut off."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from emlb_runtime.errors import ConfigError, DataError
from emlb_runtime.formats.notes import NoteFile, check_encoding, check_markup
from emlb_runtime.records import Document, ErrorRecord, Note

from .inputs import (
    Input,
    Reading,
    choose_columns,
    choose_rows,
    find_some_notes,
    hold_unrepeatable,
    leave_out,
    read_inputs,
)
from .output import Output, open_output
from .output_spec import OutputSpec, check_output
from .signals import StopSignals
from .stats import RunStats

if TYPE_CHECKING:
    from emlb_runtime.extract import Extractor
    from emlb_runtime.formats.noteevents import RowCounts

    from .fingerprint import Fingerprint

Progress = Callable[[RunStats], None]


class ExtractionJob:
    """Notes to extract, and the output to write: what one ``emlb-run`` does.

    Each result is written as it comes. A job that was cut off at any instant goes on when the
    same job runs again, and ends with the bytes of an unbroken run::

        from emlb_runtime import Extractor
        from emlb_runtime.batch import ExtractionJob, OutputSpec

        job = ExtractionJob(["notes"], OutputSpec("documents.jsonl", "documents"))
        with Extractor.load() as extractor:
            stats = job.run(extractor)
        print(stats.notes, "notes,", stats.failed, "failed")

    Args:
        inputs: files, patterns and folders, as ``emlb-run`` takes them; one, or several.
        output: what to write, and where; a path alone writes triples.
        encoding: of the notes, as Python names it.
        errors: what to do with bytes that the encoding does not know; see
            ``formats.notes.DECODING_ERRORS``.
        markup: ``refuse`` or ``strip`` notes in RTF, HTML, CDA and HL7 v2.
        categories: of tables, only rows of these categories; all if empty.
        subjects: of tables, only rows of these patients; all if empty.
        id_column: of other tables and JSON lines, the column that names the notes.
        text_column: of other tables and JSON lines, the column that holds the notes.
        restart: remove what an unfinished run of this output has left, and begin again.

    Attributes:
        output: what is written, and where.
        restart: whether it begins again, whatever an unfinished run has left.
        stats: what has been counted so far.
        has_begun: whether the output is open.
        passed_over: files below folders that are not read, counted by suffix.

    Raises:
        ConfigError: if an option is unknown, or the output cannot be written.
        DataError: if no input leads to a note.
    """

    def __init__(
        self,
        inputs: str | Path | Sequence[str | Path],
        output: OutputSpec | str | Path,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        markup: str = "refuse",
        categories: Sequence[str] = (),
        subjects: Sequence[str] = (),
        id_column: str | None = None,
        text_column: str | None = None,
        restart: bool = False,
    ) -> None:
        self.output = output if isinstance(output, OutputSpec) else OutputSpec(str(output))
        self.restart = restart
        check_encoding(encoding, errors=errors)
        check_markup(markup)
        columns = choose_columns(id_column, text_column)
        self.passed_over: Counter[str] = Counter()
        given = [inputs] if isinstance(inputs, str | Path) else inputs
        found = find_some_notes(
            [str(item) for item in given], columns=columns, passed_over=self.passed_over
        )
        self._files = leave_out(found, self.output.leftovers())
        if not self._files:
            raise DataError("no note found: the inputs are what an unfinished run has written")
        rows, counts = choose_rows(
            self._files, categories=categories, subjects=subjects, columns=columns
        )
        self._reading = Reading(encoding, errors, markup, columns, rows, counts)
        notes = [file.path for file in self._files if isinstance(file, NoteFile) and file.path]
        check_output(self.output, notes=notes)
        self.stats = RunStats()
        self.has_begun = False

    @property
    def total(self) -> int | None:
        """How many notes there are; None if a table is among the inputs, before it is read."""
        return len(self._files) if self._reading.counts is None else None

    @property
    def row_counts(self) -> RowCounts | None:
        """What was counted of the rows of tables; None if no input is a table."""
        return self._reading.counts

    def run(
        self,
        extractor: Extractor,
        *,
        on_progress: Progress = lambda stats: None,
        signals: StopSignals | None = None,
    ) -> RunStats:
        """Extract what is not done yet, and complete the output.

        A note that cannot be read or extracted has an error record in the output. Whatever ends
        the run early, ``stats`` tells how far it came, and the same job goes on from there.

        Args:
            extractor: what extracts the notes.
            on_progress: is called with the counts, once before the first note and after each.
            signals: are held off while a result is written; see ``StopSignals``.

        Returns:
            What was counted.

        Raises:
            ArtefactError: if an unfinished run was asked something else, naming what, or what it
                left is damaged.
            ConfigError: if another run writes this output, or facts are asked for and the model
                does not tell them.
            OSError: if the output cannot be written.
        """
        if self.output.asserted and not extractor.tells_facts:
            raise ConfigError(
                "--asserted: this model does not tell which relations are facts; leave the option "
                "out, or use a model with attributes"
            )
        inputs: Sequence[Input] = self._files
        fingerprint = None
        if self.output.is_resumable:
            inputs = hold_unrepeatable(self._files, self._reading)
            fingerprint = self._identify(extractor, inputs)
        output: Output | None = None
        try:
            with (
                self._timed(),
                open_output(self.output, fingerprint, restart=self.restart) as output,
            ):
                self._begin(output, on_progress)
                notes = read_inputs(
                    inputs, self._reading, done=output.done, pass_over=output.pass_over
                )
                self._extract(notes, extractor, output, on_progress, signals)
                if signals is not None:
                    signals.ignore()
                output.complete()
        finally:
            if output is not None:
                self.stats.saved = output.done  # closing it may have saved the last notes
        return self.stats

    def _begin(self, output: Output, on_progress: Progress) -> None:
        self.stats = RunStats.resume(output.counts)
        self.stats.saved = output.done
        self.has_begun = True
        on_progress(self.stats)

    def _extract(
        self,
        notes: Iterable[Note | ErrorRecord],
        extractor: Extractor,
        output: Output,
        on_progress: Progress,
        signals: StopSignals | None,
    ) -> None:
        for result in extractor.extract_each(notes):
            with nullcontext() if signals is None else signals.held():
                kept = self._keep(result)
                written = output.write(kept)
                self.stats.add(result if written is kept else written)  # all relations count
                output.checkpoint(self.stats.counts())
                self.stats.saved = output.done
            on_progress(self.stats)

    def _keep(self, result: Document | ErrorRecord) -> Document | ErrorRecord:
        """What is to be written of a result."""
        if self.output.asserted and isinstance(result, Document):
            return result.facts()
        return result

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.stats.seconds = time.perf_counter() - started

    def _identify(self, extractor: Extractor, inputs: Sequence[Input]) -> Fingerprint:
        """What decides the output's bytes."""
        from .fingerprint import Fingerprint, identify_extractor, identify_inputs, identify_software

        settings = {
            **self.output.settings(),
            **self._reading.settings(),
            **identify_extractor(extractor),
            **identify_software(),
        }
        return Fingerprint(settings, identify_inputs(inputs))
