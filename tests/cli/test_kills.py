"""A run of a real model, killed at random instants, ends as if it had not been."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks, and signals of POSIX")

OUTPUTS = {
    "triples": ["--out", "o.jsonl"],
    "documents": ["--out", "o.jsonl", "--format", "documents"],
    "gzip": ["--out", "o.jsonl.gz", "--format", "documents"],
    "brat": ["--out", "o", "--format", "brat"],
}


def check_kills(
    folder: Path, bundle: Path, output: str, *, workers: int, notes: int, kills: int
) -> None:
    """Kill runs so many times with ``kills.py``, and compare."""
    script = Path(__file__).with_name("kills.py")
    numbers = [str(number) for number in (notes, kills, workers)]
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(bundle), *numbers, *OUTPUTS[output]],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads(done.stdout)
    assert counted["kills"] >= kills
    assert counted["files"] >= 1
    assert counted["identical"] == counted["runs"] > 0
    assert counted["lost"] == counted["doubled"] == 0


def test_a_few_kills(tmp_path: Path, tiny_bundle: Path) -> None:
    check_kills(tmp_path, tiny_bundle, "documents", workers=4, notes=60, kills=3)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("output", OUTPUTS)
def test_many_kills(tmp_path: Path, tiny_bundle: Path, output: str, workers: int) -> None:
    check_kills(tmp_path, tiny_bundle, output, workers=workers, notes=100, kills=30)
