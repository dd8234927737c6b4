"""`emlb-run` where a container's limit of processes and threads is lower than it wants."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from emlb_cli.shared.progress import make_bar
from tests.limited import TIMEOUT, run_limited

RUN = [sys.executable, "-m", "emlb_cli.run"]
SAID = re.compile(
    r"emlb-run: the system gave (\d+) of the (\d+) threads for (\d+) workers, so (\d+) will run: "
    r"raise the limit of processes \(ulimit -u, or pids\.max of the container\), "
    r"or ask for fewer workers"
)


@pytest.fixture(scope="module")
def notes(example_notes: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The opening of each example, and short ones."""
    folder = tmp_path_factory.mktemp("notes")
    for number, path in enumerate(example_notes):
        text = path.read_text(encoding="utf-8")[:600]
        (folder / f"n{number:03}.txt").write_text(text, encoding="utf-8")
        (folder / f"s{number:03}.txt").write_text("Rash after amoxicillin.\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def expected(notes: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run writes that has all the threads it wants."""
    out = tmp_path_factory.mktemp("expected") / "t.jsonl"
    command = [*RUN, str(notes), "--provider", "cpu", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT)
    return out.read_bytes()


@pytest.mark.parametrize(
    ("processes", "workers", "running"),
    [(1, 2, 1), (2, 2, 1), (3, 2, 2), (5, 2, 2), (20, 64, 18)],
)
def test_fewer_threads_and_the_same_triples(
    notes: Path, expected: bytes, tmp_path: Path, processes: int, workers: int, running: int
) -> None:
    out = tmp_path / "t.jsonl"
    options = ["--provider", "cpu", "--workers", str(workers), "--out", str(out)]
    done = run_limited(processes, [*RUN, str(notes), *options])
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert out.read_bytes() == expected
    lines = [line for line in done.stderr.splitlines() if "this processor" not in line]
    assert len(lines) == 2 and lines[1].startswith("20 notes · ")
    told = SAID.fullmatch(lines[0])
    assert told is not None, lines[0]
    got, wanted, asked, run = map(int, told.groups())
    assert (wanted, asked, run) == (2 * workers + 1, workers, running)
    assert 0 <= got < processes


def test_enough_threads_and_not_a_word(notes: Path, expected: bytes, tmp_path: Path) -> None:
    out = tmp_path / "t.jsonl"
    options = ["--provider", "cpu", "--workers", "2", "--out", str(out)]
    done = run_limited(8, [*RUN, str(notes), *options])
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == expected
    assert "threads" not in done.stderr


LIBRARY = """
import logging, sys
from emlb_runtime import ErrorRecord, Extractor, Note
told = []
handler = logging.Handler()
handler.emit = lambda record: told.append(record.getMessage())
logging.getLogger("emlb_runtime").addHandler(handler)
notes = [Note(str(n), "Nausea after codeine. " * (n % 5 + 1)) for n in range(70)]
with Extractor.load(provider="cpu", workers=6) as extractor:
    found = list(extractor.extract_each(notes)) + list(extractor.extract_many(notes))
    assert not [r for r in found if isinstance(r, ErrorRecord)]
    assert found[:70] == found[70:] == [extractor.extract(n.text, name=n.name) for n in notes]
    assert told == [extractor.info.notes[-1]]
    print(extractor.info.workers, len(found))
"""


@pytest.mark.parametrize(("processes", "workers"), [(1, 1), (2, 1), (4, 2), (9, 6)])
def test_the_library_says_so_once(processes: int, workers: int) -> None:
    done = run_limited(
        processes, [sys.executable, "-c", LIBRARY], environment={"OPENBLAS_NUM_THREADS": "1"}
    )
    assert (done.stdout, done.stderr) == (f"{workers} 140\n", "")


BAR = "from emlb_cli.shared.progress import make_bar; print(make_bar(3, 0))"


def test_the_progress_bar_does_without_its_thread() -> None:
    done = run_limited(1, [sys.executable, "-c", BAR])
    assert (done.stdout, done.stderr) == ("None\n", "")
    bar = make_bar(3, 1)
    assert bar is not None
    with bar:
        assert bar.tasks[0].completed == 1
