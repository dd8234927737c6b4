"""`emlb ablate` hands its arguments on."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from emlb_cli.app import app


def test_ablate(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, dict[str, Any]]] = []

    def ablate(configs: list[Path], **options: Any) -> Path:
        calls.append((configs, options))
        return Path("out")

    module = ModuleType("emlb.ablation.ablate")
    monkeypatch.setattr(module, "ablate", ablate, raising=False)
    monkeypatch.setitem(sys.modules, "emlb.ablation.ablate", module)
    arguments = "ablate one two.toml --seeds 2 --out out --set a.b=1 --set c=x".split()
    result = CliRunner().invoke(app, arguments, prog_name="emlb")
    assert (result.exit_code, result.stdout) == (0, "out\n")
    assert calls == [
        (
            [Path("one"), Path("two.toml")],
            {"seeds": 2, "out": Path("out"), "overrides": ["a.b=1", "c=x"], "say": typer.echo},
        )
    ]


@pytest.mark.parametrize("arguments", [["one"], ["--out", "out"], ["one", "--seeds", "0"]])
def test_what_it_needs(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["ablate", *arguments]).exit_code == 2
