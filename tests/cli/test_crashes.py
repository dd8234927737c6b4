"""A run that dies at any disk operation, or finds the disk full there, ends as if it had not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="forks, and signals of POSIX")

OUTPUTS = {
    "triples": ["--out", "o.jsonl"],
    "documents": ["--out", "o.jsonl", "--format", "documents"],
    "gzip": ["--out", "o.jsonl.gz"],
    "brat": ["--out", "brat", "--format", "brat"],
    "shards": ["--out", "s", "--shard-notes", "4"],
    "compressed shards": [
        *("--out", "s", "--shard-notes", "3", "--compress", "gz", "--format", "documents")
    ],
}

RESTARTS = {
    "triples over documents": (OUTPUTS["triples"], OUTPUTS["documents"]),
    "gzip over gzip": (OUTPUTS["gzip"], OUTPUTS["gzip"]),
    "brat over brat": (OUTPUTS["brat"], OUTPUTS["brat"]),
    "shards over shards": (OUTPUTS["shards"], OUTPUTS["compressed shards"]),
    "brat over shards": (["--out", "s", "--format", "brat"], OUTPUTS["shards"]),
    "shards over brat": (OUTPUTS["shards"], ["--out", "s", "--format", "brat"]),
}


def crashes(
    folder: Path, mode: str, arguments: list[str], *, stride: int, marks: str = "all"
) -> dict[str, Any]:
    """What ``crashes.py`` counted."""
    script = Path(__file__).with_name("crashes.py")
    command = [sys.executable, str(script), str(folder), mode, str(stride), marks, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def check(result: dict[str, Any], *, at_least: int) -> None:
    assert result["problems"] == []
    assert result["crashes"] >= at_least
    assert result["identical"] == result["crashes"]
    assert result["code"] == 1  # some of its notes fail, before and after every crash


@pytest.mark.parametrize(
    ("output", "mode", "stride"),
    [
        ("documents", "kill", 20),
        ("gzip", "power", 10),
        ("brat", "power", 40),
        ("shards", "full", 25),
    ],
)
def test_an_end_at_some_disk_operation(tmp_path: Path, output: str, mode: str, stride: int) -> None:
    check(crashes(tmp_path, mode, OUTPUTS[output], stride=stride), at_least=3)


@pytest.mark.slow
@pytest.mark.parametrize("marks", ["all", "none"])
@pytest.mark.parametrize("mode", ["kill", "power", "full"])
@pytest.mark.parametrize("output", OUTPUTS)
def test_an_end_at_each_disk_operation(tmp_path: Path, output: str, mode: str, marks: str) -> None:
    check(crashes(tmp_path, mode, OUTPUTS[output], stride=1, marks=marks), at_least=20)


@pytest.mark.parametrize(
    ("outputs", "mode", "stride"),
    [("triples over documents", "kill", 15), ("brat over shards", "power", 50)],
)
def test_an_end_at_some_operation_of_a_restart(
    tmp_path: Path, outputs: str, mode: str, stride: int
) -> None:
    output, unfinished = RESTARTS[outputs]
    check(crashes(tmp_path, mode, [*output, "after", *unfinished], stride=stride), at_least=3)


@pytest.mark.slow
@pytest.mark.parametrize("marks", ["all", "none"])
@pytest.mark.parametrize("mode", ["kill", "power", "full"])
@pytest.mark.parametrize("outputs", RESTARTS)
def test_an_end_at_each_operation_of_a_restart(
    tmp_path: Path, outputs: str, mode: str, marks: str
) -> None:
    output, unfinished = RESTARTS[outputs]
    arguments = [*output, "after", *unfinished]
    check(crashes(tmp_path, mode, arguments, stride=1, marks=marks), at_least=20)
