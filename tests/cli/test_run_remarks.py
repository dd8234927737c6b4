"""What a plan has to say, `emlb-run` says, once and beside the triples."""

from __future__ import annotations

from pathlib import Path

import pytest

from emlb_runtime import plan
from tests.cli.invoking import invoke


def test_a_remark_is_one_line_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "int8_warning", lambda machine, enough: "int8 may be inexact")
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("Rash after amoxicillin.\n", encoding="utf-8")
    result = invoke([str(tmp_path), "--provider", "cpu", "--quiet"])
    assert result.exit_code == 0
    assert result.stderr == "emlb-run: int8 may be inexact\n"
    assert result.stdout.count("ADE-Drug") == 2
