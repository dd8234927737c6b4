"""Extraction must start, and run, without the libraries of training and export."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = "torch transformers onnx optimum"

REPORT = f"""
import sys
print(*(name for name in {HEAVY.split()} if name in sys.modules), file=sys.stderr)
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


def heavy_modules(code: str, *arguments: str) -> str:
    """The heavy libraries that a fresh interpreter holds after running the code."""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT, *arguments],
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

    assert heavy_modules(EXTRACT, str(note), "--out", str(out)) == ""
    assert out.exists()


def test_the_check_sees_a_heavy_library() -> None:
    planted = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"
    assert heavy_modules(planted) == "torch"
