"""One extractor in several processes: the same answers, and none that waits for ever."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

FIELD = """
import multiprocessing as mp, sys
from emlb_runtime import Extractor
x = Extractor.load()
def work(text): return [e.text for e in x.extract(text).entities]
if __name__ == "__main__":
    if sys.argv[1] == "warm": print("parent", work("Nausea after codeine."))
    with mp.get_context(sys.argv[2]).Pool(2) as pool:
        r = pool.map_async(work, ["Nausea after codeine.", "Rash after penicillin."])
        print(r.get(timeout=90))
"""
METHODS = multiprocessing.get_all_start_methods()


def run(*command: str | Path) -> str:
    """What a script prints."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("state", ["cold", "warm"])
@pytest.mark.parametrize("method", METHODS)
def test_a_server_and_its_workers(tmp_path: Path, state: str, method: str) -> None:
    """The extractor is a module's, made before the workers are."""
    script = tmp_path / "server.py"
    script.write_text(FIELD, encoding="utf-8")
    last = run(script, state, method).splitlines()[-1]
    assert last == "[['Nausea', 'codeine'], ['Rash', 'penicillin']]"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("scenario", ["forked-cold", "forked-warm", "busy", "midway"])
def test_forks(repo: Path, scenario: str) -> None:
    script = repo / "tests" / "runtime" / "forking.py"
    assert run(script, scenario, "") == "the same everywhere\n"


@pytest.mark.parametrize("method", METHODS)
def test_pools_of_processes(repo: Path, method: str) -> None:
    script = repo / "tests" / "runtime" / "forking.py"
    assert run(script, f"pooled-{method}", "") == "the same everywhere\n"


COUNT = """
import os, time
from emlb_runtime import Extractor
def threads(expected):
    for _ in range(300):  # a thread that was joined takes a moment to leave the kernel's list
        number = len(os.listdir("/proc/self/task"))
        if number == expected:
            break
        time.sleep(0.1)
    return number
extractor = Extractor.load(provider="cpu", workers=2)
loaded = threads(1)
extractor.extract("Nausea after codeine.")
used = threads(6)
extractor.close()
print(loaded, used, threads(1))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="no threads in /proc")
def test_networks_hold_no_threads_that_a_fork_would_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert run("-c", COUNT) == "1 6 1\n"
