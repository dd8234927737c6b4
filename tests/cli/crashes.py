"""Runs `emlb-run` again and again, and lets it die at one disk operation after the other.

A script, and not a test, because it forks: it holds no threads, and the tests' process does. The
model is made up. ``python crashes.py FOLDER MODE STRIDE MARKS ARGUMENT…`` prints one JSON line.

Modes: ``kill`` dies before, in the middle of, or after an operation; ``power`` also takes away
what was not synced; ``full`` has the disk full from an operation on, and then free again.

With ``after ARGUMENT…`` behind the others, an unfinished run with those arguments has been there
before, and the runs have ``--restart``. Run again without it, a command that died may also ask
for it.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from emlb_cli import run

# Also what a run imports late: the children share it.
from emlb_runtime.batch import compression, fingerprint, output
from emlb_runtime.bundle import loader as bundle
from emlb_runtime.extraction.recipe import Recipe
from emlb_runtime.formats import noteevents, writers
from emlb_runtime.formats.files import atomic as disk
from emlb_runtime.records import Document, Entity, ErrorRecord, Note, Relation

SHARED = (bundle, fingerprint, noteevents, writers)
MARKER = "Zebrafish"
DIED = 99
AFTER = "after"
RESTART = "--restart"
INPUTS = ("notes", "missing.txt", "table.csv")
OTHERS = ("notes", "table.csv", "kept")
WHENS = ("before", "within", "after")

TABLE = 'ROW_ID,SUBJECT_ID,TEXT\n1,7,"rash after ""drug"""\n2,7,crash\n3,8,\n4,8,drug\n'


class Model:
    """Finds words; a note that says "crash" fails."""

    class info:
        provider, precision, batch = "CPUExecutionProvider", "int8", 1

    recipe = Recipe(None, "auto", None, None, 0.0, None)

    def extract_each(self, notes: Iterable[Note | ErrorRecord]) -> Iterator[Document | ErrorRecord]:
        for note in notes:
            if isinstance(note, ErrorRecord):
                yield note
            elif "crash" in note.text:
                yield ErrorRecord(note.name, "extraction failed: RuntimeError")
            else:
                found = [
                    Entity.annotate(note, f"T{number}", match[0].title(), (match.span(),))
                    for number, match in enumerate(re.finditer("rash|drug", note.text), start=1)
                ]
                links = (Relation("R", "T1", "T2"),) if len(found) > 1 else ()
                yield Document(note, tuple(found), links)


