"""What a plan has to say, `emlb-run` says, once and beside the triples."""

from __future__ import annotations

from pathlib import Path

import pytest

from emlb_runtime.extraction import session_plan as plan
from emlb_runtime.inference import arithmetic
from tests.cli.invoking import invoke


def test_a_remark_is_one_line_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (plan, arithmetic):
        monkeypatch.setattr(module, "self_test", lambda kind: False)
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("Rash after amoxicillin.\n", encoding="utf-8")
    result = invoke([str(tmp_path), "--provider", "cpu", "--quiet"])
    assert result.exit_code == 0
    said = "fp32 in place of int8, whose products are not exact on this processor"
    assert result.stderr == f"emlb-run: {said}\n"
    assert result.stdout.count("ADE-Drug") == 2
