"""Extraction must start, and run, without the libraries of training and export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "torch transformers onnx optimum"
SLOW_TO_START = f"{HEAVY} typer pydantic rich"
"""What `emlb-run` does without when no progress bar is shown."""

REPORT = """
import sys
print(*(name for name in {names} if name in sys.modules), file=sys.stderr)
"""

EXTRACT = """
import sys
from emlb_cli.run import main
try:
    main()
except SystemExit as stop:
    if stop.code:
        raise
"""


def heavy_modules(code: str, *arguments: str, names: str = HEAVY) -> str:
    """Which of these libraries a fresh interpreter holds after running the code."""
    report = REPORT.format(names=names.split())
    done = subprocess.run(
        [sys.executable, "-c", code + report, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("module", ["emlb_runtime", "emlb_cli.run", "emlb_cli.app"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert heavy_modules(f"import {module}") == ""


def test_extracting_loads_nothing_heavy(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("A rash appeared after amoxicillin.\n", encoding="utf-8")
    out = tmp_path / "triples.jsonl"

    arguments = (str(note), "--out", str(out))
    assert heavy_modules(EXTRACT, *arguments, names=SLOW_TO_START) == ""
    assert out.exists()


def test_the_check_sees_a_heavy_library() -> None:
    planted = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"
    assert heavy_modules(planted) == "torch"
