"""Notes through the workers: in chunks, in order, a few ahead of the reader."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, field
from typing import TypeVar

from emlb_runtime.machine.threads import start_threads
from emlb_runtime.records import Document, ErrorRecord, Note

from .arguments import Unusable
from .forks import Networks

CHUNK_CHARACTERS = 16_000
"""Notes are handed to a worker together until they are about this long."""

CHUNK_NOTES = 64

Result = Document | ErrorRecord

_Item = TypeVar("_Item", bound=Note | ErrorRecord | Unusable)
_Out = TypeVar("_Out")


@dataclass(frozen=True)
class Team:
    """The threads of an extractor in one process, and what they run.

    There are two pools: chunks of notes, and their windows. With one, chunks that wait for
    their windows could hold every thread. A chunk more than there are workers is under way, so
    that the network runs while another chunk is tokenised or decoded.

    Attributes:
        networks: shared by all.
        notes: runs chunks.
        windows: runs windows; None leaves them to the thread that has the chunk.
        workers: windows encoded at a time.
        shortage: a sentence if there are fewer threads than wanted; else empty.
        pid: of the process that has the threads.
    """

    networks: Networks
    notes: Executor
    windows: Executor | None
    workers: int
    shortage: str = ""
    pid: int = field(default_factory=os.getpid)

    def run(self, notes: Sequence[Note]) -> list[Document]:
        """Extract notes, all together."""
        with self.networks.running() as pipeline:
            return pipeline.run(notes, executor=self.windows)

    def close(self) -> None:
        """End the threads; work that has begun is finished."""
        self.notes.shutdown(cancel_futures=True)
        if self.windows is not None:
            self.windows.shutdown()


def start_team(networks: Networks, workers: int) -> Team:
    """Start the threads.

    Args:
        networks: what they run.
        workers: windows to be encoded at a time. There are fewer if the system refuses
            threads, and with none everything runs in the threads that call.
    """
    windows, started = start_threads(workers, "emlb-windows")
    notes, ahead = start_threads((started or 1) + 1, "emlb-notes")
    wanted, got = 2 * workers + 1, started + ahead
    shortage = (
        f"the system gave {got} of the {wanted} threads for {workers} workers, so "
        f"{max(started, 1)} will run: raise the limit of processes (ulimit -u, or pids.max of "
        "the container), or ask for fewer workers"
    )
    return Team(
        networks,
        notes,
        windows if started else None,
        max(started, 1),
        shortage if got < wanted else "",
    )


def stream(
    items: Iterable[_Item],
    work: Callable[[Team, Sequence[_Item]], list[_Out]],
    team_of: Callable[[], Team],
) -> Iterator[_Out]:
    """The results of work on chunks, one by one.

    Args:
        items: taken as they are needed.
        work: on one chunk.
        team_of: this process's team. It is asked before each step, because a forked child may
            go on where its parent was: it has the chunks under way, and not the threads.
    """
    team = team_of()
    ahead: deque[tuple[Sequence[_Item], Future[list[_Out]]]] = deque()

    def follow_fork() -> None:
        nonlocal team, ahead
        if (now := team_of()) is not team:
            team = now
            ahead = deque((chunk, now.notes.submit(work, now, chunk)) for chunk, _ in ahead)

    def take() -> list[_Out]:
        follow_fork()
        _, future = ahead.popleft()
        try:
            return future.result()
        except CancelledError:
            team_of()  # says that the extractor was closed
            raise

    try:
        for chunk in note_chunks(items):
            follow_fork()
            ahead.append((chunk, team.notes.submit(work, team, chunk)))
            if len(ahead) > team.workers + 1:
                yield from take()
        while ahead:
            yield from take()
    finally:
        if team.pid == os.getpid():  # a lock of the parent's futures may never open here
            for _, future in ahead:
                future.cancel()


def work_each(team: Team, chunk: Sequence[Note | ErrorRecord]) -> list[Result]:
    """A result per item; a note that fails has an error record."""
    try:
        return _run(team, chunk)
    except Exception:  # which note it was shows when each runs alone
        return [_run_alone(team, item) for item in chunk]


def work_in_turn(
    team: Team, chunk: Sequence[Note | ErrorRecord | Unusable]
) -> list[Document | Exception]:
    """Documents up to the first item that fails; then what it raised."""
    notes: list[Note] = []
    for item in chunk:
        if not isinstance(item, Note):
            assert isinstance(item, Unusable)
            return [*_run_in_turn(team, notes), item.to_error()]
        notes.append(item)
    return _run_in_turn(team, notes)


def _run_in_turn(team: Team, notes: Sequence[Note]) -> list[Document | Exception]:
    try:
        return [*team.run(notes)]
    except Exception as error:
        if len(notes) == 1:
            return [error]
    found: list[Document | Exception] = []
    for note in notes:
        try:
            found += team.run([note])
        except Exception as error:
            return [*found, error]
    return found


def _run(team: Team, chunk: Sequence[Note | ErrorRecord]) -> list[Result]:
    found = iter(team.run([item for item in chunk if isinstance(item, Note)]))
    return [next(found) if isinstance(item, Note) else item for item in chunk]


def _run_alone(team: Team, item: Note | ErrorRecord) -> Result:
    if isinstance(item, ErrorRecord):
        return item
    try:
        return team.run([item])[0]
    except Exception as error:  # its own text may quote the note: only its kind is told
        return ErrorRecord(item.name, f"extraction failed: {type(error).__name__}")


def note_chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Notes and records in order, in chunks of about ``CHUNK_CHARACTERS``."""
    chunk: list[_Item] = []
    characters = 0
    for item in items:
        chunk.append(item)
        characters += len(item.text) if isinstance(item, Note) else 0
        if characters >= CHUNK_CHARACTERS or len(chunk) >= CHUNK_NOTES:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk
