"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme, flags=re.DOTALL)


def test_python_blocks(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks((repo / "README.md").read_text(encoding="utf-8"), "python")
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out


def test_make_targets_exist(repo: Path) -> None:
    readme = (repo / "README.md").read_text(encoding="utf-8")
    makefile = (repo / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*)", readme))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
