"""The comparison of quantisations runs on any bundle and says what it must."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from emlb_export.export import export
from tests.tiny import TinyRun


@pytest.mark.slow
def test_the_comparison_tells_neighbours_and_loss(
    repo: Path, tiny_run: TinyRun, tiny_data: Path, tmp_path: Path
) -> None:
    bundle = export(tiny_run.folder, out=tmp_path / "fp32")
    command = [sys.executable, str(repo / "benchmarks/quantisation.py"), str(tiny_data)]
    command += ["--model", str(bundle), "--eval", str(tiny_data), "--rounds", "2"]
    subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True, timeout=600)
    measured = json.loads((tmp_path / "quantisation.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in measured["rows"]}
    assert (rows["fp32"]["error"], rows["fp32"]["speed"]) == (0.0, 1.0)
    assert (rows["fp32"]["entity_f1"], rows["fp32"]["entity_loss"]) == (100.0, 0.0)
    assert rows["dynamic int8 per tensor"]["neighbours"] > 1e-3 > rows["ours int8"]["neighbours"]
    assert 0 < rows["fp16"]["error"] < rows["ours int8"]["error"] < 0.1
    assert rows["fp16"]["size"] < rows["fp32"]["size"]
    table = (tmp_path / "quantisation.md").read_text(encoding="utf-8")
    for name in (*rows, *measured["left_out"]):
        assert name in table