class FailingOs:
    """``os`` as ``disk`` uses it, with an end at one of the operations that change the disk."""

    COUNTED = ("open", "write", "fsync", "ftruncate", "replace", "unlink")

    def __init__(self, mode: str, at: int, when: str, seed: int) -> None:
        self.mode, self.at, self.when = mode, at, when
        self.count = 0
        self.random = random.Random(seed)
        self.synced: dict[int, int] = {}
        self.names: dict[int, Path] = {}
        self.pending: list[tuple[Path, Callable[[], None]]] = []
        self.keep = Path("kept")

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in self.COUNTED:
            return real

        def counted(*arguments: Any, **options: Any) -> Any:
            self.count += 1
            if self.mode == "full":
                if self.count >= self.at and name in ("open", "write", "fsync"):
                    self._run_out_of_space(name, arguments)
            elif self.count == self.at and self.when == "before":
                self._die()
            elif self.count == self.at and self.when == "within" and name == "write":
                real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                self._die()
            result = getattr(self, f"_{name}", real)(*arguments, **options)
            if self.mode != "full" and self.count == self.at:
                self._die()
            return result

        return counted

    def _run_out_of_space(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name == "open" and (os.path.exists(arguments[0]) or not arguments[1] & os.O_CREAT):
            return
        if name == "write":
            os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
        path = arguments[0] if name == "open" else None
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        path = Path(path)
        is_new = not path.exists()
        descriptor = os.open(path, flags, mode)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            self.names[status.st_ino] = path
            self.synced.setdefault(status.st_ino, 0 if is_new else status.st_size)
            if is_new and self.mode == "power":
                self.pending.append((path.parent, lambda: path.unlink(missing_ok=True)))
        return descriptor

    def _fsync(self, descriptor: int) -> None:
        # What it would keep is known from ``synced``; the real one only takes time.
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            self.synced[status.st_ino] = status.st_size
        else:
            self.pending = [
                (folder, undo)
                for folder, undo in self.pending
                if folder.stat().st_ino != status.st_ino
            ]

    def _replace(self, source: Path, target: Path) -> None:
        kept = self._keep(target)
        os.replace(source, target)

        def undo() -> None:
            os.replace(target, source)
            if kept is not None:
                os.replace(kept, target)

        self.pending.append((Path(target).parent, undo))

    def _unlink(self, path: Path) -> None:
        kept = self._keep(path)
        os.unlink(path)
        if kept is not None:
            self.pending.append((Path(path).parent, lambda: os.replace(kept, path)))

    def _keep(self, path: Path) -> Path | None:
        if self.mode != "power" or not Path(path).exists():
            return None
        self.keep.mkdir(exist_ok=True)
        kept = self.keep / str(self.count)
        os.link(path, kept)
        return kept

    def _die(self) -> None:
        if self.mode == "power":
            self._lose()
        os._exit(DIED)

    def _lose(self) -> None:
        """Take away names and bytes that were not synced: any later part of them, or all."""
        first = self.random.randint(0, len(self.pending))
        for _, undo in reversed(self.pending[first:]):
            undo()
        for path in [path for path in Path().rglob("*") if path.is_file()]:
            status = path.stat()
            synced = self.synced.get(status.st_ino, status.st_size)
            if synced < status.st_size:
                cut = self.random.randint(synced, status.st_size)
                os.truncate(path, cut)
                if self.random.random() < 0.5:  # a length that reached the disk without its data
                    os.truncate(path, status.st_size)
        shutil.rmtree(self.keep, ignore_errors=True)


def write_inputs() -> None:
    """Notes, one of which fails, and a table, in the working folder."""
    Path("notes").mkdir()
    texts = ("rash after drug", "", "crash", "drug, rash\r\n", "nothing", "drug", "rash drug")
    for number, text in enumerate(texts):
        path = Path(f"notes/{number}.txt")
        path.write_text(f"{MARKER} {text}", encoding="utf-8", newline="")
        os.utime(path, (1e9, 1e9))
    Path("table.csv").write_text(TABLE, encoding="utf-8")
    os.utime("table.csv", (1e9, 1e9))


def in_child(
    folder: Path, arguments: list[str], failing: FailingOs | None = None
) -> tuple[int, str]:
    """Run the command in a child process; its exit code and what it said."""
    said = folder / "said"
    child = os.fork()
    if child == 0:
        os.chdir(folder / "work")
        with said.open("wb") as stream:
            os.dup2(stream.fileno(), 2)
        disk.os = failing or FailingOs("kill", 0, "", 0)  # type: ignore[assignment, attr-defined]
        sys.argv = ["emlb-run", *arguments]
        try:
            run.main()
        except SystemExit as stop:
            os._exit(stop.code if isinstance(stop.code, int) else 98)
        os._exit(97)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text(encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, the inputs and what the harness keeps apart."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] not in OTHERS
    }


def start_afresh(folder: Path) -> Path:
    """A working folder with nothing but the inputs."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    here = Path.cwd()
    os.chdir(work)
    write_inputs()
    os.chdir(here)
    return work


def main() -> None:
    """Go through all operations, ``stride`` at a time."""
    folder, mode, stride, marks = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    given = sys.argv[5:]
    here = given.index(AFTER) if AFTER in given else len(given)
    arguments = [*INPUTS, *given[:here]]
    unfinished = [*INPUTS, *given[here + 1 :]] if AFTER in given else None
    run.load_extractor = lambda model, **options: Model()  # type: ignore[assignment]
    output.CHECKPOINT_SECONDS = 0.0 if marks == "all" else 1e9
    compression.MEMBER_NOTES = 3
    work = start_afresh(folder)
    with suppress(SystemExit):  # what is imported late is imported here, not in each child
        run.command(["missing.txt", "--quiet", "--out", "no/where"])
    code, _ = in_child(folder, arguments)
    expected = contents(work)
    summary = {"crashes": 0, "identical": 0, "expected": len(expected), "code": code}
    problems: list[str] = []
    dice = random.Random(13)
    at = 1
    while True:
        when = WHENS[dice.randrange(3)] if stride > 1 else WHENS[at % 3]
        reached = crash(
            folder, arguments, mode, at, when, expected, code, problems, unfinished=unfinished
        )
        if not reached:
            break
        summary["crashes"] += 1
        at += dice.randint(1, stride)
    failed = {problem.split(":")[0] for problem in problems}
    summary["identical"] = summary["crashes"] - len(failed)
    sys.stdout.write(json.dumps(summary | {"problems": problems[:5]}) + "\n")


def leave_unfinished(folder: Path, arguments: list[str], seed: int) -> None:
    """Let a run die somewhere in its midst."""
    dice = random.Random(seed)
    while True:
        at = dice.randint(1, 60)
        ended, _ = in_child(folder, arguments, FailingOs("kill", at, WHENS[at % 3], at))
        if ended == DIED and any((folder / "work").rglob("*.state")):
            return  # else it died when all was done
        start_afresh(folder)


def crash(
    folder: Path,
    arguments: list[str],
    mode: str,
    at: int,
    when: str,
    expected: dict[str, bytes],
    code: int,
    problems: list[str],
    *,
    unfinished: list[str] | None = None,
) -> bool:
    """Die at one operation, and maybe at another of the next run, and then go on to the end."""
    work = start_afresh(folder)
    first = arguments
    if unfinished is not None:
        leave_unfinished(folder, unfinished, at)
        first = [*arguments, RESTART]
    ended, said = in_child(folder, first, FailingOs(mode, at, when, at))
    name = f"{mode} {at} {when}"
    if mode == "full" and ended == 2:
        if said.count("\n") != 1 + ("going on" in said) or "No space left" not in said:
            problems.append(f"{name}: said {said!r}")
    elif ended != DIED:
        if ended != code or contents(work) != expected:
            problems.append(f"{name}: ended with {ended}: {said}")
        return False
    if any(MARKER.encode() in data for path, data in contents(work).items() if "state" in path):
        problems.append(f"{name}: the state shows a note")
    again = first if at % 4 > 1 else arguments
    if at % 2:  # a second end, at some place
        second = FailingOs("kill", 1 + at * 7 % 23, WHENS[at % 3], at)
        in_child(folder, again, second)
    ended, said = in_child(folder, again)
    if unfinished is not None and ended == 2 and RESTART in said:
        ended, said = in_child(folder, first)
    found = contents(work)
    # It died when all was done: like any complete folder, this one is not written over.
    is_refused = ended == 2 and "already holds" in said and len(expected) > 1
    if not (ended == code or is_refused) or found != expected:
        differ = sorted(
            path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)
        )
        problems.append(f"{name}: then {ended}, {said!r}, {differ}")
    if MARKER in said:
        problems.append(f"{name}: a message shows a note")
    return True


if __name__ == "__main__":
    main()
