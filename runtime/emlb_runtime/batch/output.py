"""Where a run writes: standard output, a file, a folder of shards, or a brat folder.

Files and folders survive a run that is killed. The same job goes on, and ends with the bytes of an
unbroken run. ``journal`` explains the order of writes; ``writers`` and ``folder_writers`` how each
kind of output is cut off at a checkpoint. A file grows as ``FILE.part`` and has its own name when
it is complete; so does each shard. The files of a brat folder have their names one by one.
Standard output, pipes and devices are written as they stand and cannot be continued.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from emlb_runtime.errors import ArtefactError, DataError
from emlb_runtime.formats.files import atomic as disk
from emlb_runtime.records import Document, ErrorRecord

from .folder_writers import BratFolderWriter, ShardWriter, check_empty
from .journal import Checkpoint, Journal
from .output_spec import FOLDER_FORMAT, STDOUT, OutputSpec, check_part
from .writers import BatchWriter, FileWriter

if TYPE_CHECKING:
    from emlb_runtime.formats.writers import Writer

    from .fingerprint import Fingerprint

CHECKPOINT_SECONDS = 1.0
"""How much finished work a kill may cost. A checkpoint waits for the disk twice."""


class Output(Protocol):
    """Takes results in turn."""

    @property
    def done(self) -> int:
        """Notes and error records that need not come again, should the run end now."""

    @property
    def counts(self) -> tuple[int, ...]:
        """What has been counted, by an earlier run too; empty at the very beginning."""

    def pass_over(self, name: str) -> None:
        """A note or error record that is done comes by.

        Raises:
            ArtefactError: if what an earlier run wrote of it is not there.
        """

    def write(self, result: Document | ErrorRecord) -> Document | ErrorRecord:
        """Write a result, or why the format cannot hold it; returns what it wrote."""

    def checkpoint(self, counts: tuple[int, ...]) -> None:
        """The result is written, and with it so much has been counted."""

    def complete(self) -> None:
        """There are no more results."""


@contextmanager
def open_output(
    target: OutputSpec, fingerprint: Fingerprint | None, *, restart: bool = False
) -> Iterator[Output]:
    """An output, continued if an unfinished run left one; call ``complete`` at its end.

    Args:
        target: what is to be written.
        fingerprint: what decides its bytes; None if it cannot be continued.
        restart: begin again, whatever an unfinished run has left.

    Raises:
        ArtefactError: if an unfinished run was asked something else, naming what; or if what
            it left is damaged.
        ConfigError: if another run writes this output, or a folder holds other files.
        OSError: if it cannot be written.
    """
    if fingerprint is None:
        with _open_stream(target) as writer:
            yield _StreamOutput(writer)
        return
    output = _open_resumable(target, fingerprint, restart=restart)
    try:
        yield output
    except OSError:
        output.suspend(recording=False)  # what a failed sync left unwritten, nobody knows
        raise
    except BaseException:
        output.suspend(recording=True)
        raise
    finally:
        output.close()


class _StreamOutput:
    """Standard output, a pipe or a device."""

    def __init__(self, writer: Writer) -> None:
        self.done = 0
        self.counts: tuple[int, ...] = ()
        self._writer = writer

    def pass_over(self, name: str) -> None:
        pass

    def write(self, result: Document | ErrorRecord) -> Document | ErrorRecord:
        return _write(result, self._writer)

    def checkpoint(self, counts: tuple[int, ...]) -> None:
        self.done += 1

    def complete(self) -> None:
        pass


class _ResumableOutput:
    """A writer with its state file."""

    def __init__(self, writer: BatchWriter, state: Journal) -> None:
        self._writer = writer
        self._state = state
        self._notes = state.checkpoint.notes
        self.counts = state.checkpoint.tally
        self._ready = state.checkpoint
        self._recorded_at = time.monotonic()
        self._is_complete = False

    @property
    def done(self) -> int:
        return self._state.checkpoint.notes

    def pass_over(self, name: str) -> None:
        self._writer.pass_over(name)

    def write(self, result: Document | ErrorRecord) -> Document | ErrorRecord:
        return _write(result, self._writer)

    def checkpoint(self, counts: tuple[int, ...]) -> None:
        self._notes += 1
        self.counts = counts
        if not self._writer.settled:
            return
        self._ready = self._checkpoint()
        is_due = time.monotonic() - self._recorded_at >= CHECKPOINT_SECONDS
        if is_due or self._writer.full:
            self._record(self._ready)
        if self._writer.full:
            self._writer.roll()

    def complete(self) -> None:
        if (
            not self._state.checkpoint.complete
        ):  # else it was cut off when only its name was missing
            self._writer.end()
            self._record(self._checkpoint(complete=True))
        self._writer.publish()
        self._state.remove()
        self._is_complete = True

    def suspend(self, *, recording: bool) -> None:
        """Leave everything so that the same command goes on; leave nothing if nothing is done."""
        if self._is_complete:
            return
        with suppress(OSError):
            if recording and self._ready.notes > self._state.checkpoint.notes:
                self._record(self._ready)
        if not self._state.checkpoint.notes:
            with suppress(OSError):
                self._writer.discard()
                self._state.remove()

    def close(self) -> None:
        self._writer.close()
        self._state.close()

    def _checkpoint(self, *, complete: bool = False) -> Checkpoint:
        writer = self._writer
        return Checkpoint(
            self._notes, writer.size, writer.crc, self.counts, tuple(writer.sizes), complete
        )

    def _record(self, checkpoint: Checkpoint) -> None:
        self._writer.sync()
        self._state.record(checkpoint)
        del self._writer.sizes[: len(checkpoint.sizes)]
        self._recorded_at = time.monotonic()


def _open_resumable(
    target: OutputSpec, fingerprint: Fingerprint, *, restart: bool
) -> _ResumableOutput:
    if target.is_folder:
        disk.make_folder(target.path)
    state = Journal.open(target.state)
    writer = _make_writer(target)
    try:
        _begin_or_resume(target, writer, state, fingerprint, restart=restart)
    except BaseException:
        writer.close()
        state.close()
        raise
    return _ResumableOutput(writer, state)


def _begin_or_resume(
    target: OutputSpec,
    writer: BatchWriter,
    state: Journal,
    fingerprint: Fingerprint,
    *,
    restart: bool,
) -> None:
    try:
        earlier = state.read()
    except ArtefactError:
        if not restart:
            raise
        earlier = None
        _discard(writer, state)
    if restart and earlier is not None:
        _discard(_writer_of(earlier, target), state)
        earlier = None
    if earlier is None:
        _begin(target, writer, state, fingerprint)
        return
    if differences := fingerprint.differences(earlier):
        raise ArtefactError(
            f"{target.state} is of an unfinished run that differs in {'; '.join(differences)}:"
            " give the command as it was, or begin again with --restart"
        )
    if state.checkpoint.notes or state.checkpoint.complete:
        writer.resume(state.checkpoint, state.sizes)
    else:
        writer.begin()


def _discard(writer: BatchWriter, state: Journal) -> None:
    """Remove what was written, before the state file ceases to say that it is ours."""
    writer.discard()
    disk.sync_folder(state.path.parent)


def _writer_of(earlier: Fingerprint, target: OutputSpec) -> BatchWriter:
    """What the unfinished run wrote to; it may have been asked for another kind of folder.

    Raises:
        ConfigError: if what is to be written now would mix with other files there.
    """
    format = earlier.settings.get("--format", target.format)
    if target.is_folder and (format == FOLDER_FORMAT) != (target.format == FOLDER_FORMAT):
        check_empty(target.path, format=target.format)
        return _make_writer(replace(target, format=format, shard_notes=1))
    return _make_writer(target)


def _begin(
    target: OutputSpec, writer: BatchWriter, state: Journal, fingerprint: Fingerprint
) -> None:
    """Begin, or leave nothing behind; but what lies there without a state is not ours."""
    with ExitStack() as undo:
        undo.callback(state.remove)
        if target.is_folder:
            check_empty(target.path, format=target.format)
        else:
            check_part(target.growing)
        # The state first: should this be cut off too, what is left is known to be ours.
        state.begin(fingerprint)
        undo.callback(writer.discard)
        writer.begin()
        undo.pop_all()


def _make_writer(target: OutputSpec) -> BatchWriter:
    if target.format == FOLDER_FORMAT:
        return BratFolderWriter(target.path)
    if target.shard_notes is not None:
        return ShardWriter(
            target.path,
            notes=target.shard_notes,
            format=target.format,
            compression=target.compression,
            redact_text=target.redact_text,
            keep_text=target.keep_text,
        )
    return FileWriter(
        target.path,
        format=target.format,
        compression=target.compression,
        redact_text=target.redact_text,
        keep_text=target.keep_text,
    )


def _write(result: Document | ErrorRecord, writer: Writer | BatchWriter) -> Document | ErrorRecord:
    """Write a result, or a record of why the format cannot hold it; returns what it wrote."""
    if not isinstance(result, ErrorRecord):
        try:
            writer.write(result)
            return result
        except DataError as error:
            name = result.note.name
            result = ErrorRecord(name, str(error).removeprefix(f"{name}: "))
    writer.write_error(result)
    return result


@contextmanager
def _open_stream(target: OutputSpec) -> Iterator[Writer]:
    from emlb_runtime.formats.writers import open_writer

    text = {"redact_text": target.redact_text, "keep_text": target.keep_text}
    if target.out != STDOUT:
        with open_writer(target.format, Path(target.out), **text) as writer:
            yield writer
        return
    with _utf8_stdout() as stream, open_writer(target.format, stream, **text) as writer:
        yield writer


@contextmanager
def _utf8_stdout() -> Iterator[io.TextIOWrapper]:
    """Standard output as UTF-8 with plain line ends, whatever the locale and platform."""
    sys.stdout.flush()
    stream = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", newline="\n")
    try:
        yield stream
        stream.flush()
    finally:
        stream.detach()
